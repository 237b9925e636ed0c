"""Ask for the explanation of one record: with the settings, over everything that it needs to look into."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from scoring.contract.manifest import Topics
from scoring.explain.acknowledged import Acknowledged
from scoring.explain.answering import Question
from scoring.explain.bundles import Bundles, OneBundle
from scoring.explain.collecting import Collector, NothingThere, OpensBundles, Records
from scoring.explain.contributions import Contributors
from scoring.explain.explaining import explain
from scoring.explain.explanation import Explanation
from scoring.lookups.port import LookupSource
from scoring.promotion.ledger import Ledger
from scoring.registry.open import open_registry
from scoring.settings import Settings


def explained(settings: Settings, question: Question, folder: Path | None = None) -> Explanation:
    """What happened to a record.

    Args:
        folder: of the bundle, instead of the registry's.

    Raises:
        NothingThere, NoOutcome: of that place there is nothing to tell.
        ConfigurationError: a setting or a topic is missing.
        Unavailable: the broker does not answer.
    """
    kafka, bundles = settings.need_kafka(), _bundles(settings, folder)
    topics = _topics(settings, question, bundles)
    with ExitStack() as stack:
        acknowledged = cache(lambda: stack.enter_context(Acknowledged(kafka, settings.need_keyring())))
        records = Records(
            entries=lambda name: _ledger(settings).entries(name),
            acknowledgements=lambda name: acknowledged().of(name),
            bundles=bundles,
            lookups=lambda: _lookups(settings),
            contributions=Contributors().of,
        )
        collector = stack.enter_context(Collector(kafka, question.model, topics, records))
        return explain(collector.collect(question.topic, question.partition, question.offset))


def _topics(settings: Settings, question: Question, bundles: Callable[[], OpensBundles]) -> Topics:
    """The model's topics: by their standard names, or, where that one is none of them, as the champion names them."""
    model, topics = question.model, Topics.of(question.model)
    if question.topic in _names(topics):
        return topics
    entries = _ledger(settings).entries(model)
    if entries:
        champion = bundles().scorer(model, entries[-1].version, entries[-1].manifest_digest)
        topics = champion.manifest.topics
    if question.topic not in _names(topics):
        raise NothingThere(f"{question.topic} is no topic of {model}; those are {', '.join(_names(topics))}")
    return topics


def _names(topics: Topics) -> tuple[str, str, str]:
    return topics.input, topics.predictions, topics.dead_letters


def _ledger(settings: Settings) -> Ledger:
    return Ledger.open(settings.need_ledger_url(), migrating=False)


def _bundles(settings: Settings, folder: Path | None) -> Callable[[], OpensBundles]:
    if folder is not None:
        given = OneBundle(folder)
        return lambda: given
    return cache(lambda: Bundles(open_registry(settings.need_registry_uri())))


def _lookups(settings: Settings) -> LookupSource:
    from scoring.lookups.sql import SqlLookups  # noqa: PLC0415 - only a dead letter's record is looked up for

    return SqlLookups(settings.need_connection)
