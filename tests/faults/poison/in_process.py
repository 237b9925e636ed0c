"""The worker's scoring step without a broker: what a planted bug does to it is seen in a second."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from confluent_kafka import TIMESTAMP_CREATE_TIME

from scoring.contract.encoder import Column, Columns
from scoring.contract.features import FeatureSchema
from scoring.contract.manifest import Topics
from scoring.scorer.bundle import open_bundle
from scoring.scorer.scorer import Scorer
from scoring.worker.emit import Emitter, Output
from scoring.worker.models import Active
from scoring.worker.scoring_step import outputs_of
from tests.faults.poison.judge import Judged, judge
from tests.faults.poison.records import PARTITIONS, SCHEMA, Sent
from tests.support.arena import Record
from tests.support.bundles import make_bundle

MOMENT = datetime(2026, 3, 1, tzinfo=UTC)


class Consumed:
    """A record as a consumer gives it."""

    def __init__(self, sent: Sent, offset: int) -> None:
        self._sent = sent
        self._offset = offset

    def value(self) -> bytes | None:
        return self._sent.value

    def key(self) -> bytes | None:
        return self._sent.key

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        return list(self._sent.headers) or None

    def timestamp(self) -> tuple[int, int]:
        return TIMESTAMP_CREATE_TIME, self._sent.timestamp_ms

    def topic(self) -> str:
        return "small.input"

    def partition(self) -> int:
        return self._sent.partition

    def offset(self) -> int:
        return self._offset


class NoLookups:
    def resolve(self, schema: FeatureSchema, columns: Columns, rows: int) -> dict[str, Column]:
        assert not schema.lookups
        assert len(columns[schema.key]) == rows
        return {}


def bench(folder: Path) -> Active:
    """The campaign's bundle, ready to score."""
    digest = make_bundle(folder, 1, topics=Topics.of("small"), schema=SCHEMA)
    bundle = open_bundle(folder, digest)
    emitter = Emitter(bundle.manifest, version="1", sequence=1, digest=bundle.digest)
    return Active("small", UUID(int=7), 1, "1", bundle.digest, MOMENT, Scorer(bundle), emitter)


def play(active: Active, sent: Sequence[Sent], batch_records: int) -> Judged:
    """Score the records in batches and judge what comes out."""
    offsets = [0] * PARTITIONS
    consumed: list[Any] = []
    for record in sent:
        consumed.append(Consumed(record, offsets[record.partition]))
        offsets[record.partition] += 1
    found: list[Output] = []
    for start in range(0, len(consumed), batch_records):
        found += outputs_of(active, consumed[start : start + batch_records], "id", NoLookups(), MOMENT)
    ends: dict[tuple[str, int], int] = {}
    records = [_record(output, ends) for output in found]
    inputs = [
        Record("small.input", c.partition(), c.offset(), c.timestamp()[1], c.key(), c.value(), c.headers() or [])
        for c in consumed
    ]
    topics = active.topics
    return judge(
        sent,
        inputs,
        [record for record in records if record.topic == topics.predictions],
        [record for record in records if record.topic == topics.dead_letters],
    )


def _record(output: Output, ends: dict[tuple[str, int], int]) -> Record:
    place = output.topic, output.partition
    ends[place] = ends.get(place, -1) + 1
    headers: Any = [*(output.headers or ())]
    return Record(*place, ends[place], 0, output.key, output.value, headers)
