import json
import stat
import subprocess
from pathlib import Path

import pytest

from local.credentials import load_or_create
from local.environment import (
    MARKER,
    process_environment,
    render_environment,
    server_environment,
    stack_environment,
    write_environment_file,
)
from local.errors import SettingError
from local.settings import StackSettings, read_settings
from scoring.settings import read_settings as read_baton_settings


def test_a_shell_that_reads_the_file_gets_every_variable_as_it_was() -> None:
    variables = {"PATH": "/stack/bin:/usr/bin:/bin", "A": "quotes \" and ' and $HOME", "B": '{"json": [1, 2]}', "C": ""}
    script = render_environment(variables) + 'printf "%s\\0" "$PATH" "$A" "$B" "$C"'
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True, env={"PATH": "/mine"})
    assert done.stdout.split("\0")[:4] == ["/stack/bin:/mine", variables["A"], variables["B"], ""]


def test_only_the_owner_can_read_the_file(settings: StackSettings) -> None:
    settings.state_dir.mkdir()
    write_environment_file(settings, {"A": "secret"})
    assert stat.S_IMODE(settings.environment_file.stat().st_mode) == 0o600


def test_a_shell_never_gets_the_marker_by_which_processes_are_ended(settings: StackSettings) -> None:
    secrets = load_or_create(settings.secrets_dir)
    assert MARKER not in stack_environment(settings, secrets, path="/usr/bin")
    assert server_environment(settings, secrets)[MARKER] == str(settings.state_dir)


def test_settings_of_the_caller_that_would_change_the_stack_are_taken_away() -> None:
    caller = {
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "HOME": "/home/me",
        "MLFLOW_TRACKING_URI": "elsewhere",
        "PIP_FIND_LINKS": "/wheels",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": "/mine",
        "VIRTUAL_ENV": "/other",
    }
    assert process_environment(caller, {"A": "1"}, {"A": "2"}) == {"HOME": "/home/me", "A": "2"}


def test_every_server_is_told_to_listen_on_loopback_alone(settings: StackSettings) -> None:
    variables = stack_environment(settings, load_or_create(settings.secrets_dir), path="/usr/bin")
    assert variables["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert not any("0.0.0.0" in value or "localhost" in value for value in variables.values())


def test_the_daemon_serves_every_model_that_is_defined_or_those_that_are_named(tmp_path: Path) -> None:
    project = Path(__file__).parents[3]
    for named, expected in (({}, "flight_delay"), ({"BATON_MODELS": "a,b"}, "a,b")):
        made = read_settings({"BATON_STATE_DIR": str(tmp_path / "var"), **named}, project_dir=project)
        variables = stack_environment(made, load_or_create(made.secrets_dir), path="/usr/bin")
        assert variables["BATON_MODELS"] == expected


def test_an_existing_kafka_is_used_by_baton_and_by_airflow_with_the_same_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secrets.json").write_text('{"sasl.password": "swordfish"}')
    given = {
        "BATON_STATE_DIR": str(tmp_path / "var"),
        "BATON_KAFKA_BOOTSTRAP": "kafka.example:9093",
        "BATON_KAFKA_OPTIONS": '{"security.protocol": "SASL_SSL", "sasl.username": "baton"}',
        "BATON_KAFKA_OPTIONS_FILE": str(tmp_path / "secrets.json"),
    }
    made = read_settings(given, project_dir=tmp_path / "project")
    variables = stack_environment(made, load_or_create(made.secrets_dir), path="/usr/bin")
    airflow = json.loads(variables["AIRFLOW_CONN_KAFKA_DEFAULT"])["extra"]
    assert "swordfish" not in render_environment({k: v for k, v in variables.items() if k.startswith("BATON_")})
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    expected = {
        "bootstrap.servers": "kafka.example:9093",
        "security.protocol": "SASL_SSL",
        "sasl.username": "baton",
        "sasl.password": "swordfish",
    }
    assert read_baton_settings().need_kafka() == expected
    assert airflow | expected == airflow


@pytest.mark.parametrize("options", ["nonsense", "[]", '{"a": [1]}'])
def test_options_that_cannot_be_used_are_said(tmp_path: Path, options: str) -> None:
    given = {"BATON_KAFKA_BOOTSTRAP": "kafka.example:9093", "BATON_KAFKA_OPTIONS": options}
    made = read_settings({"BATON_STATE_DIR": str(tmp_path / "var"), **given}, project_dir=tmp_path / "project")
    with pytest.raises(SettingError, match="existing Kafka"):
        stack_environment(made, load_or_create(made.secrets_dir), path="/usr/bin")


def test_baton_understands_what_it_is_given(settings: StackSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = stack_environment(settings, load_or_create(settings.secrets_dir), path="/usr/bin")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    baton = read_baton_settings()
    assert baton.need_kafka() == {"bootstrap.servers": settings.kafka_bootstrap}
    assert baton.need_ledger_url() == f"sqlite:///{settings.state_dir}/ledger.db"
    assert baton.need_registry_uri() == settings.mlflow_url
    assert baton.need_cache_dir() == settings.state_dir / "cache"
    assert baton.need_snapshot_dir() == settings.state_dir / "snapshots"
    assert baton.need_connection("warehouse") == f"sqlite:///{settings.state_dir}/warehouse/warehouse.db"
    assert len(baton.need_keyring().keys) == 1
