"""The table of faults: each must be refused by its gate, and harmless changes by none. All limits are the defaults.

The short form runs a part of it; ``make faults`` runs all of it, on both data sets.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.training.conftest import Relay, flights_in, month, parcels_in
from tests.support import deliveries
from tests.support.gate_table import data_faults, harmless, model_faults
from tests.support.gate_table.cases import CASES, HARMLESS, Case
from tests.support.gate_table.stage import DELIVERIES, FLIGHTS, DataSet, Stage, refusals
from training import pipeline
from training.pull import column_types
from training.results import RunRequest
from training.snapshot import read_snapshot

MODULES = (data_faults, model_faults, harmless)  # they fill the table when they are imported
DataSets = Callable[[str], DataSet]


def rows(cases: list[Case]) -> list[object]:
    """A line of the table for each data set that it is for."""
    return [
        pytest.param(name, case, id=f"{name}: {case.name}", marks=() if case.core else pytest.mark.faults)
        for case in cases
        for name in case.gates
    ]


@pytest.fixture(scope="module")
def few_flights(warehouse_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every third flight of January to April."""
    path = tmp_path_factory.mktemp("few") / "warehouse.db"
    path.write_bytes(warehouse_file.read_bytes())
    with sqlite3.connect(path) as database:
        database.execute("delete from flights where rowid % 3 or scheduled_departure >= '2013-05-01'")
    return path


@pytest.fixture(scope="module")
def data_sets(few_flights: Path, tmp_path_factory: pytest.TempPathFactory) -> DataSets:
    """Each with a champion of the first three months in its ledger, and the rows of the run after it."""
    made: dict[str, DataSet] = {}

    def flights() -> tuple[Relay, RunRequest, RunRequest]:
        folder = tmp_path_factory.mktemp(FLIGHTS)
        (folder / "registry").mkdir()
        relay = flights_in(folder, few_flights, (folder / "registry").as_uri())
        return relay, relay.request(month(1), month(4)), relay.request(month(1), month(5))

    def parcels() -> tuple[Relay, RunRequest, RunRequest]:
        folder = tmp_path_factory.mktemp(DELIVERIES)
        url = f"sqlite:///{folder / 'parcels.db'}"
        deliveries.fill(url)
        relay = parcels_in(folder, url)
        april = deliveries.START.replace(month=4)
        later = relay.request(*relay.definition.interval_ending(deliveries.END))
        return relay, relay.request(deliveries.START, april), later

    def of(name: str) -> DataSet:
        if name not in made:
            relay, first, second = {FLIGHTS: flights, DELIVERIES: parcels}[name]()
            assert relay.run(first).promoted
            pulled = pipeline.pull(relay.definition, second, relay.settings)
            snapshot = pipeline.snapshot(relay.definition, second, relay.settings, pulled)
            columns = read_snapshot(snapshot, column_types(relay.definition))
            made[name] = DataSet(name, relay.definition, relay.settings, second, columns)
        return made[name]

    return of


def test_the_table_has_forty_faults_and_ten_harmless_changes_on_either_data_set() -> None:
    assert len(CASES) >= 40
    assert {case.name for case in CASES}.isdisjoint({case.name for case in HARMLESS})
    for name in (FLIGHTS, DELIVERIES):
        assert sum(name in case.gates for case in CASES) >= 40
        assert sum(name in case.gates for case in HARMLESS) >= 10
    named = {gate for case in CASES for gate in case.gates.values()}
    gates = {"data", "freshness", "volume", "leakage", "parity", "load", "minimum-quality", "not-worse"}
    assert named == gates | {"slices", "calibration", "definition"}


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
