import io
import math
import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier
from typing import Any

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.contract.digest import digest_of
from scoring.contract.encoder import Column
from scoring.contract.errors import Unavailable
from scoring.contract.features import FieldType
from scoring.contract.source import Api, ApiLimits, Source
from scoring.sources.port import Pull
from scoring.sources.staged import Difference, StagedDamaged, Staging, compare, key_of, write_rows
from tests.support.http_api import NOW, SteppedClock
from tests.support.trips import COLUMNS, END, KINDS, START, files, pull_of, table

ROWS: dict[str, Column] = {
    "trip_id": ["b", "a", None, "a"],
    "pickup": np.array([1704067203.25, 1704067201.0, 1704067201.0, 1704067201.0]),
    "miles": np.array([1.5, 0.0, np.nan, -0.0]),
    "shared": np.array([1.0, np.nan, 0.0, np.nan]),
    "city": ["Zürich", None, "", None],
}
PULL = pull_of(table())


class Rows:
    """A reader that has these rows, and counts how often it is asked."""

    def __init__(self, columns: dict[str, Column] = ROWS, order: Sequence[int] = (0, 1, 2, 3)) -> None:
        self.columns = {
            name: column[list(order)] if isinstance(column, np.ndarray) else [column[place] for place in order]
            for name, column in columns.items()
        }
        self.asked = 0

    def read(self, pull: Pull) -> dict[str, Column]:
        self.asked += 1
        return {name: self.columns[name] for name in pull.fields}


def pulled(folder: Path, reader: Any, pull: Pull = PULL) -> str:
    return Staging(folder).pull(pull, reader).record.sha256


def test_what_was_pulled_is_not_pulled_again(tmp_path: Path) -> None:
    clock, rows = SteppedClock(), Rows()
    first = Staging(tmp_path, clock.clock).pull(PULL, rows)
    clock.s = 60.0
    second = Staging(tmp_path, clock.clock).pull(PULL, rows)
    assert (first.reused, second.reused, second.same, rows.asked) == (False, True, True, 1)
    assert first.record == second.record
    record = first.record
    assert (record.source, record.rows, record.pulled_at, record.seconds) == ("trips", 4, NOW, 0.0)
    assert record.newest == START + timedelta(seconds=3.25)


def test_what_is_kept_comes_back_bit_for_bit_in_an_order_of_its_own(tmp_path: Path) -> None:
    staging = Staging(tmp_path)
    record = staging.pull(PULL, Rows()).record
    found = staging.read(record, KINDS)
    assert found["trip_id"] == [None, "a", "a", "b"]
    assert found["city"] == ["", None, None, "Zürich"]
    miles = np.asarray(found["miles"])
    assert (miles[1:].view(np.int64) == np.array([-0.0, 0.0, 1.5]).view(np.int64)).all()
    assert stat.S_IMODE(staging.path(record).stat().st_mode) == 0o444


@pytest.mark.parametrize("order", [(3, 2, 1, 0), (1, 3, 0, 2), (2, 0, 3, 1)])
def test_equal_rows_in_any_order_are_one_file(tmp_path: Path, order: Sequence[int]) -> None:
    assert pulled(tmp_path / "a", Rows()) == pulled(tmp_path / "b", Rows(order=order))


def test_equal_rows_are_one_file_whatever_the_order_of_the_columns(tmp_path: Path) -> None:
    turned = pull_of(table(columns=tuple(reversed(COLUMNS))))
    assert pulled(tmp_path / "a", Rows()) == pulled(tmp_path / "b", Rows(), turned)
    assert key_of(turned) == key_of(PULL)


@pytest.mark.parametrize(
    "other",
    [
        pull_of(table(table="old_trips")),
        pull_of(table(connection="archive")),
        pull_of(table(columns=COLUMNS[:4])),
        pull_of(files("s3://lake/*.parquet")),
        pull_of(table(), start=START - timedelta(seconds=1)),
        pull_of(table(), end=END + timedelta(seconds=1)),
        pull_of(table(), event_time=None),
        pull_of(table(), known_by=END),
        pull_of(table(), kinds={**KINDS, "miles": FieldType.STRING}),
    ],
)
def test_whatever_decides_what_comes_back_is_part_of_the_key(other: Pull) -> None:
    assert key_of(other) != key_of(PULL)


def test_how_a_source_is_called_and_how_hard_it_is_asked_is_not_part_of_the_key() -> None:
    assert key_of(pull_of(table(name="rides", timeout_s=5.0))) == key_of(PULL)
    assert key_of(pull_of(table(), kinds={**KINDS, "other": FieldType.NUMBER})) == key_of(PULL)
    api, slow = Api(path="trips"), Api(path="trips", limits=ApiLimits(requests_per_s=1.0))
    sources = [Source(connection="crm", table="", columns=COLUMNS, origin=origin) for origin in (api, slow)]
    assert key_of(pull_of(sources[0])) == key_of(pull_of(sources[1]))


def test_a_refresh_pulls_again_and_says_that_nothing_changed(tmp_path: Path) -> None:
    rows = Rows()
    first = Staging(tmp_path).pull(PULL, rows)
    again = Staging(tmp_path).pull(PULL, Rows(order=(1, 0, 2, 3)), refresh=True)
    assert (again.reused, again.same, again.before, again.difference) == (False, True, first.record, Difference(0, 0))


def test_a_refresh_says_how_many_rows_were_added_and_removed(tmp_path: Path) -> None:
    staging = Staging(tmp_path)
    before = staging.pull(PULL, Rows()).record
    changed = {**ROWS, "city": ["Bern", None, "", None]}
    found = staging.pull(PULL, Rows(changed, order=(0, 1, 2, 3, 3)), refresh=True)
    assert (found.same, found.before, found.difference) == (False, before, Difference(added=2, removed=1))
    assert staging.pull(PULL, Rows()).record == found.record
    assert staging.read(before, KINDS)["trip_id"] == [None, "a", "a", "b"]


def test_a_refresh_of_what_was_never_pulled_is_a_pull(tmp_path: Path) -> None:
    found = Staging(tmp_path).pull(PULL, Rows(), refresh=True)
    assert (found.reused, found.same, found.before, found.difference) == (False, False, None, None)


@pytest.mark.parametrize("damage", ["changed", "short", "gone", "no record", "half a record", "another's record"])
def test_damage_is_noticed_and_pulled_again(tmp_path: Path, damage: str) -> None:
    staging, rows = Staging(tmp_path), Rows()
    record = staging.pull(PULL, rows).record
    path, told = staging.path(record), tmp_path / "pulls" / f"{record.key}.json"
    content = path.read_bytes()
    for file in (path, told):
        file.chmod(0o644)
    match damage:
        case "changed":
            path.write_bytes(content[:-1] + b"x")
        case "short":
            path.write_bytes(content[:10])
        case "gone":
            path.unlink()
        case "no record":
            told.unlink()
        case "half a record":
            told.write_bytes(told.read_bytes()[:20])
        case _:
            told.write_bytes(msgspec.json.encode(msgspec.structs.replace(record, key="0" * 64)))
    again = staging.pull(PULL, rows)
    assert (again.reused, rows.asked, again.record.sha256) == (False, 2, record.sha256)
    assert path.read_bytes() == content
    assert staging.pull(PULL, rows).reused


def test_rows_that_are_not_what_their_name_says_are_not_read(tmp_path: Path) -> None:
    staging = Staging(tmp_path)
    record = staging.pull(PULL, Rows()).record
    path = staging.path(record)
    path.chmod(0o644)
    path.write_bytes(b"PAR1")
    with pytest.raises(StagedDamaged, match="not the one that it is named by; pull it again"):
        staging.read(record, KINDS)
    path.unlink()
    with pytest.raises(StagedDamaged, match="cannot be read"):
        staging.read(record, KINDS)


def test_a_pull_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    class Away:
        def read(self, pull: Pull) -> dict[str, Column]:
            raise Unavailable(f"{pull.what}: away")

    with pytest.raises(Unavailable):
        Staging(tmp_path).pull(PULL, Away())
    assert list(tmp_path.rglob("*")) == []
    before = Staging(tmp_path).pull(PULL, Rows())
    with pytest.raises(Unavailable):
        Staging(tmp_path).pull(PULL, Away(), refresh=True)
    assert Staging(tmp_path).pull(PULL, Away()).record == before.record


def test_what_a_killed_pull_left_behind_goes_after_a_day(tmp_path: Path) -> None:
    for name, age_s in (("writing-old", 90_000), ("writing-now", 0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rows.parquet").write_bytes(b"half")
        os.utime(tmp_path / name, (NOW.timestamp() - age_s,) * 2)
    Staging(tmp_path, SteppedClock().clock).pull(PULL, Rows())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pulls", "rows", "writing-now"]


def test_several_at_once_come_to_one_file(tmp_path: Path) -> None:
    together = Barrier(8)

    class Slow(Rows):
        def read(self, pull: Pull) -> dict[str, Column]:
            together.wait(30)
            return super().read(pull)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: Staging(tmp_path).pull(PULL, Slow(order=(3, 1, 2, 0))), range(8)))
    assert len({each.record.sha256 for each in found}) == 1
    assert len(list((tmp_path / "rows").iterdir())) == len(list((tmp_path / "pulls").iterdir())) == 1
    assert Staging(tmp_path).pull(PULL, Rows()).reused


def test_a_source_without_rows_is_kept_too(tmp_path: Path) -> None:
    staging = Staging(tmp_path)
    empty = staging.pull(PULL, Rows(order=())).record
    assert (empty.rows, empty.newest) == (0, None)
    assert staging.pull(PULL, Rows(), refresh=True).difference == Difference(added=4, removed=0)


def test_missing_values_are_equal_to_each_other() -> None:
    one: dict[str, Column] = {"a": np.array([np.nan, 1.0]), "b": [None, "x"]}
    other: dict[str, Column] = {"a": np.array([1.0, -np.nan]), "b": ["x", None]}
    assert compare(one, other) == Difference(0, 0)


ROW = st.tuples(
    st.sampled_from([0.0, -0.0, 1.0, math.nan]), st.sampled_from([None, "", "a"]), st.sampled_from([0.0, -0.0])
)


@given(rows=st.lists(ROW, min_size=1, max_size=12), data=st.data())
def test_any_order_of_any_rows_comes_to_the_same_bytes(
    rows: list[tuple[float, str | None, float]], data: st.DataObject
) -> None:
    kinds = {"a": FieldType.NUMBER, "b": FieldType.STRING, "c": FieldType.NUMBER}
    pull = pull_of(table(columns=tuple((name, name) for name in kinds)), kinds=kinds, event_time=None)

    def content(order: list[tuple[float, str | None, float]]) -> bytes:
        first, second, third = zip(*order, strict=True)
        columns: dict[str, Column] = {"a": np.array(first), "b": list(second), "c": np.array(third)}
        with TemporaryDirectory() as folder:
            write_rows(Path(folder) / "rows.parquet", pull, columns)
            return (Path(folder) / "rows.parquet").read_bytes()

    assert content(rows) == content(data.draw(st.permutations(rows)))


def test_rows_that_were_written_as_other_bytes_are_the_same_rows(tmp_path: Path) -> None:
    staging = Staging(tmp_path)
    record = staging.pull(PULL, Rows()).record
    content = io.BytesIO()
    pq.write_table(pq.read_table(staging.path(record)), content, compression="gzip")
    other = msgspec.structs.replace(record, sha256=digest_of(content.getvalue()))
    staging.path(other).write_bytes(content.getvalue())
    told = tmp_path / "pulls" / f"{record.key}.json"
    told.unlink()
    told.write_bytes(msgspec.json.encode(other))
    again = staging.pull(PULL, Rows(), refresh=True)
    assert (again.same, again.before, again.record.sha256) == (True, other, record.sha256)
