import stat
from pathlib import Path

import numpy as np
import pytest

from scoring.contract.encoder import Column
from scoring.contract.features import FieldType
from scoring.parquet import write_columns
from scoring.settings import Settings
from tests.support.training import definition, request
from training.errors import SnapshotDamaged
from training.results import Pulled, SnapshotRef
from training.snapshot import read_snapshot, snapshot

KINDS = {
    "trip_id": FieldType.STRING,
    "pickup": FieldType.TIME,
    "miles": FieldType.NUMBER,
    "shared": FieldType.BOOLEAN,
}
COLUMNS: dict[str, Column] = {
    "trip_id": ["b", None, "a"],
    "pickup": np.array([1356998400.000001, np.nan, 0.1]),
    "miles": np.array([0.1 + 0.2, np.nan, -0.0]),
    "shared": np.array([1.0, np.nan, 0.0]),
}


def stored(folder: Path, columns: dict[str, Column]) -> SnapshotRef:
    staged = folder / "staged" / "pulled.parquet"
    write_columns(staged, columns, KINDS, ["pickup", "trip_id"])
    pulled = Pulled(path=str(staged), rows=3, labels_missing=0, labels_not_yet_known=0)
    return snapshot(definition(), request(), Settings(snapshot_dir=folder), pulled)


def test_columns_come_back_bit_for_bit_sorted_by_time_with_missing_values_missing(tmp_path: Path) -> None:
    found = read_snapshot(stored(tmp_path, COLUMNS), KINDS)
    assert found["trip_id"] == ["a", "b", None]
    for name in ("pickup", "miles", "shared"):
        expected = np.asarray(COLUMNS[name])[[2, 0, 1]]
        assert (np.asarray(found[name]).view(np.int64) == expected.view(np.int64)).all(), name


def test_a_snapshot_is_named_by_its_content_and_cannot_be_written_to(tmp_path: Path) -> None:
    ref = stored(tmp_path, COLUMNS)
    assert Path(ref.path) == tmp_path / "snapshots" / "fare" / f"{ref.sha256}.parquet"
    assert stat.S_IMODE(Path(ref.path).stat().st_mode) == 0o444


def test_equal_rows_in_another_order_are_the_same_snapshot(tmp_path: Path) -> None:
    turned: dict[str, Column] = {name: column[::-1] for name, column in COLUMNS.items()}
    first, second = stored(tmp_path, COLUMNS), stored(tmp_path, turned)
    assert first.sha256 == second.sha256
    assert (first.reused, second.reused) == (False, True)


@pytest.mark.parametrize("left", [b"", b"PAR1 and then something else"])
def test_a_damaged_one_is_mended_by_the_next_pull_of_the_same_rows(tmp_path: Path, left: bytes) -> None:
    first = stored(tmp_path, COLUMNS)
    path = Path(first.path)
    path.unlink()
    path.write_bytes(left)
    with pytest.raises(SnapshotDamaged, match="pull it again"):
        read_snapshot(first, KINDS)
    mended = stored(tmp_path, COLUMNS)
    assert (mended.path, mended.reused) == (first.path, False)
    assert list(read_snapshot(mended, KINDS)) == list(KINDS)
    assert stored(tmp_path, COLUMNS).reused
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_other_rows_are_another_snapshot(tmp_path: Path) -> None:
    other: dict[str, Column] = {**COLUMNS, "miles": np.array([0.3, np.nan, 0.0])}
    assert stored(tmp_path, COLUMNS).sha256 != stored(tmp_path, other).sha256


def test_a_snapshot_that_was_changed_or_lost_is_not_read(tmp_path: Path) -> None:
    ref = stored(tmp_path, COLUMNS)
    path = Path(ref.path)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-1] + b"x")
    with pytest.raises(SnapshotDamaged, match="not the one that it is named by; pull it again"):
        read_snapshot(ref, KINDS)
    path.unlink()
    with pytest.raises(SnapshotDamaged, match="cannot be read"):
        read_snapshot(ref, KINDS)


def test_what_a_killed_try_left_behind_does_not_stop_the_next_one(tmp_path: Path) -> None:
    for name in ("pulled.partial", "pulled-killed.partial"):
        left = tmp_path / "staged" / name
        left.parent.mkdir(exist_ok=True)
        left.write_bytes(b"half")
        left.chmod(0o444)
    stored(tmp_path, COLUMNS)
    assert [path.name for path in (tmp_path / "staged").iterdir()] == ["pulled.parquet"]


def test_a_try_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, target: Path) -> None:
        raise OSError(28, "no space left")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space left"):
        stored(tmp_path, COLUMNS)
    assert list((tmp_path / "staged").iterdir()) == []
