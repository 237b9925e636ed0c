"""``baton explain``: what happened to one record, and what comes of scoring it again."""

import sys
from pathlib import Path

import click

from scoring.console import EXIT_REFUSED, echo_json, json_option
from scoring.contract.errors import ConfigurationError
from scoring.explain.answering import Question
from scoring.explain.asking import explained
from scoring.explain.page import page
from scoring.explain.telling import lines
from scoring.settings import read_settings

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
    question = Question(model=model or _model_of(topic), topic=topic, partition=partition, offset=offset)
    found = explained(read_settings(), question, folder)
    if html is not None:
        _write(html, page(found))
    if as_json:
        echo_json(found)
    else:
        for line in lines(found):
            click.echo(line)
    sys.exit(0 if found.sound else EXIT_REFUSED)


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
