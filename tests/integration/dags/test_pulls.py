"""Sources as mapped tasks: each by its name, each by itself, and the one that fails named where a person looks."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from baton_airflow.factory import build_dag
from baton_airflow.steps import NOT_PULLED
from training.catalog import load_definition
from training.definition import ModelDefinition

NAMES = ["rides", "fares", "weather"]
DEFINITION = """
from datetime import timedelta
from training import field
from training.definition import Estimator, Gates, Label, ModelDefinition
from training.feature import number
from training.sources import by_key, files

fare = ModelDefinition(
    name="fare",
    sources=[
        files("FOLDER/rides.csv", name="rides", timezone="UTC", timeout=timedelta(hours=2)),
        files("FOLDER/fares.csv", name="fares", brings=["fare"], join=by_key({"id": "id"})),
        files("FOLDER/weather.csv", name="weather", brings=["wind"], join=by_key({"id": "id"})),
    ],
    key="id",
    event_time="pickup",
    fields=[
        field.string("id", required=True),
        field.time("pickup", required=True),
        field.number("miles"),
        field.number("wind"),
    ],
    label=Label("fare", known_after=timedelta(hours=1)),
    features=[number("miles"), number("wind")],
    estimator=Estimator("sklearn.linear_model.LinearRegression"),
    gates=Gates(maximum={"rmse": 5.0}),
)
"""
Run = Callable[..., Any]


@pytest.fixture
def definition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelDefinition:
    """Rides, with their fares and their weather from other files; the weather cannot be read yet."""
    ids = [f"r{number}" for number in range(20)]
    lines = {
        "rides": ["id,pickup,miles", *(f"{ride},2013-02-{day + 1:02} 08:00:00,{day}" for day, ride in enumerate(ids))],
        "fares": ["id,fare", *(f"{ride},10.5" for ride in ids)],
        "weather": ["id,wind", *(f"{ride},calm" for ride in ids)],
    }
    for name, rows in lines.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(rows))
    models = tmp_path / "models"
    models.mkdir()
    (models / "fare.py").write_text(DEFINITION.replace("FOLDER", str(tmp_path)))
    monkeypatch.setenv("BATON_MODELS_DIR", str(models))
    return load_definition(models, "fare")


@pytest.fixture
def run(definition: ModelDefinition, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the DAG up to what the sources make together; what follows has no suite, and is not looked at."""
    monkeypatch.setenv("BATON_SNAPSHOT_DIR", str(tmp_path / "pipeline"))
    monkeypatch.setenv("BATON_LEDGER_URL", f"sqlite:///{tmp_path / 'ledger.db'}")

    def make(**conf: Any) -> Any:
        dag = build_dag(definition)
        for task in dag.tasks:
            task.retries = 0
        return dag.test(run_conf={"start": "2013-01-01", "end": "2013-04-01", **conf})

    return make


def pulls(run: Any) -> list[Any]:
    return sorted(
        (each for each in run.get_task_instances() if each.task_id == "pull"), key=lambda each: each.map_index
    )


def of_pull(run: Any, key: str = "return_value") -> list[Any]:
    return [each.xcom_pull(task_ids="pull", key=key, map_indexes=each.map_index) for each in pulls(run)]


def test_each_source_is_an_instance_of_its_own_which_is_called_by_its_name(
    definition: ModelDefinition, run: Run
) -> None:
    ended = run()
    assert [each.rendered_map_index for each in pulls(ended)] == NAMES
    assert [each.state for each in pulls(ended)] == ["success", "success", "failed"]
    assert [each and (each["source"], each["rows"]) for each in of_pull(ended)] == [("rides", 20), ("fares", 20), None]
    assert of_pull(ended)[0]["newest"] == "2013-02-20T08:00:00Z"
    task = build_dag(definition).get_task("pull")
    assert task.execution_timeout == timedelta(hours=2)


def test_the_source_that_failed_is_named_by_its_own_task_and_by_the_one_after_it(
    run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    ended = run()
    told = of_pull(ended, NOT_PULLED)
    assert told[:2] == [None, None]
    assert told[2].startswith("source 'weather', file ")
    assert told[2].endswith("row 1: 'calm' is not a number")
    assert ended.state == "failed"
    assert ended.get_task_instance("assemble").state == "failed"
    said = "".join(capfd.readouterr())
    assert "1 of 3 sources could not be pulled: source 'weather', file " in said


def test_once_it_is_mended_only_that_one_is_read_and_a_refresh_reads_all(run: Run, tmp_path: Path) -> None:
    run()
    weather = (tmp_path / "weather.csv").read_text()
    (tmp_path / "weather.csv").write_text(weather.replace("calm", "3"))
    ended = run()
    assert [each["reused"] for each in of_pull(ended)] == [True, True, False]
    assert ended.get_task_instance("assemble").state == "success"
    assert ended.get_task_instance("assemble").xcom_pull(task_ids="assemble")["rows"] == 20
    (tmp_path / "fares.csv").write_text((tmp_path / "fares.csv").read_text().replace("r7,10.5", "r7,12"))
    again = of_pull(run(refresh=True))
    assert [(each["reused"], each["added"], each["removed"]) for each in again] == [
        (False, 0, 0),
        (False, 1, 1),
        (False, 0, 0),
    ]
