"""The registry in MLflow as other people meet it: as an ordinary model, behind a server, with a password, away."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import requests

from local.ports import free_ports
from scoring.contract.errors import BundleRejected, ConfigurationError, Unavailable
from scoring.registry.fetch import fetch
from scoring.registry.open import open_registry
from scoring.registry.port import CHAMPION
from tests.support.arena import wait_until
from tests.support.bundles import make_bundle, score_of, small_record

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(400),
    # MLflow's own: deprecated calls, and connections of its SQLite store left to the garbage collector.
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning",
        "ignore::FutureWarning",
        "ignore::pytest.PytestUnraisableExceptionWarning",
        "ignore::ResourceWarning",
    ),
]
USER, PASSWORD = "baton", "correct-horse-battery-staple"


class Server(msgspec.Struct, frozen=True):
    """An MLflow server with basic authentication."""

    port: int

    def uri(self, user: str = USER, password: str = PASSWORD) -> str:
        return f"http://{user}:{password}@127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("mlflow-server")
    (folder / "auth.ini").write_text(
        "[mlflow]\ndefault_permission = READ\n"
        f"database_uri = sqlite:///{folder}/auth.db\nadmin_username = {USER}\nadmin_password = {PASSWORD}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--app-name", "basic-auth", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    environment = {
        **os.environ,
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "a-test",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)
    try:
        wait_until(lambda: _healthy(port), 240, f"MLflow did not start: see {folder / 'log'}", every_s=0.2)
        yield Server(port)
    finally:
        process.terminate()
        process.wait(60)


def _healthy(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/health", timeout=10).ok
    except requests.RequestException:
        return False


def test_a_bundle_travels_through_a_server_with_a_password(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make_bundle(tmp_path / "made", 1)
    registry = open_registry(server.uri())
    version = registry.register("small", tmp_path / "made", {"by": "test"})
    assert registry.register("small", tmp_path / "made", {}) == version
    registry.set_alias("small", CHAMPION, version)
    assert registry.alias("small", CHAMPION) == version
    registry.remove_alias("small", CHAMPION)
    assert registry.alias("small", CHAMPION) is None
    assert fetch(server.uri(), "small", version, tmp_path / "out").outcome == "done"
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "made").iterdir()
    }
    printed = capfd.readouterr()
    assert printed.out == ""
    assert PASSWORD not in printed.err


def test_the_password_may_stand_in_mlflows_own_variables(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    registry = open_registry(f"http://127.0.0.1:{server.port}")
    make_bundle(tmp_path / "made", 2, model="second")
    version = registry.register("second", tmp_path / "made", {})
    registry.fetch("second", version, tmp_path / "out")
    assert (tmp_path / "out").is_dir()


def test_a_wrong_password_is_a_mistake_of_the_configuration_and_is_not_shown(server: Server, tmp_path: Path) -> None:
    registry = open_registry(server.uri(password="wrong-secret"))
    with pytest.raises(ConfigurationError) as refused:
        registry.versions("small")
    assert "wrong-secret" not in str(refused.value)
    assert fetch(server.uri(password="wrong-secret"), "small", "1", tmp_path / "out").outcome == "unavailable"


def test_a_server_that_is_away_is_unavailable(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with pytest.raises(Unavailable, match="registry"):
        open_registry(f"http://{USER}:{PASSWORD}@127.0.0.1:{port}").fetch("small", "1", tmp_path / "out")


@pytest.fixture
def sqlite_uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def test_a_version_loads_as_an_ordinary_mlflow_model_without_any_pickle(sqlite_uri: str, tmp_path: Path) -> None:
    make_bundle(tmp_path / "made", 1)
    version = open_registry(sqlite_uri).register("small", tmp_path / "made", {})
    program = f"""
import mlflow, pandas
mlflow.set_tracking_uri({sqlite_uri!r})
model = mlflow.pyfunc.load_model("models:/small/{version}")
print(model.predict(pandas.DataFrame({[str(small_record(n)["at"]) for n in range(3)]!r}, columns=["at"]).assign(
    id="k", x=[0.0, 0.1, 0.9], at=lambda f: f["at"].str.replace(" ", "T"))).tolist())
"""
    environment = {**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str([score_of(1, 0), score_of(1, 1), score_of(1, 9)])


def test_a_model_of_another_tool_is_refused(sqlite_uri: str, tmp_path: Path) -> None:
    import mlflow.pyfunc

    registry = open_registry(sqlite_uri)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "weights.txt").write_text("0.5")
    mlflow.set_tracking_uri(sqlite_uri)
    experiment = mlflow.create_experiment("other", artifact_location=(tmp_path / "artifacts").as_uri())
    with mlflow.start_run(experiment_id=experiment):
        mlflow.pyfunc.log_model(
            name="m",
            loader_module="json",
            data_path=str(tmp_path / "data"),
            pip_requirements=["numpy"],
            registered_model_name="small",
        )
    assert registry.versions("small")[0].manifest_digest is None
    with pytest.raises(BundleRejected, match="holds 0 bundles"):
        registry.fetch("small", "1", tmp_path / "out")


def test_artifacts_that_are_gone_are_unavailable(sqlite_uri: str, tmp_path: Path) -> None:
    make_bundle(tmp_path / "made", 1)
    registry = open_registry(sqlite_uri)
    version = registry.register("small", tmp_path / "made", {})
    (tmp_path / "artifacts").rename(tmp_path / "elsewhere")
    with pytest.raises(Unavailable):
        registry.fetch("small", version, tmp_path / "out")


def test_mlflows_global_settings_are_as_before(sqlite_uri: str) -> None:
    import mlflow

    before = mlflow.get_tracking_uri(), {name: value for name, value in os.environ.items() if "MLFLOW_HTTP" in name}
    open_registry(sqlite_uri).versions("small")
    after = mlflow.get_tracking_uri(), {name: value for name, value in os.environ.items() if "MLFLOW_HTTP" in name}
    assert after == before


def test_a_run_shows_the_manifests_snapshot(sqlite_uri: str, tmp_path: Path) -> None:
    import mlflow

    make_bundle(tmp_path / "made", 1)
    open_registry(sqlite_uri).register("small", tmp_path / "made", {})
    client = mlflow.MlflowClient(sqlite_uri)
    run = client.get_run(client.get_model_version("small", "1").run_id)
    assert run.data.params["snapshot_sha256"] == "0" * 64
