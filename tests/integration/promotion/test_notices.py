"""Notices on a real broker: fencing, delivery, forgeries, kills (protocol A.6 to A.8)."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer

from local.kafka.broker import Broker
from scoring.contract.envelope import Keyring
from scoring.contract.errors import ConfigurationError, Rejection, Unavailable
from scoring.contract.notice import Kind
from scoring.promotion.entry import LedgerEntry
from scoring.promotion.ledger import Ledger
from scoring.promotion.notices import KafkaNotices, NoticeState
from scoring.promotion.publisher import Fenced, Publisher, publish_head, sealed_notice
from scoring.promotion.repair import compare, repair
from scoring.promotion.rules import LostRace
from scoring.registry.folder import FolderRegistry
from tests.support.arena import wait_until_settled
from tests.support.broker import PROJECT, MakeTopic
from tests.support.bundles import make_bundle
from tests.support.decisions import KEYRING, proposal
from tests.support.promoter import BEFORE_THE_DECISION, STEPS

pytestmark = pytest.mark.integration
OTHER_KEY = Keyring(active="k1", keys={"k1": b"x" * 32})
# Steps of a process that waits for workers, of which there are none here.
OF_THE_WAIT = {"waiting", "looked", "partly-live", "settled"}


class Rig:
    """A ledger, a registry and a topic of notices of a test's own."""

    def __init__(self, folder: Path, broker: Broker, topic: str, model: str) -> None:
        self.folder, self.topic, self.model = folder, topic, model
        self.kafka = {"bootstrap.servers": broker.bootstrap}
        self.ledger_url = f"sqlite:///{folder / 'ledger.db'}"
        self.ledger = Ledger.open(self.ledger_url)
        (folder / "registry").mkdir()
        self.registry = FolderRegistry(folder / "registry")
        self.board = KafkaNotices(self.kafka, KEYRING, self.ledger, topic=topic)

    def register(self, version: str) -> str:
        folder = self.folder / "registry" / self.model / version
        return make_bundle(folder, int(version), model=self.model)

    def decide(self, version: str, kind: Kind = Kind.PROMOTE) -> LedgerEntry:
        head = self.ledger.head(self.model)
        parent = head.sequence if head else 0
        return self.ledger.decide(proposal(version, model=self.model, parent=parent, kind=kind))

    def publish(self, ledger: Ledger | None = None) -> LedgerEntry | None:
        return publish_head(self.model, ledger or self.ledger, KEYRING, self.kafka, topic=self.topic)

    def settled(self) -> KafkaNotices:
        """The board, once what was committed can be read."""
        wait_until_settled(str(self.kafka["bootstrap.servers"]), self.topic)
        return self.board

    def newest(self) -> int | Rejection | None:
        seen = self.settled().newest().get(self.model)
        if seen is None:
            return None
        return seen.notice.sequence if seen.notice else seen.rejection

    def send(self, value: bytes | None, headers: list[tuple[str, bytes]], key: str | None = None) -> None:
        """Produce without a transaction, as anybody could who reaches the broker."""
        producer = Producer(self.kafka)
        producer.produce(self.topic, value, (key or self.model).encode(), headers=headers)  # type: ignore[arg-type]
        assert producer.flush(20) == 0
        producer.close()


@pytest.fixture
def rig(tmp_path: Path, broker: Broker, make_topic: MakeTopic, unique_name: Callable[[str], str]) -> Rig:
    return Rig(tmp_path, broker, make_topic("notices", partitions=1, **{"cleanup.policy": "compact"}), unique_name("m"))


def test_the_head_of_the_ledger_is_what_a_reader_finds(rig: Rig) -> None:
    entry = rig.decide("1")
    assert rig.publish() == entry
    found = rig.settled().newest()[rig.model]
    assert found.notice == entry.notice(rig.ledger.identity())
    assert found.state(entry, rig.ledger.identity()) is NoticeState.CURRENT


def test_a_model_without_an_entry_publishes_nothing(rig: Rig) -> None:
    assert rig.publish() is None
    assert rig.board.newest() == {}


def test_models_share_the_topic_without_fencing_each_other(rig: Rig) -> None:
    other = f"{rig.model}_b"
    rig.decide("1")
    rig.ledger.decide(proposal("1", model=other))
    with Publisher(rig.model, rig.kafka, topic=rig.topic, timeout_s=20) as first:
        publish_head(other, rig.ledger, KEYRING, rig.kafka, topic=rig.topic)
        head = rig.ledger.head(rig.model)
        assert head is not None
        first.publish(sealed_notice(head, rig.ledger, KEYRING))
    assert set(rig.settled().newest()) == {rig.model, other}


class Interrupted:
    """A ledger whose next answer about the head is overtaken: by a decision, published by another process."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.identity = rig.ledger.identity

    def head(self, model: str) -> LedgerEntry | None:
        stale = self._rig.ledger.head(model)
        self._rig.decide("2")
        assert self._rig.publish() is not None
        return stale


def test_a_publisher_that_was_overtaken_is_fenced_and_leaves_the_newer_notice(rig: Rig) -> None:
    rig.decide("1")
    interrupted: Any = Interrupted(rig)
    with pytest.raises(Fenced, match="took over"):
        rig.publish(interrupted)
    assert rig.newest() == 2


def test_a_publisher_that_reads_the_head_before_it_fences_puts_an_older_notice_on_top(rig: Rig) -> None:
    """The planted bug: the order of protocol A.7 turned round."""
    rig.decide("1")
    interrupted: Any = Interrupted(rig)
    head = interrupted.head(rig.model)
    with Publisher(rig.model, rig.kafka, topic=rig.topic, timeout_s=20) as publisher:
        publisher.publish(sealed_notice(head, rig.ledger, KEYRING))
    assert rig.newest() == 1


def test_a_publisher_without_a_fixed_transactional_id_is_not_fenced(rig: Rig) -> None:
    """The planted bug: an id of its own per publisher. The overtaken one speaks last."""
    rig.decide("1")
    late = Producer({**rig.kafka, "transactional.id": f"random-{rig.model}"})
    late.init_transactions(20)
    interrupted: Any = Interrupted(rig)
    sealed = sealed_notice(interrupted.head(rig.model), rig.ledger, KEYRING)
    late.begin_transaction()
    late.produce(rig.topic, sealed.value, sealed.key, headers=list(sealed.headers))
    late.commit_transaction(20)
    late.close()
    assert rig.newest() == 1


def test_the_same_entry_gives_the_same_event_so_that_doubled_notices_are_harmless(rig: Rig) -> None:
    entry = rig.decide("1")
    assert sealed_notice(entry, rig.ledger, KEYRING) == sealed_notice(entry, rig.ledger, KEYRING)


@pytest.mark.parametrize("damage", ["tombstone", "unsigned", "other key", "other model", "older", "garbage"])
def test_whatever_is_wrong_on_the_topic_is_found_and_repaired(rig: Rig, damage: str) -> None:
    digest_of_version = {version: rig.register(version) for version in ("1", "2")}
    old = rig.ledger.decide(proposal("1", model=rig.model, digest=digest_of_version["1"]))
    head = rig.ledger.decide(proposal("2", model=rig.model, parent=1, digest=digest_of_version["2"]))
    repair(rig.model, rig.ledger, rig.registry, rig.board)
    sealed = sealed_notice(head, rig.ledger, KEYRING)
    forged = {
        "tombstone": partial(rig.send, None, []),
        "unsigned": partial(rig.send, sealed.value, []),
        "other key": partial(rig.send, sealed.value, sealed_notice(head, rig.ledger, OTHER_KEY).headers),
        "other model": partial(
            rig.send,
            (other := sealed_notice(msgspec.structs.replace(head, model="other"), rig.ledger, KEYRING)).value,
            other.headers,
        ),
        "older": partial(rig.send, (late := sealed_notice(old, rig.ledger, KEYRING)).value, late.headers),
        "garbage": partial(rig.send, b"\xff{", [("baton-signature", b"\x00"), ("baton-key-id", b"\xff")]),
    }
    forged[damage]()
    assert not compare(rig.model, rig.ledger, rig.registry, rig.settled().newest()).equal
    done = repair(rig.model, rig.ledger, rig.registry, rig.board)
    assert [action.copy for action in done.actions] == ["notice"]
    assert rig.newest() == 2
    assert repair(rig.model, rig.ledger, rig.registry, rig.settled()).actions == ()


def test_a_missing_topic_is_named_and_not_created(rig: Rig) -> None:
    rig.decide("1")
    with pytest.raises(ConfigurationError, match="no topic absent; run `baton topics create`"):
        publish_head(rig.model, rig.ledger, KEYRING, rig.kafka, topic="absent")
    with pytest.raises(ConfigurationError, match="no topic absent"):
        KafkaNotices(rig.kafka, KEYRING, rig.ledger, topic="absent").newest()


def test_a_notice_that_the_broker_refuses_is_an_error(
    rig: Rig, make_topic: MakeTopic, capfd: pytest.CaptureFixture[str]
) -> None:
    rig.decide("1")
    narrow = make_topic("narrow", partitions=1, **{"max.message.bytes": "200"})
    with pytest.raises(ConfigurationError, match=r"(committing|delivering) the notice .*MSG_SIZE_TOO_LARGE"):
        publish_head(rig.model, rig.ledger, KEYRING, rig.kafka, topic=narrow)
    assert capfd.readouterr().err == ""


def test_a_broker_that_is_away_is_unavailable_soon_and_quietly(rig: Rig, capfd: pytest.CaptureFixture[str]) -> None:
    rig.decide("1")
    away = {"bootstrap.servers": "127.0.0.1:1", "socket.connection.setup.timeout.ms": 1000}
    with pytest.raises(Unavailable, match="Kafka, while describing topics"):
        publish_head(rig.model, rig.ledger, KEYRING, away, topic=rig.topic)
    assert capfd.readouterr().err == ""


def test_publishers_at_once_end_with_the_head_on_the_topic(rig: Rig) -> None:
    rounds, threads = 6, 4
    for version in range(1, rounds * threads + 1):
        rig.register(str(version))
    started = threading.Barrier(threads)

    def promote_often(who: int) -> None:
        started.wait()
        for turn in range(rounds):
            version = str(who * rounds + turn + 1)
            while True:
                try:
                    rig.decide(version)
                    break
                except LostRace:
                    continue
            repair(rig.model, rig.ledger, rig.registry, rig.board)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(promote_often, range(threads)))
    head = rig.ledger.head(rig.model)
    assert head is not None
    assert head.sequence == rounds * threads == rig.newest()
    assert compare(rig.model, rig.ledger, rig.registry, rig.settled().newest()).equal


@pytest.mark.faults
@pytest.mark.parametrize("step", [step for step in STEPS if step not in OF_THE_WAIT])
def test_a_promotion_that_is_killed_at_any_step_is_whole_after_repair_and_retry(rig: Rig, step: str) -> None:
    digests = {version: rig.register(version) for version in ("1", "2")}
    rig.ledger.decide(proposal("1", model=rig.model, digest=digests["1"]))
    repair(rig.model, rig.ledger, rig.registry, rig.board)
    task = {
        "step": step,
        "ledger": rig.ledger_url,
        "registry": (rig.folder / "registry").as_uri(),
        "bootstrap": rig.kafka["bootstrap.servers"],
        "topic": rig.topic,
        "model": rig.model,
        "version": "2",
        "digest": digests["2"],
        "parent": 1,
        "run_id": "the-run",
    }
    status = _promote(task)
    assert status == (0 if step == "never" else -signal.SIGKILL)

    def equal() -> bool:
        return compare(rig.model, rig.ledger, rig.registry, rig.settled().newest()).equal

    decided = step not in BEFORE_THE_DECISION
    assert [entry.sequence for entry in rig.ledger.entries(rig.model)] == ([1, 2] if decided else [1])
    repair(rig.model, rig.ledger, rig.registry, rig.board)
    assert equal()
    assert rig.newest() == (2 if decided else 1)
    assert _promote({**task, "step": "never"}) == 0, "the retry of the task fails"
    assert [entry.sequence for entry in rig.ledger.entries(rig.model)] == [1, 2]
    assert equal()


def _promote(task: dict[str, Any]) -> int:
    command = [sys.executable, "-m", "tests.support.promoter", json.dumps(task)]
    return subprocess.run(command, cwd=PROJECT, timeout=60, check=False).returncode
