"""Which topics a sink reads, and what is in them."""

from collections.abc import Iterable, Mapping
from enum import Enum

from scoring.contract.manifest import Topics


class Kind(Enum):
    """What a topic holds."""

    PREDICTIONS = "predictions"
    DEAD_LETTERS = "dead-letters"


Feeds = Mapping[str, Kind]


def feeds_of(models: Iterable[str], further: Mapping[str, str]) -> Feeds:
    """The topics of these models by their standard names, and further ones, each with the value of its kind.

    A definition may name topics of its own. Its bundle says so, and a sink reads no bundles: whoever runs it does.
    """
    found = {topic: Kind(kind) for topic, kind in further.items()}
    for topics in map(Topics.of, models):
        found[topics.predictions] = Kind.PREDICTIONS
        found[topics.dead_letters] = Kind.DEAD_LETTERS
    return found
