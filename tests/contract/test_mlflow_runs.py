"""The evidence of pipeline runs in MLflow."""

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from scoring.contract.errors import BundleRejected
from scoring.registry.mlflow_registry import RUN_TAG, MlflowRegistry
from tests.support.bundles import make_bundle

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore::ResourceWarning",
)


def test_a_retry_with_other_parameters_gets_a_run_of_its_own_and_each_version_keeps_its_run(
    empty_mlflow_database: Path, tmp_path: Path
) -> None:
    shutil.copy(empty_mlflow_database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    registry = MlflowRegistry(uri)
    recorded: list[str] = []
    for number in (1, 2):
        make_bundle(tmp_path / str(number), number)
        for _ in range(2):  # each try, and the same once more
            run = registry.record(
                "small",
                "until '2024'",
                params={"estimator": f"Ridge(alpha={number})"},
                metrics={"rmse": 3.0 - number},
                tags={"baton.outcome": "accepted"},
            )
            recorded.append(run)
            registry.register("small", tmp_path / str(number), {RUN_TAG: run})
    first, second = recorded[0], recorded[2]
    assert recorded == [first, first, second, second]
    assert first != second
    assert [version.tags[RUN_TAG] for version in registry.versions("small")] == [first, second]
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    for number, run in ((1, first), (2, second)):
        assert client.get_model_version("small", str(number)).run_id == run
        data = client.get_run(run).data
        assert (data.params, data.metrics) == ({"estimator": f"Ridge(alpha={number})"}, {"rmse": 3.0 - number})


def test_files_of_a_run_are_kept_with_it_and_a_retry_replaces_them(empty_mlflow_database: Path, tmp_path: Path) -> None:
    shutil.copy(empty_mlflow_database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    runs = [
        MlflowRegistry(uri).record(
            "small", "a run", params={}, metrics={}, tags={}, artifacts={"roc.png": content, "tables/slices.csv": b"a"}
        )
        for content in (b"first", b"second")
    ]
    assert runs[0] == runs[1]
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    assert sorted(each.path for each in client.list_artifacts(runs[0])) == ["roc.png", "tables"]
    assert Path(client.download_artifacts(runs[0], "roc.png", str(tmp_path))).read_bytes() == b"second"


def test_a_run_that_a_person_turned_down_is_marked_with_the_name_and_the_reason(
    empty_mlflow_database: Path, tmp_path: Path
) -> None:
    from training.results import Refused
    from training.tracking import record_refusal

    shutil.copy(empty_mlflow_database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    run = MlflowRegistry(uri).record("small", "a run", params={}, metrics={}, tags={"baton.outcome": "accepted"})
    for _ in range(2):  # the task, and its retry
        record_refusal(uri, run, Refused(refusals=("rejected",), sentence="rejected by ada: no", by="ada"))
    tags = MlflowClient(tracking_uri=uri, registry_uri=uri).get_run(run).data.tags
    assert {name: text for name, text in tags.items() if name.startswith("baton.") and name != "baton.run_key"} == {
        "baton.outcome": "refused",
        "baton.refusals": "rejected",
        "baton.sentence": "rejected by ada: no",
        "baton.refused_by": "ada",
    }


@pytest.mark.parametrize(("limit", "to"), [("MAXIMUM_BUNDLE_BYTES", -(2**30)), ("MAXIMUM_FILES", -14)])
def test_what_is_too_large_for_a_bundle_is_not_downloaded(
    empty_mlflow_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, to: int
) -> None:
    shutil.copy(empty_mlflow_database, tmp_path / "mlflow.db")
    registry = MlflowRegistry(f"sqlite:///{tmp_path / 'mlflow.db'}")
    make_bundle(tmp_path / "made", 1)
    version = registry.register("small", tmp_path / "made", {})
    monkeypatch.setattr(f"scoring.registry.mlflow_registry.{limit}", to)
    monkeypatch.setattr("mlflow.artifacts.download_artifacts", lambda **_: pytest.fail("it was downloaded"))
    with pytest.raises(BundleRejected, match=r"version 1 of small: \d+ files or folders and \d+ bytes, at most"):
        registry.fetch("small", version, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


def test_the_newest_runs_come_first_and_a_model_that_was_never_trained_has_none(
    empty_mlflow_database: Path, tmp_path: Path
) -> None:
    shutil.copy(empty_mlflow_database, tmp_path / "mlflow.db")
    registry = MlflowRegistry(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert registry.recent_runs("small", 10) == []
    made = [
        registry.record("small", f"run {number}", params={"a": "b"}, metrics={"rmse": float(number)}, tags={})
        for number in range(3)
    ]
    found = registry.recent_runs("small", 2)
    assert [run.run_id for run in found] == made[:0:-1]
    assert (found[0].params, found[0].metrics) == ({"a": "b"}, {"rmse": 2.0})
