"""Which topics a sink reads, and what is in them."""

from collections.abc import Iterable, Mapping
from enum import Enum

from scoring.contract.manifest import Topics


class Kind(Enum):
    """What a topic holds."""

    PREDICTIONS = "predictions"
    DEAD_LETTERS = "dead-letters"


Feeds = Mapping[str, Kind]


def feeds_of(models: Iterable[str]) -> Feeds:
    """The topics of these models, by their standard names."""
    found: dict[str, Kind] = {}
    for topics in map(Topics.of, models):
        found[topics.predictions] = Kind.PREDICTIONS
        found[topics.dead_letters] = Kind.DEAD_LETTERS
    return found
