"""Sources that are read once for a whole backfill give each chunk what reading them anew would have given."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scoring.backfill.asked import asked_for
from scoring.backfill.chunks import ChunkScorer, Job, Place
from scoring.backfill.lookahead import Span
from scoring.backfill.plan import Plan
from scoring.backfill.staging import Staged, key_of, stage
from scoring.contract.encoder import Column
from scoring.contract.manifest import Source
from scoring.contract.source import Files, Format, Join
from scoring.scorer.bundle import open_bundle
from scoring.sources.open import Sources
from scoring.sources.port import Pull
from tests.support.bundles import make_bundle, small_schema
from tests.support.past import MODEL, RECORDS, day, row

DAYS = 4


class Counting:
    """A reader that counts how often each source is read."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self.read_of: list[str] = []

    def read(self, pull: Pull) -> dict[str, Column]:
        self.read_of.append(pull.source.title)
        found: dict[str, Column] = self._reader.read(pull)
        return found


def write_csv(path: Path, names: list[str], rows: list[list[Any]]) -> None:
    lines = [",".join("" if value is None else str(value) for value in line) for line in [names, *rows]]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Source, ...]:
    """Records in a CSV file, colours of another as of the event, and numbers of a third by key."""
    rows = [row(number) for number in range(RECORDS)]
    write_csv(tmp_path / "records.csv", ["id", "at"], [[each["id"], each["at"].isoformat()] for each in rows])
    write_csv(tmp_path / "x.csv", ["key", "value"], [[each["id"], each["x"]] for each in rows])
    colors = [[each["id"], (each["at"] - timedelta(minutes=5)).isoformat(), each["color"]] for each in rows]
    write_csv(tmp_path / "colors.csv", ["key", "since", "color"], colors)

    def file(name: str, columns: tuple[tuple[str, str], ...], join: Join | None = None) -> Source:
        origin = Files(url=str(tmp_path / name), format=Format.CSV)
        return Source(connection="", table="", columns=columns, name=name, origin=origin, join=join)

    return (
        file("records.csv", (("id", "id"), ("at", "at"))),
        file("x.csv", (("x", "value"),), Join(match=(("key", "id"),))),
        file("colors.csv", (("color", "color"),), Join(match=(("key", "id"),), valid_at="since")),
    )


def job(folder: Path, sources: tuple[Source, ...]) -> Job:
    digest = make_bundle(folder / "bundle", 1, schema=small_schema(), sources=sources)
    asked = asked_for(MODEL, day(0), day(DAYS))
    span = Span(start=day(0), end=day(DAYS), version="1", sequence=1, manifest_digest=digest, lookahead=False)
    place = Place(model=MODEL, name="one", folder=str(folder / "out"))
    plan = Plan(asked=asked, spans=(span,))
    return Job(plan=plan, place=place, bundles={"1": str(folder / "bundle")}, connections={}, run="run")


def test_each_chunk_has_the_records_that_reading_anew_gives(tmp_path: Path, sources: tuple[Source, ...]) -> None:
    plain = job(tmp_path, sources)
    manifest = open_bundle(tmp_path / "bundle").manifest
    counting = Counting(Sources(str))
    staged = stage(plain.plan, [manifest, manifest], counting, tmp_path / "staged")
    assert counting.read_of == ["records.csv", "x.csv", "colors.csv"]
    kept = Job(**{**{name: getattr(plain, name) for name in plain.__struct_fields__}, "staged": staged})
    with ChunkScorer(plain) as anew, ChunkScorer(kept) as once:
        found = [(anew.outcomes(chunk), once.outcomes(chunk)) for chunk in plain.plan.chunks()]
    assert [first.digest for first, _ in found] == [second.digest for _, second in found]
    assert sum(first.rows for first, _ in found) == RECORDS
    assert sum(first.failures for first, _ in found) == 2


def test_what_is_kept_is_not_read_again(tmp_path: Path, sources: tuple[Source, ...]) -> None:
    plain = job(tmp_path, sources)
    counting = Counting(Sources(str))
    staged = stage(plain.plan, [open_bundle(tmp_path / "bundle").manifest], counting, tmp_path / "staged")
    read = counting.read_of.copy()
    reader = Staged(counting, staged)
    moment = datetime(2026, 3, 2, tzinfo=UTC)
    pull = Pull(
        source=sources[0],
        kinds={field.name: field.type for field in small_schema().fields},
        event_time="at",
        start=moment,
        end=moment + timedelta(hours=1),
    )
    assert key_of(pull) in staged
    assert len(reader.read(pull)["id"]) == 5
    assert Path(staged[key_of(pull)]).exists()
    assert counting.read_of == [*read, "records.csv"]
    (tmp_path / "records.csv").unlink()
    assert len(reader.read(pull)["id"]) == 5


def test_tables_and_parquet_files_are_read_as_they_are_needed(tmp_path: Path) -> None:
    table = Source(
        connection="warehouse", table="records", columns=(("id", "id"), ("at", "at"), ("x", "x"), ("color", "c"))
    )
    plain = job(tmp_path, (table,))
    counting = Counting(Sources(str))
    assert stage(plain.plan, [open_bundle(tmp_path / "bundle").manifest], counting, tmp_path / "staged") == {}
    assert counting.read_of == []
