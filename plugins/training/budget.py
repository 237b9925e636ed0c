"""What a bundle may cost where it will score: the limits of the gate ``load``. Imports no library."""

from collections.abc import Iterator, Mapping

import msgspec

# Fixed before anything was measured. A worker must answer 2,000 records/s within 10 ms at the median, so a micro-batch
# of 64 has that; larger ones must keep up with 20,000 records/s. The 99th hundredth has three to four times as much.
# What passes on the wall clock is not limited but for loading: a shared machine would refuse good models.
LOAD_S = 10.0
RESIDENT_BYTES = 2**30
FIRST_PREDICTION_MS = 1_000.0
P50_MS: Mapping[int, float] = {1: 5.0, 64: 10.0, 1_024: 50.0, 4_096: 200.0}
P99_MS: Mapping[int, float] = {1: 20.0, 64: 40.0, 1_024: 150.0, 4_096: 600.0}


class LoadBudget(msgspec.Struct, frozen=True, kw_only=True):
    """The budget of one model's bundles, in a fresh process that has only the scoring side.

    Attributes:
        load_s: from the files to the checked golden rows.
        resident_bytes: of the whole process; about 80 MB of it are there without a bundle.
        first_prediction_ms: processor time of one record, right after loading.
        p50_ms, p99_ms: processor time of a micro-batch from bytes to scores, by its number of records.
    """

    load_s: float = LOAD_S
    resident_bytes: int = RESIDENT_BYTES
    first_prediction_ms: float = FIRST_PREDICTION_MS
    p50_ms: Mapping[int, float] = msgspec.field(default_factory=lambda: dict(P50_MS))
    p99_ms: Mapping[int, float] = msgspec.field(default_factory=lambda: dict(P99_MS))

    def mistakes(self) -> Iterator[str]:
        """Every mistake, a sentence each."""
        for name in ("load_s", "resident_bytes", "first_prediction_ms"):
            if not getattr(self, name) > 0:
                yield f"gates: load: {name} is {getattr(self, name)}, it must be positive"
        for name in ("p50_ms", "p99_ms"):
            limits: Mapping[int, float] = getattr(self, name)
            if not limits or any(not limit > 0 or records < 1 for records, limit in limits.items()):
                yield f"gates: load: {name} is {dict(limits)}; give positive milliseconds by the number of records"

    @property
    def sizes(self) -> tuple[int, ...]:
        """The micro-batches that must be measured."""
        return tuple(sorted({*self.p50_ms, *self.p99_ms}))
