"""A bundle as an ordinary MLflow model."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scoring.contract.errors import BundleRejected, ContractError
from scoring.contract.features import FieldType, LookupField, TableLookup
from scoring.registry.pyfunc import RecordModel, _load_pyfunc
from tests.support.bundles import make_bundle, score_of, small_record, small_schema
from tests.support.classes import CLASSES, bundle_of_classes, probabilities


@pytest.fixture
def model(tmp_path: Path) -> RecordModel:
    make_bundle(tmp_path / "bundle", 1)
    return _load_pyfunc(str(tmp_path / "bundle"))


def test_a_frame_of_records_is_scored_row_by_row(model: RecordModel) -> None:
    scores = model.predict(pd.DataFrame([small_record(number) for number in range(25)]))
    assert scores.dtype == np.float64
    assert scores.tolist() == [score_of(1, number) for number in range(25)]


def test_plain_records_do_as_well(model: RecordModel) -> None:
    assert model.predict([small_record(3), small_record(7)]).tolist() == [score_of(1, 3), score_of(1, 7)]


def test_columns_of_every_type_of_pandas_are_understood(model: RecordModel) -> None:
    frame = pd.DataFrame([small_record(number) for number in range(4)])
    frame["x"] = frame["x"].astype(np.float32)
    frame["color"] = pd.array(["blue", None, pd.NA, "red"], dtype="string")
    frame["at"] = pd.to_datetime(frame["at"])
    frame["flag"] = [True, False, True, False]
    frame["count"] = np.arange(4, dtype=np.int16)
    assert len(model.predict(frame)) == 4


@pytest.mark.parametrize("value", [None, float("nan"), "a word"])
def test_a_row_that_is_no_record_is_named_with_its_field(model: RecordModel, value: object) -> None:
    rows = [small_record(0), {**small_record(1), "x": value}]
    with pytest.raises(ContractError, match=r"1 of 2 rows .* row 1: .*x"):
        model.predict(rows)


def test_an_empty_frame_gives_no_scores(model: RecordModel) -> None:
    assert model.predict(pd.DataFrame([])).shape == (0,)


def test_unknown_parameters_are_not_swallowed(model: RecordModel) -> None:
    with pytest.raises(ContractError, match="threshold"):
        model.predict([small_record(0)], params={"threshold": 0.1})


def test_looked_up_values_are_columns_of_their_own(tmp_path: Path) -> None:
    lookup = TableLookup(
        name="weather",
        connection="warehouse",
        table="weather",
        match=(("id", "id"),),
        valid_at="at",
        fields=(LookupField(name="wind"), LookupField(name="since", type=FieldType.NUMBER)),
    )
    make_bundle(tmp_path / "bundle", 1, schema=small_schema((lookup,)))
    model = _load_pyfunc(str(tmp_path / "bundle"))
    row = {**small_record(0), "weather.wind": 3.5, "weather.since": datetime(2026, 1, 1, tzinfo=UTC)}
    assert model.predict([row, small_record(0)]).tolist() == [score_of(1, 0)] * 2


def test_of_several_classes_a_frame_gets_columns_of_its_own(tmp_path: Path) -> None:
    bundle_of_classes(tmp_path / "bundle")
    model = _load_pyfunc(str(tmp_path / "bundle"))
    frame = pd.DataFrame([small_record(number) for number in range(12)], index=range(100, 112))
    found = model.predict(frame)
    assert [*found.columns] == ["label", "score", *(f"probability.{name}" for name in CLASSES)]
    assert [*found.index] == [*range(100, 112)]
    assert found.iloc[:, 2:].to_numpy().tolist() == [list(probabilities(number)) for number in range(12)]
    assert found["label"].tolist() == [CLASSES[1]] * 6 + [CLASSES[0]] * 4 + [CLASSES[1]] * 2
    assert found["score"].tolist() == [max(probabilities(number)) for number in range(12)]
    rows = model.predict([small_record(3)])
    assert rows == [found.iloc[3].to_dict()]
    assert model.predict([]) == []
    assert model.predict(frame[:0]).shape == (0, 5)


def test_a_damaged_bundle_does_not_load(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", 1)
    (tmp_path / "bundle" / "model.onnx").write_bytes(b"")
    with pytest.raises(BundleRejected):
        _load_pyfunc(str(tmp_path / "bundle"))


def test_a_bundle_that_fails_its_golden_rows_does_not_load(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", 1, golden_error=0.5)
    with pytest.raises(BundleRejected, match="golden rows differ"):
        _load_pyfunc(str(tmp_path / "bundle"))


def test_the_loader_module_needs_neither_pandas_nor_mlflow() -> None:
    program = "import sys, scoring.registry.pyfunc; print(sorted({'pandas', 'mlflow', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
