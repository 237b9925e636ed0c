"""``baton explain``: what happened to one record, and what comes of scoring it again."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import NamedTuple

import click
import msgspec

from scoring.console import EXIT_REFUSED, echo_json, echo_lines, json_option, open_ledger, topics_of, topics_option
from scoring.contract.errors import ConfigurationError
from scoring.contract.manifest import Topics
from scoring.explain.acknowledged import Acknowledged
from scoring.explain.bundles import Bundles, OneBundle
from scoring.explain.collecting import Collector, OpensBundles, Records
from scoring.explain.contributions import Contributors
from scoring.explain.explaining import explain
from scoring.explain.explanation import Explanation
from scoring.explain.page import page
from scoring.explain.tables import Tables
from scoring.explain.telling import headline, lines
from scoring.lookups.port import LookupSource
from scoring.predictions.reading import Predictions
from scoring.registry.open import open_registry
from scoring.settings import Settings, read_settings

_SUFFIXES = (".input", ".predictions", ".dead-letters")


class Place(NamedTuple):
    """What is to be explained; ``topic_id`` of an earlier input topic of that name."""

    topic: str
    partition: int
    offset: int
    topic_id: str | None


@click.command(
    epilog="""Examples:

\b
  baton explain flight_delay.input 0 1234
  baton explain flight_delay.predictions 0 1230 --json
  baton explain flight_delay.dead-letters 2 17 --html why.html
"""
)
@click.argument("topic")
@click.argument("partition", type=click.IntRange(min=0))
@click.argument("offset", type=click.IntRange(min=0))
@click.option("--model", help="The model, where the topic's name does not begin with it.")
@click.option(
    "--bundle",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the bundle, instead of the registry's.",
)
@click.option("--topic-id", help="Of an input topic that was deleted and made again since: explain its record.")
@topics_option
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Also write it as a page, to this file.")
@json_option
def command(
    topic: str,
    partition: int,
    offset: int,
    *,
    model: str | None,
    folder: Path | None,
    topic_id: str | None,
    named_topics: str | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Explain what happened to the record at PARTITION and OFFSET of TOPIC.

    TOPIC is a model's input, or the topic of an outcome, and then the place is the outcome's. Told are the record,
    what was looked up for it, the features as the model saw them, the score; the version, why it was live, and the
    swaps around the record; and the score computed again now from the bundle that the prediction names. A dead letter
    is judged again, by the version that refused it and by the champion. What cannot be had any more is told; with
    BATON_PREDICTIONS_URL an outcome that its topic no longer has is told from the predictions' table. Exit status 1
    when the score does not come out identical or cannot be computed, when the ledger says otherwise, and when there is
    no outcome.
    """
    settings = read_settings()
    model = model or _model_of(settings, topic)
    topics = _topics(settings, model, topic, named_topics)
    place = Place(topic, partition, offset, topic_id)
    found = _explained(settings, place, model, topics, folder)
    if html is not None:
        _write(html, page(found))
    if as_json:
        echo_json({"sound": found.sound, "headline": headline(found), **msgspec.structs.asdict(found)})
    else:
        echo_lines(lines(found))
    sys.exit(0 if found.sound else EXIT_REFUSED)


def _explained(settings: Settings, place: Place, model: str, topics: Topics, folder: Path | None) -> Explanation:
    kafka, bundles = settings.need_kafka(), _bundles(settings, folder)
    with ExitStack() as stack:
        acknowledged = cache(lambda: stack.enter_context(Acknowledged(kafka, settings.need_keyring())))
        records = Records(
            entries=lambda name: open_ledger(settings).entries(name),
            acknowledgements=lambda name: acknowledged().of(name),
            bundles=bundles,
            lookups=lambda: _lookups(settings),
            contributions=Contributors().of,
            tables=cache(lambda: _tables(settings, stack)) if settings.predictions_url else None,
        )
        collector = stack.enter_context(Collector(kafka, model, topics, records))
        found = collector.collect(place.topic, place.partition, place.offset, topic_id=place.topic_id)
        return explain(found)


def _tables(settings: Settings, stack: ExitStack) -> Tables:
    tables = Tables(Predictions.open(settings.need_predictions_url()))
    stack.callback(tables.close)
    return tables


def _topics(settings: Settings, model: str, topic: str, named: str | None) -> Topics:
    """The model's topics as its champion names them; where that one is none of them, by their standard names."""
    topics = topics_of(settings, model, named)
    if topic in _names(topics):
        return topics
    standard = Topics.of(model)
    if named is None and topic in _names(standard):
        return standard
    raise ConfigurationError(
        f"{topic} is no topic of {model}; those are {', '.join(_names(topics))}; name an earlier version's by --topics"
    )


def _names(topics: Topics) -> tuple[str, str, str]:
    return topics.input, topics.predictions, topics.dead_letters


def _bundles(settings: Settings, folder: Path | None) -> Callable[[], OpensBundles]:
    if folder is not None:
        given = OneBundle(folder)
        return lambda: given
    return cache(lambda: Bundles(open_registry(settings.need_registry_uri())))


def _lookups(settings: Settings) -> LookupSource:
    from scoring.lookups.sql import SqlLookups  # noqa: PLC0415 - only a dead letter's record is looked up for

    return SqlLookups(settings.need_connection)


def _model_of(settings: Settings, topic: str) -> str:
    for suffix in _SUFFIXES:
        if topic.endswith(suffix):
            return topic.removesuffix(suffix)
    known = "" if not settings.ledger_url else f"; the ledger knows {', '.join(open_ledger(settings).models())}"
    raise ConfigurationError(f"{topic}: say whose it is with --model: it does not end as a model's topics do{known}")


def _write(path: Path, content: str) -> None:
    try:
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--html: cannot write {path}: {error.strerror}") from error
