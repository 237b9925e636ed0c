"""``baton adopt-ledger``: let a deployment follow another ledger, after the old one was lost (protocol A.8)."""

import re
from collections.abc import Iterable
from pathlib import Path
from uuid import UUID

import click
import msgspec
from confluent_kafka import Consumer, ConsumerGroupState, ConsumerGroupTopicPartitions, TopicPartition

from scoring.console import echo_json, json_option, open_ledger
from scoring.contract.errors import DecisionRefused
from scoring.contract.progress import Progress
from scoring.kafka import ADMIN_TIMEOUT_S, PATIENCE_S, TIMEOUT_S, Options, admin_client, client_options, kafka_errors
from scoring.settings import Settings, read_settings
from scoring.worker.cache import Cache, Memory
from scoring.worker.clients import consumer_settings


class Adopted(msgspec.Struct, frozen=True, kw_only=True):
    """What the command changed.

    Attributes:
        workers: those of this host whose memory was of another ledger.
        partitions: ``topic/partition`` of the committed offsets that were of another ledger.
    """

    ledger: UUID
    workers: tuple[str, ...]
    partitions: tuple[str, ...]


@click.command(
    epilog="""Examples:

\b
  baton adopt-ledger
  baton adopt-ledger --ledger 5f0c6c0e-6c1b-4d5f-9f57-0d6c1f1b3f0e --yes
"""
)
@click.option("--ledger", type=click.UUID, help="UUID of the ledger; by default that of BATON_LEDGER_URL.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def command(ledger: UUID | None, yes: bool, as_json: bool) -> None:  # noqa: FBT001
    """Let the workers of BATON_DEPLOYMENT follow another ledger than the one they know.

    A worker refuses notices of another ledger, because their sequences mean something else. After a ledger was lost
    and a new one begun, stop the deployment and run this once on each of its hosts (it changes BATON_CACHE_DIR there),
    then start the deployment again: each worker takes the newest notice of the new ledger, whatever its sequence.
    """
    settings = read_settings()
    wanted = ledger or open_ledger(settings).identity()
    if not yes:
        click.confirm(
            f"Deployment {settings.deployment} forgets the sequences of the ledger that it knows and follows {wanted}?",
            abort=True,
            err=True,
        )
    adopted = adopt(settings, wanted)
    if as_json:
        echo_json(adopted)
        return
    click.echo(f"deployment {settings.deployment} follows the ledger {wanted}")
    for name in (*adopted.workers, *adopted.partitions):
        click.echo(f"  {name} was of another ledger")


def adopt(settings: Settings, ledger: UUID) -> Adopted:
    """Make the workers' memories on this host and the group's committed offsets those of ``ledger``.

    Raises:
        DecisionRefused: workers of the deployment are running.
        Unavailable, ConfigurationError: broker or cache cannot be used.
    """
    kafka, group = settings.need_kafka(), str(consumer_settings(settings)["group.id"])
    _require_stopped(kafka, group)
    partitions = _adopt_offsets(kafka, group, ledger)
    workers = [
        worker
        for worker in _workers(settings.need_cache_dir(), settings.deployment)
        if _adopt(settings, worker, ledger)
    ]
    return Adopted(ledger=ledger, workers=tuple(workers), partitions=tuple(partitions))


def _require_stopped(kafka: Options, group: str) -> None:
    admin = admin_client(kafka)
    with kafka_errors(f"describing the group {group}"):
        futures = admin.describe_consumer_groups([group], request_timeout=ADMIN_TIMEOUT_S)
        state = futures[group].result(PATIENCE_S).state
    if state not in {ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD}:
        raise DecisionRefused(
            f"the group {group} still has members ({state.name.lower()}); stop the deployment on every host and "
            "wait for its session timeout"
        )


def _adopt_offsets(kafka: Options, group: str, ledger: UUID) -> list[str]:
    """Commit the same offsets again, as progress of sequence 0 of ``ledger``, which holds no partition back."""
    admin = admin_client(kafka)
    with kafka_errors(f"committing the offsets of {group}"):
        requests = [ConsumerGroupTopicPartitions(group)]
        futures = admin.list_consumer_group_offsets(requests, request_timeout=TIMEOUT_S)
        known = futures[group].result(PATIENCE_S).topic_partitions or []
        if not known:
            return []
        consumer = Consumer(client_options(kafka, group_id=group, enable_auto_commit=False))
        try:
            committed = consumer.committed([TopicPartition(p.topic, p.partition) for p in known], timeout=TIMEOUT_S)
            changed = [place for place in committed if _is_of_another(place, ledger)]
            if changed:
                progress = Progress(ledger, 0).encode()
                places = [TopicPartition(p.topic, p.partition, p.offset, progress) for p in changed]
                consumer.commit(offsets=places, asynchronous=False)
        finally:
            consumer.close()
    return [f"{place.topic}/{place.partition}" for place in changed]


def _is_of_another(place: TopicPartition, ledger: UUID) -> bool:
    return place.offset >= 0 and Progress.decode(place.metadata).ledger not in {None, ledger}


def _workers(cache_dir: Path, deployment: str) -> Iterable[str]:
    """The workers of the deployment that have a memory on this host."""
    pattern = re.compile(rf"{re.escape(deployment)}-(\d+)")
    for path in sorted((cache_dir / "workers").glob("*.json")):
        found = pattern.fullmatch(path.stem)
        if found:
            yield f"{deployment}/{found[1]}"


def _adopt(settings: Settings, worker: str, ledger: UUID) -> bool:
    cache = Cache(settings.need_cache_dir(), worker)
    if cache.recall().ledger in {None, ledger}:
        return False
    # Sequences of another ledger mean nothing; bundles are found by their digest and stay.
    cache.remember(Memory(ledger=ledger))
    return True
