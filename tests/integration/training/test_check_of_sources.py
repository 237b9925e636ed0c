"""The check of definitions whose sources are files, tables and what is joined to them."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from local import samples
from scoring.cli import group
from training.check.findings import Checked

pytestmark = pytest.mark.timeout(900)

DEFINITION = '''"""Will a customer leave? Told at the call."""

from datetime import timedelta

from training import field
from training.definition import Estimator, Gates, Label, ModelDefinition, days
from training.feature import category, number
from training.sources import by_key, files

churn = ModelDefinition(
    name="churn",
    sources=[
        files("FOLDER/calls-*.csv", name="calls"),
        files("FOLDER/minutes.csv", name="minutes", brings=["minutes"], join=by_key({"customer": "customer_id"})),
        files("FOLDER/left.csv", name="left", brings=["left"], join=by_key({"customer": "customer_id"})),
    ],
    key="customer_id",
    event_time="called_at",
    fields=[
        field.string("customer_id", required=True),
        field.time("called_at", required=True),
        field.string("plan"),
        field.number("support_calls"),
        field.number("minutes"),
    ],
    label=Label("left", at_least=1, known_after=timedelta(days=1)),
    features=[category("plan"), number("support_calls"), number("minutes")],
    estimator=Estimator("sklearn.ensemble.HistGradientBoostingClassifier", max_iter=20, random_state=0),
    gates=Gates(minimum={"auc": 0.6}, newest_within=timedelta(days=5), thinnest_week=0.1, calibration=0.2),
    history=days(210),
    holdout=days(40),
)
'''
SUITE = b"""{"name": "churn", "expectations": [
    {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 100}, "severity": "critical"}]}"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Calls in two files, minutes and outcomes in one each, a definition, and a suite."""
    with samples.churn(tmp_path / "all.csv").open(newline="") as file:
        rows = [{**row, "support_calls": row["support calls"]} for row in csv.DictReader(file)]
    calls = ("customer_id", "called_at", "plan", "support_calls")
    write(tmp_path / "calls-1.csv", calls, rows[:1_500])
    write(tmp_path / "calls-2.csv", calls, rows[1_500:])
    told = [
        {"customer": row["customer_id"], "minutes": row["minutes"], "left": int(row["left"] == "yes")} for row in rows
    ]
    write(tmp_path / "minutes.csv", ("customer", "minutes"), told)
    write(tmp_path / "left.csv", ("customer", "left"), told)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "churn.py").write_text(DEFINITION.replace("FOLDER", str(tmp_path)))
    (tmp_path / "expectations" / "churn").mkdir(parents=True)
    (tmp_path / "expectations" / "churn" / "snapshot.json").write_bytes(SUITE)
    return tmp_path


def write(path: Path, names: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def check(folder: Path) -> Checked:
    done = CliRunner().invoke(
        group,
        ["check", "churn", "--json", "--models", str(folder / "models"), "--sample", "2000"],
        env={"OMP_NUM_THREADS": "1"},
    )
    return msgspec.json.decode(done.stdout, type=Checked)


def test_files_that_are_joined_go_through_the_whole_check(folder: Path) -> None:
    found = check(folder)
    assert [each for each in found.findings if each.level == "error"] == []
    assert {"pull", "suite", "fit", "evaluate", "gates", "bundle", "score"} <= set(found.steps)
    assert found.sample
    assert found.sample.every == 2
    noted = [each.sentence for each in found.findings if "by key alone" in each.sentence]
    assert noted == ["source 'minutes' is joined by key alone: nothing says when its rows became known"]


def test_all_sources_that_cannot_be_read_are_told_at_once_each_with_its_line(folder: Path) -> None:
    (folder / "minutes.csv").write_text("customer,minutes\nc000001,many\n")
    (folder / "left.csv").unlink()
    found = [each for each in check(folder).findings if each.level == "error"]
    assert sorted(each.sentence.partition(",")[0].partition(":")[0] for each in found) == [
        "source 'left'",
        "source 'minutes'",
    ]
    lines = (folder / "models" / "churn.py").read_text().splitlines()
    for each in found:
        name = each.sentence.split("'")[1]
        assert each.line is not None
        assert f'name="{name}"' in lines[each.line - 1]


def test_a_source_that_matches_hardly_any_record_is_told(folder: Path) -> None:
    (folder / "minutes.csv").write_text("customer,minutes\nC000001,20\n")
    (told,) = [each for each in check(folder).findings if "adds something to" in each.sentence]
    assert told.sentence == "source 'minutes' adds something to 0.0% of the records"
    assert told.level == "error"
    assert told.remedy.startswith("does customer = customer_id match, also in letter case and type?")
