"""A real worker on a real broker, fed with records all the while, under forged messages and hostile bundles."""

import base64
import json
import random
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as KafkaMessage

from local.kafka.broker import Broker
from scoring.contract.acknowledgement import unseal_acknowledgement
from scoring.contract.errors import EnvelopeRejected
from scoring.contract.heartbeat import unseal_heartbeat
from scoring.contract.topics import ACKNOWLEDGEMENTS, NOTICES, WORKERS
from tests.faults.hostile import bundles, messages
from tests.support.arena import read_all, wait_until
from tests.support.bundles import score_of
from tests.support.forge import KEYRING, LEDGER, LIVE_SEQUENCE, SECRET, BundleCase, Forge, Message
from tests.support.ground import Ground
from tests.support.oracle import examine

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

TOPICS = {"notice": NOTICES, "acknowledgement": ACKNOWLEDGEMENTS, "heartbeat": WORKERS}
# What the clients' buffers and the allocator may add under a flood; a leak of a message each would show far above it.
GROWTH_BYTES = 96 * 2**20
SEED = 11


class Besieged(Ground):
    """A stream whose control topics hold anything; what is not signed is no news."""

    def heartbeats(self) -> list[dict[str, object]]:
        return [beat for beat in self._signed(WORKERS) if str(beat["worker"]).startswith(f"{self.deployment}/")]

    def acknowledgements(self) -> list[dict[str, object]]:
        own = [said for said in self._signed(ACKNOWLEDGEMENTS) if said["model"] == self.model]
        return [said for said in own if str(said["worker"]).startswith(f"{self.deployment}/")]

    def _signed(self, topic: str) -> list[dict[str, object]]:
        unseal = unseal_heartbeat if topic == WORKERS else unseal_acknowledgement
        found = []
        for record in read_all(self.bootstrap, topic):
            try:
                unseal(record.key, record.value, [*record.headers], KEYRING)
            except EnvelopeRejected:
                continue
            found.append(json.loads(record.value or b"")["data"])
        return found


class Siege:
    """A worker with version 1 live, and somebody who holds no key, or the key, but never a good reason."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        (ground.folder / "keys.json").write_text(
            json.dumps({"active": "k1", "keys": {"k1": base64.b64encode(SECRET).decode()}})
        )
        ground.keyring = KEYRING
        assert ground.ledger == LEDGER
        ground.register(1)
        self.good_digest = ground.register(2)
        ground.notify(LIVE_SEQUENCE, 1)
        self.process: subprocess.Popen[bytes] = ground.start()
        ground.wait_for_state("live", sequence=LIVE_SEQUENCE)
        self.feed()
        self.sequence = LIVE_SEQUENCE
        self._producer = Producer({"bootstrap.servers": ground.bootstrap, "message.max.bytes": 1_000_000})
        self.refusals: dict[int, str] = {}
        self.undelivered: list[str] = []

    def forge(self, number: int) -> Forge:
        return Forge(
            self.ground.folder, random.Random(f"{SEED}/{number}"), model=self.ground.model, digest=self.good_digest
        )

    def feed(self) -> None:
        self.ground.feed(20)

    def flood(self, per_class: int) -> Counter[str]:
        """So many messages of each class; returns how many were sent, by class."""
        sent: Counter[str] = Counter()
        for name in messages.CLASSES:
            for number in range(per_class):
                _, message = messages.make(name, self.forge(number), number)
                sent[name] += self._send(message)
                if number % 25 == 0:
                    self.feed()
        assert self._producer.flush(60) == 0
        assert self.undelivered == []
        return sent

    def _delivered(self, error: KafkaError | None, _message: KafkaMessage) -> None:
        if error is not None:
            self.undelivered.append(error.str())

    def _send(self, message: Message) -> int:
        """Produce a message, unless the broker takes none such: too large, or without a key on a compacted topic.

        The latter would take the rest of its batch along, and those are wanted.
        """
        if message.key is None and message.kind != "acknowledgement":
            return 0
        try:
            self._producer.produce(
                TOPICS[message.kind],
                message.value,
                message.key,
                headers=[*message.headers],
                on_delivery=self._delivered,
            )
            self._producer.poll(0)
        except KafkaException:
            return 0
        return 1

    def bundle(self, name: str, number: int) -> str:
        """Put a hostile bundle into the registry, announce it, and wait until it is refused; returns the reason."""
        self.sequence += 1
        folder = self.ground.folder / "registry" / self.ground.model / str(self.sequence)
        forge = self.forge(number)
        _, case = bundles.make(name, forge, folder, number)
        self._announce(case)
        self.feed()
        wait_until(self._is_refused, 120, f"{name} {number} was not refused: {self.ground.log_of(0)[-1500:]}")
        return self.refusals[self.sequence]

    def _announce(self, case: BundleCase) -> None:
        self.ground.digests[self.sequence] = case.digest
        self.ground.notify(self.sequence, self.sequence)

    def _is_refused(self) -> bool:
        assert self.process.poll() is None, self.ground.log_of(0)[-3000:]
        for event in self.ground.events():
            if event["event"] == "bundle.refused":
                self.refusals[event["sequence"]] = event["reason"]
        return self.sequence in self.refusals

    def rejected(self) -> dict[str, int]:
        """The worker's own count of notices that it did not believe."""
        beats = self.ground.heartbeats()
        found = beats[-1]["rejected"] if beats else {}
        assert isinstance(found, dict)
        return found

    def resident_bytes(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)


@pytest.fixture
def siege(own_broker: Broker, tmp_path: Path) -> Iterator[Siege]:
    """On a broker of its own: what it leaves on the control topics is nothing for other tests."""
    # Nobody starts the worker again where a machine that stands still for two seconds costs it its transaction.
    ground = Besieged(own_broker.bootstrap, tmp_path, session_timeout_ms=6_000)
    ground.variables = {"BATON_TRANSACTION_TIMEOUT_MS": "10000"}
    try:
        yield Siege(ground)
    finally:
        ground.close()


def hold(siege: Siege, *, messages_per_class: int, bundles_per_class: int) -> None:
    """Everything that an attacker has, then a restart, then a good promotion: the stream is faultless."""
    ground = siege.ground
    ground.wait_until_done(120)  # what scoring takes once is no growth
    before = siege.resident_bytes()
    sent = siege.flood(messages_per_class)
    assert min(sent.values()) >= messages_per_class * 0.7, sent

    for name in bundles.CLASSES:
        for number in range(bundles_per_class):
            assert siege.bundle(name, number)
    assert len(siege.refusals) == len(bundles.CLASSES) * bundles_per_class
    siege.feed()
    ground.wait_until_done(120)
    after = siege.resident_bytes()
    print(
        f"{sum(sent.values())} messages, {len(siege.refusals)} bundles; resident MB: {before >> 20}, then {after >> 20}"
    )
    print(f"rejected: {siege.rejected()}")
    assert after - before < GROWTH_BYTES
    wait_until(lambda: len(siege.rejected()) >= 8, 60, f"not every reason was counted: {siege.rejected()}")
    assert {p["sequence"] for p in ground.predictions()} == {LIVE_SEQUENCE}
    assert siege.process.poll() is None

    assert ground.stop(siege.process) == 0  # a restart reads all of it again, from the beginning of the topic
    siege.process = ground.start()
    ground.wait_for_heartbeats(2)
    siege.feed()
    ground.wait_until_done(120)
    assert {p["sequence"] for p in ground.predictions()} == {LIVE_SEQUENCE}

    good = siege.sequence + 1
    ground.notify(good, 2)
    ground.wait_for_state("live", sequence=good, timeout_s=60)
    siege.feed()
    ground.wait_until_done(120)
    report = examine(ground, score_of)
    assert report.faultless, report
    assert report.versions.keys() == {1, 2}
    assert siege.process.poll() is None


def test_a_worker_scores_on_under_a_little_of_everything(siege: Siege) -> None:
    hold(siege, messages_per_class=20, bundles_per_class=1)


@pytest.mark.faults
@pytest.mark.timeout(1_800)
def test_a_worker_scores_on_under_hundreds_of_each_class(siege: Siege) -> None:
    hold(siege, messages_per_class=300, bundles_per_class=12)


def test_a_reason_that_no_message_could_carry_stops_neither_the_stream_nor_the_heartbeats(siege: Siege) -> None:
    """Thousands of long names, and names that are no text, in a folder that somebody else fills."""
    ground = siege.ground
    siege.sequence += 1
    folder = ground.folder / "registry" / ground.model / str(siege.sequence)
    digest = siege.forge(0).parts().write(folder)
    for number in range(40):
        (folder / f"{number:03d}{'x' * 240}").touch()
    _touch(folder, b"\xff\xfe")
    siege._announce(BundleCase(digest))
    wait_until(siege._is_refused, 60, "it was not refused")
    siege.feed()
    ground.wait_for_state("refused")
    wait_until(lambda: any(a["outcome"] == "refused" for a in ground.acknowledgements()), 60, "it was not published")
    ground.wait_until_done()
    assert examine(ground, score_of).faultless


def _touch(folder: Path, name: bytes) -> None:
    import os

    with open(os.path.join(os.fsencode(folder), name), "wb"):  # noqa: PTH118, PTH123  a name that is no text
        pass
