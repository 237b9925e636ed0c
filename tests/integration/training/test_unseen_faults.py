"""Faults that the limits were never tuned to, on three data sets: how well the gates do on what nobody thought of."""

from pathlib import Path

import pytest

from tests.integration.training.conftest import DataSets
from tests.support.gate_table import unseen
from tests.support.gate_table.cases import CASES, HARMLESS, UNSEEN, UNSEEN_HARMLESS, Case
from tests.support.gate_table.stage import ALL, Stage, refusals

MODULES = (unseen,)  # it fills the table when it is imported
pytestmark = pytest.mark.faults


def rows(cases: list[Case]) -> list[object]:
    return [
        pytest.param(name, case, id=f"{name}: {case.name}", marks=_missed(case.missed.get(name)))
        for case in cases
        for name in case.gates
    ]


def _missed(why: str | None) -> tuple[pytest.MarkDecorator, ...]:
    return () if why is None else (pytest.mark.xfail(strict=True, reason=why),)


def test_there_are_twenty_unseen_faults_and_ten_harmless_changes_on_each_data_set() -> None:
    for name in ALL:
        assert sum(name in case.gates for case in UNSEEN) >= 20
        assert sum(name in case.gates for case in UNSEEN_HARMLESS) >= 10
    tuned = {case.name for case in (*CASES, *HARMLESS)}
    assert tuned.isdisjoint({case.name for case in (*UNSEEN, *UNSEEN_HARMLESS)})


@pytest.mark.parametrize(("name", "case"), rows(UNSEEN))
def test_an_unseen_fault_is_refused_by_its_gate(
    name: str, case: Case, data_sets: DataSets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = refusals(Stage.of(data_sets(name), tmp_path, monkeypatch, case.name), case.plant)
    assert case.gates[name] in found, found or "no gate refused it for a reason of its own"


@pytest.mark.parametrize(("name", "case"), rows(UNSEEN_HARMLESS))
def test_an_unseen_harmless_change_is_refused_by_no_gate(
    name: str, case: Case, data_sets: DataSets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refusals(Stage.of(data_sets(name), tmp_path, monkeypatch, case.name), case.plant) == {}
