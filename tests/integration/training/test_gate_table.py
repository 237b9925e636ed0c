"""The table of faults: each must be refused by its gate, and harmless changes by none. All limits are the defaults.

The short form runs a part of it; ``make faults`` runs all of it, on both data sets.
"""

from pathlib import Path

import pytest

from tests.integration.training.conftest import DataSets
from tests.support.gate_table import class_faults, data_faults, harmless, model_faults
from tests.support.gate_table.cases import CASES, HARMLESS, Case
from tests.support.gate_table.stage import DELIVERIES, FLIGHTS, OUTCOMES, Stage, refusals

MODULES = (data_faults, model_faults, class_faults, harmless)  # they fill the table when they are imported


def rows(cases: list[Case]) -> list[object]:
    """A line of the table for each data set that it is for."""
    return [
        pytest.param(name, case, id=f"{name}: {case.name}", marks=() if case.core else pytest.mark.faults)
        for case in cases
        for name in case.gates
    ]


def test_the_table_has_forty_faults_and_ten_harmless_changes_on_either_data_set() -> None:
    assert len(CASES) >= 40
    assert {case.name for case in CASES}.isdisjoint({case.name for case in HARMLESS})
    for name in (FLIGHTS, DELIVERIES):
        assert sum(name in case.gates for case in CASES) >= 40
        assert sum(name in case.gates for case in HARMLESS) >= 10
    assert sum(OUTCOMES in case.gates for case in CASES) >= 10
    assert sum(OUTCOMES in case.gates for case in HARMLESS) >= 3
    named = {gate for case in CASES for gate in case.gates.values()}
    gates = {"data", "freshness", "volume", "leakage", "parity", "load", "minimum-quality", "not-worse"}
    assert named == gates | {"slices", "calibration", "definition", "training"}


@pytest.mark.parametrize(("name", "case"), rows(CASES))
def test_a_fault_is_refused_by_its_gate(
    name: str, case: Case, data_sets: DataSets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = refusals(Stage.of(data_sets(name), tmp_path, monkeypatch, case.name), case.plant)
    assert case.gates[name] in found, found or "no gate refused it for a reason of its own"


@pytest.mark.parametrize(("name", "case"), rows(HARMLESS))
def test_a_harmless_change_is_refused_by_no_gate(
    name: str, case: Case, data_sets: DataSets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refusals(Stage.of(data_sets(name), tmp_path, monkeypatch, case.name), case.plant) == {}
