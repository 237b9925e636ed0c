"""Where one round of a campaign takes place: topics, a ledger's decisions, records to score, workers to hurt."""

import json
import random
import shutil
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from confluent_kafka import Producer

from scoring.contract.notice import Kind
from tests.faults.daemon.forest import record, write_forest
from tests.faults.daemon.nursery import Child, Nursery
from tests.support.arena import PARTITIONS, kills_of
from tests.support.bundles import COLORS, MOMENT, small_schema
from tests.support.ground import WEATHER, Ground, Warehouse

SESSION_TIMEOUT_MS = 1_000
# Every so manieth record cannot be scored, and has to become a dead letter.
BAD_EVERY = 61
BAD = (b'{"id": "%08d', b'{"id": "%08d", "x": 0.5}', b'{"id": "%08d", "at": "2026-03-01T00:00:00Z", "x": "much"}')


class Field(Ground):
    """A ground whose model's scores are different in every bit, and that knows what was decided.

    Attributes:
        decided: the version by sequence, also of those that were refused.
        ends: how many records were produced to each partition.
    """

    def __init__(
        self, bootstrap: str, folder: Path, nursery: Nursery, *, wind: bool = False, lines: Sequence[int] = ()
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(bootstrap, folder, session_timeout_ms=SESSION_TIMEOUT_MS)
        self._nursery = nursery
        self._pump = Producer(
            {
                "bootstrap.servers": bootstrap,
                "linger.ms": 5,
                "enable.idempotence": True,  # also while the broker dies, each record enters once and in order
                "queue.buffering.max.messages": 500_000,
            }
        )
        self.children: list[Child] = []
        self._lines = lines
        self.wind = wind
        self.schema = small_schema((WEATHER,) if wind else ())
        self.decided: dict[int, int] = {}
        self.refused: set[int] = set()
        self.ends = [0] * PARTITIONS
        self.version = 0
        self.variables |= {"BATON_MAXIMUM_BATCH_RECORDS": "512", "BATON_METRICS_PORT": "0"}
        if wind:
            self.warehouse = Warehouse(folder / "warehouse.db")
            self.variables["BATON_CONNECTIONS__WAREHOUSE"] = self.warehouse.url

    # --- decisions ------------------------------------------------------------------------------------------------

    @property
    def sequence(self) -> int:
        """The ledger's head."""
        return max(self.decided, default=0)

    def promote_next(self, *, golden_error: float = 0.0, fetched: bool = False) -> int:
        """Decide for a new version, which workers refuse if its golden rows are wrong; returns the sequence.

        Args:
            fetched: another worker of this host has had it before, so that its bundle is in the cache.
        """
        self.version += 1
        folder = self.folder / "registry" / self.model / str(self.version)
        self.digests[self.version] = write_forest(
            folder, self.version, self.schema, self.topics, golden_error=golden_error
        )
        if fetched:
            cache = self.folder / "cache" / "bundles"
            shutil.copytree(folder, cache / "new")
            (cache / "new").rename(cache / self.digests[self.version])
        if golden_error:
            self.refused.add(self.sequence + 1)
        return self._decide(self.version, Kind.PROMOTE)

    def roll_back(self) -> int:
        """Decide for the version of an earlier sequence that was not refused."""
        good = [version for sequence, version in self.decided.items() if sequence not in self.refused]
        return self._decide(good[-2] if len(good) > 1 else good[-1], Kind.ROLLBACK)

    def retire(self) -> int:
        """Take the model out of service; the next promotion brings it back."""
        good = [version for sequence, version in self.decided.items() if sequence not in self.refused]
        return self._decide(good[-1], Kind.RETIRE)

    def _decide(self, version: int, kind: Kind) -> int:
        sequence = self.sequence + 1
        self.decided[sequence] = version
        self.notify(sequence, version, kind=kind)
        return sequence

    def blow(self, chooser: random.Random) -> None:
        """Other winds from now on: what is looked up next differs from what was looked up before."""
        rows = [
            (color, MOMENT + timedelta(minutes=chooser.randrange(-600, 6_000)), chooser.uniform(0.0, 10.0))
            for color in COLORS
        ]
        self.warehouse.observe(rows)

    # --- records --------------------------------------------------------------------------------------------------

    def feed(self, records: int) -> None:
        """Produce records, continuing their numbers; some of them cannot be scored."""
        for number in range(self.produced, self.produced + records):
            bad = number % BAD_EVERY == 0
            value = BAD[number % len(BAD)] % number if bad else record(number)
            partition = number % PARTITIONS
            headers = [("correlation-id", b"c%d" % number), ("other", b"%d" % number)]
            while True:
                try:
                    self._pump.produce(self.topics.input, value, b"k%d" % (number % 40), partition, headers=headers)  # type: ignore[arg-type]
                    break
                except BufferError:
                    self._pump.poll(0.02)
            self.ends[partition] += 1
        self.produced += records
        self._pump.poll(0)

    def delivered(self, timeout_s: float = 60.0) -> None:
        """Wait until everything that was produced is on the broker."""
        assert self._pump.flush(timeout_s) == 0, "records were not delivered to the broker"

    # --- workers --------------------------------------------------------------------------------------------------

    def environment(self, slot: int) -> dict[str, str]:
        line = {"BATON_KAFKA_BOOTSTRAP": f"127.0.0.1:{self._lines[slot]}"} if slot < len(self._lines) else {}
        return {**super().environment(slot), **line}

    def launch(self, slot: int, plan: Mapping[str, object] | None = None, **variables: str) -> Child:
        """Start a worker in a slot; with a plan, one that dies or freezes as planned."""
        what = {**(plan or {}), "kills": str(self.kills)}
        environment = {**self.environment(slot), "FAULT_PLAN": json.dumps(what), **variables}
        child = self._nursery.start(environment, self.folder / f"worker-{slot}.log")
        self.children.append(child)
        return child

    def close(self) -> None:
        super().close()
        for child in self.children:
            if child.poll() is None:
                child.kill()

    def acted(self) -> list[dict[str, object]]:
        """What plans have done so far."""
        return list(kills_of(self.kills))
