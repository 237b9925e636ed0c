"""What workers would have written: topics full of predictions, dead letters and rubbish, by transactions; some abort.

Everything follows from the seed. Keys stay in their partition, as Kafka's do; within it the inputs' offsets are out of
order here and there, and some inputs have two predictions, as under at-least-once delivery.
"""

import json
import math
import random
import time
import uuid
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from scoring.contract.manifest import Topics
from tests.support.arena import wait_until

PARTITIONS = 4
KEYS = 200
BATCH = 400
RUBBISH = b"rubbish "
PATIENCE_S = 240.0
_DIGEST = "ab" * 32
_NAMES = ("a", "Größe", "x\0y", '"', "base64:QQ==")


class PredictedStream:
    """The output topics of a model that nobody serves.

    Attributes:
        committed: by topic, how many records were committed to it.
    """

    def __init__(self, bootstrap: str, seed: object = 0, *, model: str | None = None, aborting: bool = True) -> None:
        self.bootstrap = bootstrap
        self.model = model or f"m_{uuid.uuid4().hex[:10]}"
        self.topics = Topics.of(self.model)
        self.committed = {self.topics.predictions: 0, self.topics.dead_letters: 0}
        self._chooser = random.Random(f"stream {seed}")
        self._aborting = aborting
        self._inputs = [0] * PARTITIONS
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        self.create()
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "transactional.id": f"stream-{self.model}",
                "transaction.timeout.ms": 60_000,
                "retry.backoff.ms": 1,
                "retry.backoff.max.ms": 1,
                "queue.buffering.max.messages": 1_000_000,
                "log_level": 0,
            }
        )
        self._producer.init_transactions(30)

    def create(self, partitions: int = PARTITIONS) -> None:
        """Create both topics."""
        made = self._admin.create_topics([NewTopic(name, partitions, 1) for name in self.committed])
        for future in made.values():
            future.result(20)
        # The controller answers before the broker knows of them.
        wait_until(lambda: made.keys() <= self._admin.list_topics(timeout=10).topics.keys(), 60, "they are not there")

    def delete(self) -> None:
        """Delete both topics."""
        for future in self._admin.delete_topics(list(self.committed)).values():
            future.result(20)

    def feed(self, records: int) -> None:
        """Commit about so many more records, of both topics together, and abort some besides."""
        until = sum(self.committed.values()) + records
        while sum(self.committed.values()) < until:
            self.feed_once(min(BATCH, until - sum(self.committed.values())))

    def feed_once(self, records: int) -> None:
        """One transaction."""
        counts = dict.fromkeys(self.committed, 0)
        before = list(self._inputs)
        self._producer.begin_transaction()
        for _ in range(records):
            counts[self._produce()] += 1
        if self._aborting and self._chooser.random() < 0.1:
            self._producer.flush(30)  # else there would be nothing in the topics to abort
            self._finished(self._producer.abort_transaction)
            self._inputs = before
            return
        if not self._finished(self._producer.commit_transaction):
            self._inputs = before
            return
        for topic, count in counts.items():
            self.committed[topic] += count

    def send(self, value: bytes | None, *, topic: str | None = None, partition: int = 0) -> None:
        """Commit one record as it is."""
        name = topic or self.topics.predictions
        self._producer.begin_transaction()
        self._producer.produce(name, value, None, partition)
        assert self._finished(self._producer.commit_transaction), "the record was not taken"
        self.committed[name] += 1

    def _finished(self, call: Callable[[float], None]) -> bool:
        """Commit or abort, as often as a busy broker needs it; False where a commit became an abort."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                call(30)
            except KafkaException as error:
                cause = error.args[0]
                if cause.txn_requires_abort():
                    self._finished(self._producer.abort_transaction)
                    return False
                if not cause.retriable() or time.monotonic() > deadline:
                    raise
            else:
                return True

    def _produce(self) -> str:
        chooser = self._chooser
        partition = chooser.randrange(PARTITIONS)
        kind = chooser.random()
        if kind < 0.002:
            name = chooser.choice([*self.committed])
            self._put(name, partition, RUBBISH + b"\xff\0", None, [("x", b"\0"), ("y", None)])
            return name
        if kind < 0.03:
            self._put(self.topics.dead_letters, partition, *self._letter(partition))
            return self.topics.dead_letters
        key = self._key(partition)
        headers: list[tuple[str, bytes | None]] = []
        if chooser.random() < 0.2:
            headers = [("correlation-id", b"%d" % chooser.randrange(10**9)), ("traceparent", None)]
        self._put(self.topics.predictions, partition, self._prediction(partition), key, headers)
        return self.topics.predictions

    def _put(
        self,
        topic: str,
        partition: int,
        value: bytes | None,
        key: bytes | None,
        headers: list[tuple[str, bytes | None]],
    ) -> None:
        while True:
            try:
                return self._producer.produce(topic, value, key, partition, headers=headers or None)  # type: ignore[arg-type]
            except BufferError:
                self._producer.poll(0.1)

    def _key(self, partition: int) -> bytes | None:
        number = self._chooser.randrange(KEYS)
        if number == 0:
            return None
        if number == 1:
            return b"\xff%d" % partition
        return f"Schlüssel {partition}/{number}".encode()

    def _next_input(self, partition: int) -> int:
        """Mostly the next offset; sometimes one that was there before, or one that is a little behind."""
        if self._chooser.random() < 0.05:
            return max(0, self._inputs[partition] - self._chooser.randint(1, 5))
        self._inputs[partition] += 1
        return self._inputs[partition]

    def _prediction(self, partition: int) -> bytes:
        chooser = self._chooser
        document: dict[str, Any] = {
            "model": self.model,
            "version": str(chooser.randint(1, 9)),
            "sequence": chooser.randint(1, 9),
            "manifest_digest": _DIGEST,
            "scored_at": self._moment(),
            "score": self._number(),
            "decision": chooser.choice([True, False, None]),
            "event_time": self._moment(),
            "input": {
                "topic": self.topics.input,
                "topic_id": "an-input-topic-s-id-22",
                "partition": partition,
                "offset": self._next_input(partition),
            },
            "pass_through": {"id": chooser.choice(_NAMES), "x": self._number(), "flag": True, "none": None},
        }
        if chooser.random() < 0.1:
            document |= {"label": "late", "probabilities": {"early": self._number(), "late": self._number()}}
        if chooser.random() < 0.3:
            document["lookups"] = {"weather": {"wind": self._number(), "sky": chooser.choice(_NAMES)}}
        return json.dumps(document, ensure_ascii=chooser.random() < 0.5).encode()

    def _letter(self, partition: int) -> tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]:
        chooser = self._chooser
        headers: list[tuple[str, bytes | None]] = [("own", b"\xfe"), ("own", None)] if chooser.random() < 0.5 else []
        said = {
            "reason": "malformed-json",
            "detail": "it is not JSON ä",
            "topic": self.topics.input,
            "topic-id": "an-input-topic-s-id-22",
            "partition": str(partition),
            "offset": str(self._next_input(partition)),
            "at": self._moment(),
            "model": self.model,
            "version": "3",
            "sequence": "3",
        }
        headers += [(f"baton-dead-letter-{name}", text.encode()) for name, text in said.items()]
        value = chooser.choice([None, b"", b"{", chooser.randbytes(20)])
        return value, self._key(partition), headers

    def _moment(self) -> str:
        chooser = self._chooser
        micros = f".{chooser.randrange(10**6):06}" if chooser.random() < 0.5 else ""
        return f"2026-03-{chooser.randint(1, 28):02}T{chooser.randrange(24):02}:{chooser.randrange(60):02}:09{micros}Z"

    def _number(self) -> float:
        chooser = self._chooser
        kind = chooser.random()
        if kind < 0.05:
            return chooser.choice([0.0, -0.0, 5e-324, 1.7976931348623157e308, 1.0])
        return math.ldexp(chooser.random() - 0.5, chooser.randint(-60, 60)) if kind < 0.3 else chooser.random()
