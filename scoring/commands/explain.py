"""``baton explain``: what happened to one record, and what comes of scoring it again."""

import sys
from pathlib import Path

import click

from scoring.console import EXIT_REFUSED, echo_json, echo_lines, json_option, open_ledger, topics_of, topics_option
from scoring.contract.errors import ConfigurationError
from scoring.explain.answering import Question
from scoring.explain.asking import explained
from scoring.explain.page import page
from scoring.explain.telling import lines
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
    question = Question(model=model, topic=topic, partition=partition, offset=offset, topic_id=topic_id)
    found = explained(settings, question, folder, topics=topics_of(settings, model, named_topics))
    if html is not None:
        _write(html, page(found))
    if as_json:
        echo_json(found)
    else:
        echo_lines(lines(found))
    sys.exit(0 if found.sound else EXIT_REFUSED)


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
