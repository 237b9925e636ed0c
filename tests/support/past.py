"""A past to be scored: records of four days in a warehouse, three versions in a folder, and a ledger."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from scoring.contract.features import FieldType, Lookup, LookupField, TableLookup
from scoring.contract.manifest import Snapshot, Source, Topics
from scoring.contract.notice import Kind
from scoring.contract.source import Files
from scoring.promotion.entry import Interval, Proposal
from scoring.promotion.ledger import Ledger
from scoring.registry.folder import FolderRegistry
from scoring.scorer.bundle import open_bundle
from tests.support.bundles import COLORS, make_bundle, score_of, small_schema
from tests.support.decisions import PASSED

MODEL = "small"
DAY = timedelta(days=1)
FIRST = datetime(2026, 3, 1, tzinfo=UTC)
RECORDS = 400
"""Of four days, a hundred each."""
STEP = 4 * DAY / RECORDS
LACKING = frozenset({7, 207})
"""Records without their required number: they cannot be scored."""

_metadata = sa.MetaData()
_Time = sa.DateTime(timezone=True)
records = sa.Table(
    "records",
    _metadata,
    sa.Column("id", sa.String(20), primary_key=True),
    sa.Column("at", _Time, nullable=False, index=True),
    sa.Column("x", sa.Float),
    sa.Column("color", sa.String(20)),
)
heat = sa.Table(
    "heat",
    _metadata,
    sa.Column("color", sa.String(20), nullable=False),
    sa.Column("valid_at", _Time, nullable=False),
    sa.Column("degrees", sa.Float),
)
SOURCES = (
    Source(connection="warehouse", table="records", columns=tuple((name, name) for name in ("id", "at", "x", "color"))),
)
HEAT: tuple[Lookup, ...] = (
    TableLookup(
        name="heat",
        connection="warehouse",
        table="heat",
        match=(("color", "color"),),
        valid_at="valid_at",
        fields=(LookupField(name="degrees", type=FieldType.NUMBER),),
    ),
)


def day(number: float) -> datetime:
    """The beginning of a day of the past, counted from 0."""
    return FIRST + number * DAY


def moment_of(number: int) -> datetime:
    """When a record's event is."""
    return FIRST + number * STEP


def row(number: int) -> dict[str, Any]:
    """A record of the warehouse."""
    return {
        "id": f"r-{number:08d}",
        "at": moment_of(number),
        "x": None if number in LACKING else (number % 10) / 10,
        "color": COLORS[number % 3],
    }


def fill(url: str, count: int = RECORDS) -> None:
    """Make and fill the warehouse."""
    engine = sa.create_engine(url)
    _metadata.create_all(engine)
    hours = [
        {"color": color, "valid_at": FIRST + timedelta(hours=hour), "degrees": hour + place / 4.0}
        for hour in range(-2, 96)
        for place, color in enumerate(COLORS)
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(heat), hours)
        connection.execute(sa.insert(records), [row(number) for number in range(count)])
    engine.dispose()


def expected(version: int, number: int) -> float | None:
    """The score of a record; None where it cannot be scored."""
    return None if number in LACKING else score_of(version, number)


class Past(msgspec.Struct, frozen=True):
    """Where it all is.

    Attributes:
        environment: the settings that a command needs.
    """

    folder: Path
    ledger: Ledger
    registry: FolderRegistry
    environment: dict[str, str]

    def register(
        self,
        number: int,
        *,
        start: datetime,
        end: datetime,
        known_by: datetime | None = None,
        lookups: tuple[Lookup, ...] = HEAT,
        sources: tuple[Source, ...] = SOURCES,
        topics: Topics | None = None,
        created_at: datetime | None = None,
        **snapshot: Any,
    ) -> str:
        """A version that was trained on ``[start, end)``, and asked for at its end; returns its digest."""
        trained = Snapshot(
            sha256="0" * 64,
            start=start,
            end=end,
            holdout_start=snapshot.pop("holdout_start", end),
            training_rows=1,
            holdout_rows=1,
            known_by=known_by,
            **snapshot,
        )
        folder = self.folder / "made" / str(number)
        folder.parent.mkdir(exist_ok=True)
        digest = make_bundle(
            folder,
            number,
            schema=small_schema(lookups),
            sources=sources,
            snapshot=trained,
            topics=topics,
            created_at=created_at or end,
        )
        assert self.registry.register(MODEL, folder, {}) == str(number)
        return digest

    def promote(self, number: int, *, effective_from: datetime, kind: Kind = Kind.PROMOTE, forced: bool = False) -> int:
        """Enter a decision; returns its sequence."""
        manifest_digest = open_bundle(self.folder / "made" / str(number)).digest
        head = self.ledger.head(MODEL)
        return self.ledger.decide(
            Proposal(
                model=MODEL,
                kind=kind,
                version=str(number),
                manifest_digest=manifest_digest,
                parent=head.sequence if head else 0,
                run_id=f"run-{head.sequence + 1 if head else 1}",
                actor="somebody",
                reason="a test",
                interval=Interval(start=FIRST - 30 * DAY, end=FIRST - 20 * DAY + number * DAY),
                evidence=PASSED,
                effective_from=effective_from,
                forced=forced,
            )
        ).sequence


def make_past(folder: Path, *, warehouse: str | None = None, predictions: str | None = None) -> Past:
    """A warehouse with its records, an empty registry, an empty ledger."""
    (folder / "registry").mkdir()
    url = warehouse or f"sqlite:///{folder / 'warehouse.db'}"
    fill(url)
    ledger_url = f"sqlite:///{folder / 'ledger.db'}"
    environment = {
        "BATON_LEDGER_URL": ledger_url,
        "BATON_REGISTRY_URI": (folder / "registry").as_uri(),
        "BATON_PREDICTIONS_URL": predictions or f"sqlite:///{folder / 'predictions.db'}",
        "BATON_CONNECTIONS__WAREHOUSE": url,
    }
    return Past(folder, Ledger.open(ledger_url), FolderRegistry(folder / "registry"), environment)


def in_parquet(folder: Path) -> tuple[Source, ...]:
    """The records of the warehouse as a file, in groups of a few rows."""
    path = folder / "records.parquet"
    found = pa.Table.from_pylist([row(number) for number in range(RECORDS)])
    pq.write_table(found, path, row_group_size=64)
    return (msgspec.structs.replace(SOURCES[0], connection="", table="", origin=Files(url=str(path))),)


def with_champions(
    past: Past,
    borders: Sequence[float] = (0, 1.5, 3),
    *,
    topics: Topics | None = None,
    sources: tuple[Source, ...] = SOURCES,
) -> Past:
    """Versions 1, 2, 3 … that each count from a day on, trained long before."""
    for number, border in enumerate(borders, start=1):
        past.register(number, start=FIRST - 40 * DAY, end=FIRST - 30 * DAY, topics=topics, sources=sources)
        past.promote(number, effective_from=day(border))
    return past
