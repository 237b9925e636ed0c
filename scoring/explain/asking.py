"""Ask for the explanation of one record: with the settings, over everything that it needs to look into."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from scoring.contract.errors import BatonError
from scoring.contract.manifest import Topics
from scoring.explain.acknowledged import Acknowledged
from scoring.explain.answering import Question
from scoring.explain.bundles import Bundles, OneBundle
from scoring.explain.collecting import Collector, NothingThere, OpensBundles, Records
from scoring.explain.contributions import Contributors
from scoring.explain.explaining import explain
from scoring.explain.explanation import Explanation
from scoring.explain.tables import Tables
from scoring.lookups.port import LookupSource
from scoring.predictions.reading import Predictions
from scoring.promotion.ledger import Ledger
from scoring.promotion.naming import topics_of
from scoring.registry.open import open_registry
from scoring.settings import Settings


def explained(
    settings: Settings, question: Question, folder: Path | None = None, *, topics: Topics | None = None
) -> Explanation:
    """What happened to a record.

    Args:
        folder: of the bundle, instead of the registry's.
        topics: the model's, where somebody knows them; None takes those that its champion names.

    Raises:
        NothingThere, NoOutcome: of that place there is nothing to tell.
        ConfigurationError: a setting or a topic is missing.
        Unavailable: the broker does not answer.
    """
    kafka, bundles = settings.need_kafka(), _bundles(settings, folder)
    unsure: list[BatonError] = []
    topics = _topics(question, topics or topics_of(settings, question.model, unsure.append), unsure)
    with ExitStack() as stack:
        acknowledged = cache(lambda: stack.enter_context(Acknowledged(kafka, settings.need_keyring())))
        records = Records(
            entries=lambda name: _ledger(settings).entries(name),
            acknowledgements=lambda name: acknowledged().of(name),
            bundles=bundles,
            lookups=lambda: _lookups(settings),
            contributions=Contributors().of,
            tables=cache(lambda: _tables(settings, stack)) if settings.predictions_url else None,
        )
        collector = stack.enter_context(Collector(kafka, question.model, topics, records))
        found = collector.collect(question.topic, question.partition, question.offset, topic_id=question.topic_id)
        return explain(found)


def _topics(question: Question, topics: Topics, unsure: Sequence[BatonError]) -> Topics:
    """The model's topics; by their standard names where the place that was asked for is in none of them.

    Args:
        unsure: why the champion's could not be had.
    """
    for known in (topics, Topics.of(question.model)):
        if question.topic in _names(known):
            return known
    for error in unsure:
        raise error
    raise NothingThere(
        f"{question.topic} is no topic of {question.model}; those are {', '.join(_names(topics))}; name an earlier "
        "version's by --topics"
    )


def _tables(settings: Settings, stack: ExitStack) -> Tables:
    tables = Tables(Predictions.open(settings.need_predictions_url()))
    stack.callback(tables.close)
    return tables


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
