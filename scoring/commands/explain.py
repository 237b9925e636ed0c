"""``baton explain``: what happened to one record, and what comes of scoring it again."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import click

from scoring.console import EXIT_REFUSED, echo_json, json_option, open_ledger
from scoring.contract.errors import ConfigurationError
from scoring.contract.manifest import Topics
from scoring.explain.acknowledged import Acknowledged
from scoring.explain.bundles import Bundles, OneBundle
from scoring.explain.collecting import Collector, OpensBundles, Records
from scoring.explain.contributions import Contributors
from scoring.explain.explaining import explain
from scoring.explain.explanation import Explanation
from scoring.explain.page import page
from scoring.explain.telling import lines
from scoring.lookups.port import LookupSource
from scoring.registry.open import open_registry
from scoring.settings import Settings, read_settings

_SUFFIXES = (".input", ".predictions", ".dead-letters")


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
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Also write it as a page, to this file.")
@json_option
def command(
    topic: str, partition: int, offset: int, *, model: str | None, folder: Path | None, html: Path | None, as_json: bool
) -> None:
    """Explain what happened to the record at PARTITION and OFFSET of TOPIC.

    TOPIC is a model's input, or the topic of an outcome, and then the place is the outcome's. Told are the record,
    what was looked up for it, the features as the model saw them, the score; the version, why it was live, and the
    swaps around the record; and the score computed again now from the bundle that the prediction names. A dead letter
    is judged again, by the version that refused it and by the champion. What cannot be had any more is told. Exit
    status 1 when the score does not come out identical or cannot be computed, when the ledger says otherwise, and when
    there is no outcome.
    """
    settings = read_settings()
    found = _explained(settings, topic, partition, offset, model or _model_of(topic), folder)
    if html is not None:
        _write(html, page(found))
    if as_json:
        echo_json(found)
    else:
        for line in lines(found):
            click.echo(line)
    sys.exit(0 if found.sound else EXIT_REFUSED)


def _explained(
    settings: Settings, topic: str, partition: int, offset: int, model: str, folder: Path | None
) -> Explanation:
    kafka, bundles = settings.need_kafka(), _bundles(settings, folder)
    topics = _topics(settings, model, topic, bundles)
    with ExitStack() as stack:
        acknowledged = cache(lambda: stack.enter_context(Acknowledged(kafka, settings.need_keyring())))
        records = Records(
            entries=lambda name: open_ledger(settings).entries(name),
            acknowledgements=lambda name: acknowledged().of(name),
            bundles=bundles,
            lookups=lambda: _lookups(settings),
            contributions=Contributors().of,
        )
        collector = stack.enter_context(Collector(kafka, model, topics, records))
        return explain(collector.collect(topic, partition, offset))


def _topics(settings: Settings, model: str, topic: str, bundles: Callable[[], OpensBundles]) -> Topics:
    """The model's topics: by their standard names, or, where that one is none of them, as the champion names them."""
    topics = Topics.of(model)
    if topic in _names(topics):
        return topics
    entries = open_ledger(settings).entries(model)
    if entries:
        champion = bundles().scorer(model, entries[-1].version, entries[-1].manifest_digest)
        topics = champion.manifest.topics
    if topic not in _names(topics):
        raise ConfigurationError(f"{topic} is no topic of {model}; those are {', '.join(_names(topics))}")
    return topics


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


def _model_of(topic: str) -> str:
    for suffix in _SUFFIXES:
        if topic.endswith(suffix):
            return topic.removesuffix(suffix)
    raise ConfigurationError(f"{topic}: name the model with --model; the topic's name does not end as a model's do")


def _write(path: Path, content: str) -> None:
    try:
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--html: cannot write {path}: {error.strerror}") from error
