"""``baton topics``: create and check the topics."""

import sys

import click

from scoring.console import EXIT_REFUSED, echo_json, json_option
from scoring.contract.manifest import Topics
from scoring.settings import read_settings
from scoring.topics import (
    BROKERS_DEFAULT,
    DEFAULT_PARTITIONS,
    TopicReport,
    all_shared_topics,
    check_topics,
    ensure_topics,
)

models_option = click.option("--models", help="Comma-separated names of models; by default those of BATON_MODELS.")


@click.group()
def command() -> None:
    """Create the topics and hold their settings against what they must be."""


@command.command(
    epilog="""Examples:

\b
  baton topics create --models flight_delay --partitions 4
  baton topics create --models flight_delay --partitions 4 --alter
"""
)
@models_option
@click.option(
    "--partitions",
    type=click.IntRange(min=1),
    help=f"Of each model's topics; by default as many as the input has, or {DEFAULT_PARTITIONS} where it is new.",
)
@click.option(
    "--replication", default=BROKERS_DEFAULT, help="Copies of each new topic; by default what the broker is set to."
)
@click.option("--alter", is_flag=True, help="Also mend topics that were there before, as far as Kafka can.")
@json_option
def create(models: str | None, partitions: int | None, replication: int, alter: bool, as_json: bool) -> None:  # noqa: FBT001
    """Create the topics that all models share and the models' topics where they are missing, then check all of them.

    Exit status 1 when a topic is not as it must be; each deviation is listed with the command that mends it.
    """
    settings = read_settings(models=models)
    report = ensure_topics(
        settings.need_kafka(),
        [Topics.of(model) for model in settings.need_models()],
        partitions,
        replication=replication,
        altering=alter,
    )
    _finish(report, as_json=as_json)


@command.command(
    epilog="""Examples:

\b
  baton topics check --models flight_delay
  baton topics check --json
"""
)
@models_option
@click.option("--partitions", type=click.IntRange(min=1), help="Of each model's input; by default any number will do.")
@json_option
def check(models: str | None, partitions: int | None, as_json: bool) -> None:  # noqa: FBT001
    """Check that the topics are there and as they must be; changes nothing.

    Predictions and dead letters must have as many partitions as the input, and room for its largest record and what
    Baton adds. Exit status 1 when a topic is not as it must be.
    """
    settings = read_settings(models=models)
    topics = [Topics.of(model) for model in settings.need_models()]
    _finish(check_topics(settings.need_kafka(), topics, partitions, shared=all_shared_topics()), as_json=as_json)


def _finish(report: TopicReport, *, as_json: bool) -> None:
    if as_json:
        echo_json(report)
    else:
        for name in report.created:
            click.echo(f"created {name}")
        for change in report.altered:
            click.echo(f"altered {change}")
        for deviation in report.deviations:
            click.echo(f"baton: {deviation.sentence}", err=True)
        if not report.deviations:
            click.echo(f"{len(report.ids)} topics are as they must be")
    sys.exit(EXIT_REFUSED if report.deviations else 0)
