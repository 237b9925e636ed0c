"""The past then and now: rows that went, and values that were rewritten."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from scoring.contract.clock import epoch_s
from scoring.contract.encoder import Column
from scoring.contract.features import FieldType
from scoring.contract.manifest import Manifest
from scoring.parquet import write_columns
from tests.support.bundles import small_bundle
from tests.support.training import END, START, definition
from training import field
from training.definition import ModelDefinition
from training.evidence.shared import shared_period
from training.measured import SharedPeriod
from training.pull import column_types
from training.results import SnapshotRef
from training.rows import at

ROWS = 1_000
SHA = "1" * 64


def made() -> ModelDefinition:
    return definition(fields=[*definition().fields, field.string("city"), field.boolean("night")])


def rides() -> dict[str, Column]:
    random = np.random.default_rng(0)
    return {
        "trip_id": [str(number) for number in range(ROWS)],
        "pickup": np.linspace(epoch_s(START), epoch_s(END) - 60, ROWS),
        "miles": random.gamma(2.0, 3.0, ROWS),
        "fare": random.gamma(3.0, 5.0, ROWS),
        "city": ["here" if number % 2 else "there" for number in range(ROWS)],
        "night": (np.arange(ROWS) % 3 == 0).astype(np.float64),
    }


def compared(folder: Path, now: dict[str, Column], then: dict[str, Column] | None = None) -> SharedPeriod:
    found = shared(folder, now, then or rides())
    assert found is not None
    return found


def shared(folder: Path, now: dict[str, Column], then: dict[str, Column] | None, **changes: Any) -> SharedPeriod | None:
    kinds = column_types(made())
    if then is not None:
        write_columns(folder / f"{SHA}.parquet", then, {**kinds, "gone": FieldType.NUMBER}, ["pickup"])
    ref = SnapshotRef(
        path=str(folder / "now.parquet"),
        sha256="2" * 64,
        start=START,
        end=END,
        rows=ROWS,
        labels_missing=0,
        labels_not_yet_known=0,
        reused=False,
    )
    return shared_period(made(), champion(folder, **changes), "3", ref, now, kinds)


def champion(folder: Path, **changes: Any) -> Manifest:
    manifest = small_bundle(folder / "bundle").manifest
    snapshot = msgspec.structs.replace(manifest.snapshot, sha256=SHA, start=START, end=END)
    values: dict[str, Any] = {"schema": made().schema, "sources": made().manifest_sources, "snapshot": snapshot}
    return msgspec.structs.replace(manifest, **{**values, **changes})


def test_a_past_that_stands_has_all_rows_and_no_changed_value(tmp_path: Path) -> None:
    found = compared(tmp_path, rides())
    assert (found.rows_then, found.rows_now, found.common_rows) == (ROWS, ROWS, ROWS)
    assert found.changed == {"pickup": 0.0, "miles": 0.0, "city": 0.0, "night": 0.0, "fare": 0.0}


def test_rows_are_found_by_their_key_in_whatever_order(tmp_path: Path) -> None:
    order = np.random.default_rng(1).permutation(ROWS)[:800]
    now = {name: at(column, order) for name, column in rides().items()}
    found = compared(tmp_path, now)
    assert (found.rows_then, found.rows_now, found.common_rows) == (ROWS, 800, 800)
    assert set(found.changed.values()) == {0.0}


@pytest.mark.parametrize(
    ("name", "change", "share"),
    [
        ("miles", lambda found: found * 1.609344, pytest.approx(1.0, abs=0.1)),
        ("miles", lambda found: found + 0.01, 0.0),  # far less than what tells two rows apart
        ("miles", lambda found: np.where(np.arange(ROWS) < 250, np.nan, found), 0.25),
        ("pickup", lambda found: found + 0.5, 0.0),
        ("night", lambda found: np.where(np.arange(ROWS) < 100, 1.0 - found, found), 0.1),
        ("city", lambda found: [word.upper() for word in found], 1.0),
        ("fare", lambda found: np.random.default_rng(2).permutation(found), pytest.approx(0.95, abs=0.05)),
    ],
)
def test_values_that_were_rewritten_are_counted_by_column(tmp_path: Path, name: str, change: Any, share: float) -> None:
    now = rides()
    found = compared(tmp_path, {**now, name: change(now[name])})
    assert found.common_rows == ROWS
    assert found.changed[name] == share
    assert {each for other, each in found.changed.items() if other != name} == {0.0}


def test_values_that_came_late_are_no_change(tmp_path: Path) -> None:
    then = rides()
    then["fare"] = np.where(np.arange(ROWS) > 900, np.nan, np.asarray(then["fare"]))
    assert compared(tmp_path, rides(), then).changed["fare"] == 0.0


def test_a_field_that_reads_another_column_now_and_one_that_is_new_are_not_compared(tmp_path: Path) -> None:
    columns = tuple((name, "km" if name == "miles" else column) for name, column in made().manifest_sources[0].columns)
    source = msgspec.structs.replace(made().manifest_sources[0], columns=columns)
    then = {name: column for name, column in rides().items() if name != "city"}
    now = {**rides(), "miles": np.asarray(rides()["miles"]) * 5}
    found = shared(tmp_path, now, then, sources=(source,))
    assert found is not None
    assert set(found.changed) == {"pickup", "night", "fare"}


def test_another_table_and_another_time_are_not_compared(tmp_path: Path) -> None:
    elsewhere = msgspec.structs.replace(made().manifest_sources[0], table="old_trips")
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
    assert shared(one, rides(), rides(), sources=(elsewhere,)) is None
    earlier = msgspec.structs.replace(champion(tmp_path).snapshot, end=START)
    assert shared(other, rides(), None, snapshot=earlier) is None


def test_a_snapshot_that_is_gone_is_told(tmp_path: Path) -> None:
    found = shared(tmp_path, rides(), None)
    assert found is not None
    assert (found.rows_then, found.rows_now, found.common_rows) == (None, ROWS, 0)
