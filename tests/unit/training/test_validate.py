import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scoring.contract.encoder import Column
from scoring.contract.features import FieldType
from scoring.contract.verdict import Judgement
from scoring.parquet import write_columns
from scoring.settings import Settings
from tests.support.training import ROOT, definition, request
from training.results import Pulled, SnapshotRef, Validated
from training.snapshot import snapshot
from training.validate import read_suite, vacuous_parts, validate

KINDS = {
    "trip_id": FieldType.STRING,
    "pickup": FieldType.TIME,
    "miles": FieldType.NUMBER,
    "vendor": FieldType.STRING,
}
ROWS = {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 2}}
Rule = dict[str, Any]


def rule(name: str, column: str = "miles", **kwargs: Any) -> Rule:
    return {"type": f"expect_{name}", "kwargs": {"column": column, **kwargs}}


def ref(folder: Path, **changes: Column) -> SnapshotRef:
    columns: dict[str, Column] = {
        "trip_id": ["a", "b", "c"],
        "pickup": np.array([1356998400.0, 1356998401.0, 1356998402.0]),
        "miles": np.array([1.0, 2.0, 30.0]),
        "vendor": [None, None, None],
        **changes,
    }
    rows = len(columns["trip_id"])
    staged = folder / "staged.parquet"
    write_columns(staged, columns, KINDS, ["pickup"])
    pulled = Pulled(path=str(staged), rows=rows, labels_missing=0, labels_not_yet_known=0)
    return snapshot(definition(), request(), Settings(snapshot_dir=folder), pulled)


def held(folder: Path, rules: list[Rule], **changes: Column) -> Validated:
    return held_file(folder, json.dumps({"name": "fare.snapshot", "expectations": rules}), **changes)


def held_file(folder: Path, content: str, **changes: Column) -> Validated:
    path = folder / "suite.json"
    path.write_text(content)
    return validate(definition(suite=str(path)), request(), Settings(), ref(folder, **changes))


def sentence(found: Validated) -> str:
    assert found.verdict.judgement is Judgement.FAIL
    assert found.failed
    return found.verdict.sentence


pytestmark = pytest.mark.filterwarnings("ignore", r"error::Warning:(training|scoring)(\..*)?")


def test_a_snapshot_that_meets_its_suite_passes_and_says_what_was_looked_at(tmp_path: Path) -> None:
    found = held(tmp_path, [ROWS, rule("column_values_to_be_between", min_value=0, max_value=30)])
    assert found.verdict.judgement is Judgement.PASS
    assert found.verdict.sentence == "all 2 expectations of fare.snapshot hold for 3 rows"


def test_what_does_not_hold_is_told_in_a_sentence(tmp_path: Path) -> None:
    told = sentence(held(tmp_path, [ROWS, rule("column_values_to_be_between", min_value=0, max_value=20)]))
    assert "miles to be between" in told
    assert "1 of 3 values do not (33.3%)" in told


def test_each_failed_expectation_is_told_by_its_own_name_whatever_order_they_were_evaluated_in(tmp_path: Path) -> None:
    rules = [
        rule("column_mean_to_be_between", min_value=100, max_value=200),
        rule("column_values_to_be_unique", "trip_id"),
        {
            "type": "expect_column_pair_values_a_to_be_greater_than_b",
            "kwargs": {"column_A": "miles", "column_B": "miles"},
        },
        ROWS,
    ]
    failed = held(tmp_path, rules).failed
    assert len(failed) == 2
    assert any(told.startswith("miles mean to be between") and "found 11" in told for told in failed)
    assert any(told.startswith("miles and miles pair values a to be greater than b") for told in failed)


def test_an_empty_suite_is_refused(tmp_path: Path) -> None:
    assert "is empty, so it checks nothing" in sentence(held(tmp_path, []))


def test_a_misspelled_expectation_is_refused_by_name(tmp_path: Path) -> None:
    told = sentence(held(tmp_path, [ROWS, rule("column_values_to_be_betwen", min_value=0, max_value=20)]))
    assert "expect_column_values_to_be_betwen" in told


def test_a_misspelled_argument_is_refused(tmp_path: Path) -> None:
    told = sentence(held(tmp_path, [ROWS, rule("column_values_to_be_between", min_value=1, maximum=2)]))
    assert "cannot be evaluated" in told
    assert "maximum" in told


@pytest.mark.parametrize("limits", [{}, {"min_value": 0}, {"max_value": 100}, {"min_value": None}])
def test_a_suite_that_would_accept_no_rows_is_refused(limits: dict[str, Any], tmp_path: Path) -> None:
    rules = [{**ROWS, "kwargs": limits}, rule("column_values_to_not_be_null")]
    assert "would accept an empty snapshot" in sentence(held(tmp_path, rules))


def test_a_rule_that_holds_whatever_the_values_are_is_refused(tmp_path: Path) -> None:
    told = sentence(held(tmp_path, [ROWS, rule("column_values_to_be_between", min_value=99, mostly=0.0)]))
    assert "holds whatever the values are" in told


def test_a_rule_that_finds_no_value_to_look_at_is_refused(tmp_path: Path) -> None:
    told = sentence(held(tmp_path, [ROWS, rule("column_values_to_match_regex", "vendor", regex="^x")]))
    assert "there is not a single value to look at" in told


def test_no_rows_at_all_are_refused(tmp_path: Path) -> None:
    empty: dict[str, Column] = {"trip_id": [], "pickup": np.zeros(0), "miles": np.zeros(0), "vendor": []}
    found = held(tmp_path, [ROWS, rule("column_values_to_not_be_null")], **empty)
    assert found.verdict.judgement is Judgement.FAIL


def test_a_column_that_is_missing_is_refused_by_name(tmp_path: Path) -> None:
    told = sentence(held(tmp_path, [ROWS, rule("column_values_to_not_be_null", "kilometres")]))
    assert "kilometres" in told


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"name": "x", "expectations": [{"kwargs": {}}]}'])
def test_a_file_that_is_no_suite_is_refused(content: str, tmp_path: Path) -> None:
    assert "cannot be read" in sentence(held_file(tmp_path, content))


def test_a_suite_that_is_not_there_is_refused(tmp_path: Path) -> None:
    found = validate(definition(suite=str(tmp_path / "no.json")), request(), Settings(), ref(tmp_path))
    assert "cannot be read" in sentence(found)


@pytest.mark.parametrize("path", sorted(ROOT.glob("**/expectations/*/*.json")), ids=lambda path: path.parent.name)
def test_the_suites_of_this_repository_prove_something(path: Path) -> None:
    assert list(vacuous_parts(read_suite(path))) == []
