"""The house's rules, held over every DAG file."""

import os
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from baton_airflow import backfill, factory, repair, retrain
from baton_airflow.house import RUN_FAILED
from scoring.contract.alert import AlertKind
from tests.support.airflow_home import PROJECT
from tests.support.many_definitions import write_definitions
from training.catalog import load_definitions

DAG_FILES = {"baton.py", "baton_mistakes.py"}
MODELS = {"project": PROJECT / "models", "second": PROJECT / "tests" / "models"}
STEPS = [
    "pull",
    "assemble",
    "snapshot",
    "validate",
    "train",
    "evaluate",
    "gates",
    "register",
    "promote",
    "announce",
    "wait_for_workers",
]


@pytest.fixture(params=list(MODELS.values()), ids=list(MODELS))
def dags(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("BATON_MODELS_DIR", str(request.param))
    bag = DagBag(PROJECT / "dags")
    assert bag.import_errors == {}
    return dict(bag.dags)


def test_every_file_in_the_dags_folder_is_listed_here() -> None:
    found = {path.relative_to(PROJECT / "dags").as_posix() for path in (PROJECT / "dags").rglob("*.py")}
    assert found == DAG_FILES


def test_there_are_two_dags_for_each_definition_one_that_repairs_and_one_that_scores_the_past(
    dags: dict[str, Any],
) -> None:
    names = load_definitions(Path(os.environ["BATON_MODELS_DIR"]))
    own = {f"{what}_{name}" for what in ("train", "retrain") for name in names}
    assert set(dags) == own | {"baton_reconcile", "baton_backfill"}


def test_a_broken_definition_is_an_import_error_of_its_own_and_takes_no_other_dag_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.dag_processing.dagbag import DagBag

    shutil.copytree(PROJECT / "models", tmp_path / "models")
    (tmp_path / "models" / "broken.py").write_text("import no_such_module\n")
    monkeypatch.setenv("BATON_MODELS_DIR", str(tmp_path / "models"))
    bag = DagBag(PROJECT / "dags")
    assert set(bag.dags) == {"train_flight_delay", "retrain_flight_delay", "baton_reconcile", "baton_backfill"}
    (file, error) = next(iter(bag.import_errors.items()))
    assert len(bag.import_errors) == 1
    assert Path(file).name == "baton_mistakes.py"
    assert "broken.py: No module named 'no_such_module'" in error


def test_a_schedule_that_cannot_be_read_takes_no_other_dag_away_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.dag_processing.dagbag import DagBag

    models = write_definitions(tmp_path, 2)
    bad = models / "flight_delay_001.py"
    bad.write_text(bad.read_text().replace('"@monthly"', '"0 0 * *"'))
    monkeypatch.setenv("BATON_MODELS_DIR", str(models))
    bag = DagBag(PROJECT / "dags")
    assert set(bag.dags) == {"train_flight_delay_000", "retrain_flight_delay_000", "baton_reconcile", "baton_backfill"}
    ((file, error),) = bag.import_errors.items()
    assert Path(file).name == "baton_mistakes.py"
    assert "schedule: '0 0 * *' cannot be read" in error


def test_every_dag_and_task_keeps_the_houses_rules(dags: dict[str, Any]) -> None:
    for dag in dags.values():
        keeps_the_rules(dag)


def test_fifty_definitions_keep_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("BATON_MODELS_DIR", str(write_definitions(tmp_path, 50)))
    bag = DagBag(PROJECT / "dags")
    assert bag.import_errors == {}
    assert len(bag.dags) == 102
    for dag in bag.dags.values():
        keeps_the_rules(dag)


def keeps_the_rules(dag: Any) -> None:
    """Owner, tags, docs of its module, retries, limits of time, one run at once, and somebody who is told."""
    own = {"baton_backfill": backfill, "baton_reconcile": repair}
    module = own.get(dag.dag_id) or {"train": factory, "retrain": retrain}[dag.dag_id.partition("_")[0]]
    assert dag.owner == "baton"
    assert "baton" in dag.tags
    first_line = module._HOW.strip().splitlines()[0].format(model=dag.dag_id.partition("_")[2], labels="")
    assert first_line in (dag.doc_md or "")
    assert len(dag.doc_md or "") > 200
    assert dag.description
    assert dag.max_active_runs == 1
    assert not dag.catchup
    # A run that starts another one waits for that of before it, and for the cool-down.
    limit = timedelta(hours=7 if module is retrain else 6)
    assert timedelta(0) < dag.dagrun_timeout <= limit
    assert dag.on_failure_callback is RUN_FAILED
    for task in dag.tasks:
        assert task.owner == "baton"
        assert task.retries >= 1
        assert task.retry_policy is not None
        assert timedelta(0) < task.execution_timeout <= timedelta(hours=1)
        assert [each.kind for each in task.on_failure_callback] == [AlertKind.TASK_FAILED]


def test_the_steps_follow_each_other_in_the_order_of_the_pipeline(dags: dict[str, Any]) -> None:
    for dag in (dag for dag in dags.values() if dag.dag_id.startswith("train_")):
        order = [task.task_id for task in dag.topological_sort() if task.task_id in STEPS]
        assert order == STEPS


def test_the_form_of_a_manual_run_explains_each_field(dags: dict[str, Any]) -> None:
    for dag in (dag for dag in dags.values() if dag.dag_id.startswith("train_")):
        own = {name for name in dag.params if not name.startswith("parameter_")}
        assert own == {"start", "window", "end", "effective_from", "dry_run", "refresh", "force", "reason"}
        for name in dag.params:
            param = dag.params.get_param(name)
            assert param.schema["title"]
            assert len(param.description) > 20


def test_reading_the_dag_files_loads_no_library_for_data_training_or_kafka(record_property: Any) -> None:
    heavy = ("pandas", "sklearn", "mlflow", "confluent_kafka", "great_expectations", "onnxruntime", "matplotlib")
    program = (
        "import sys, time, airflow.sdk, airflow.providers.standard.operators.empty\n"
        f"sys.path.insert(0, {str(PROJECT / 'dags')!r}); before = set(sys.modules); began = time.perf_counter()\n"
        "import baton\n"
        f"print(time.perf_counter() - began, sorted(set({heavy!r}) & (set(sys.modules) - before)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    seconds, _, loaded = ran.stdout.strip().splitlines()[-1].partition(" ")
    record_property("parse_s", float(seconds))
    print(f"the DAG files are read in {float(seconds):.2f} s beside Airflow's own import")
    assert loaded == "[]"


def test_the_plugin_is_found_and_the_packages_beside_it_are_not_imported_under_bare_names() -> None:
    program = (
        "import sys\n"
        "from airflow import plugins_manager\n"
        "plugins, errors = plugins_manager._get_plugins()\n"
        "assert 'baton' in {plugin.name for plugin in plugins} and not errors, (plugins, errors)\n"
        "bare = {'factory', 'steps', 'request', 'pipeline', 'definition', 'catalog', 'register'} & set(sys.modules)\n"
        "assert not bare, bare\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
