"""``baton retrain``: ask for a retrain."""

from datetime import UTC, datetime
from uuid import uuid4

import click
import msgspec

from scoring.console import default_actor, echo_json, json_option
from scoring.contract.envelope import Sealed
from scoring.contract.errors import ConfigurationError
from scoring.contract.retrain import RetrainRequest, seal_retrain
from scoring.contract.topics import RETRAINS
from scoring.kafka import require_topics
from scoring.produce import Outgoing, deliver
from scoring.settings import Settings, read_settings


@click.command(
    epilog="""Examples:

\b
  baton retrain flight_delay --reason "accuracy fell below 0.6 on Tuesday"
  baton retrain flight_delay --reason "labels of March are in" --actor labelling
"""
)
@click.argument("model")
@click.option("--reason", required=True, help="Why; it goes into the run and into the ledger.")
@click.option("--actor", help="Who asks; by default the user and the machine.")
@json_option
def command(model: str, reason: str, actor: str | None, *, as_json: bool) -> None:
    """Ask for a retrain of MODEL, by a message that wakes its DAG in Airflow.

    A request is a wake-up: those that come while a run goes on, or before the model's cool-down is over, make one run
    together. Nobody answers whether there is such a model; its DAG retrain_MODEL in Airflow shows what became of it.
    """
    request = _request(model, reason, actor or default_actor())
    settings = read_settings()
    require_topics(settings.need_kafka(), [RETRAINS])
    deliver(settings.need_kafka(), RETRAINS, [Outgoing.of(_sealed(settings, request))])
    if as_json:
        echo_json(request)
    else:
        click.echo(f"{model}: a retrain is asked for, by {request.by}: {request.reason}")


def _request(model: str, reason: str, by: str) -> RetrainRequest:
    try:
        return msgspec.convert({"model": model, "reason": reason, "by": by}, RetrainRequest)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"this cannot be asked for: {error}") from error


def _sealed(settings: Settings, request: RetrainRequest) -> Sealed:
    keyring, now = settings.need_keyring(), datetime.now(UTC)
    return seal_retrain(request, source="baton/command", event_id=str(uuid4()), time=now, keyring=keyring)
