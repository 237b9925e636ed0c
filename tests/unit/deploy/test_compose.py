"""The container form cannot be run here; what can be said about its file without an engine is said."""

import configparser
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from deploy.make_secrets import made, write
from scoring.api.tokens import Scope, TokenFile
from scoring.cli import group
from scoring.contract.envelope import Keyring
from scoring.settings import Settings

PROJECT = Path(__file__).parents[3]
FILE = PROJECT / "docker-compose.airflow.yml"
VARIABLE = re.compile(r"[A-Z][A-Z0-9_]+")
# Services that end when they are done, and so have no health.
ONCE = {"topics", "ledger", "predictions", "airflow-migrate"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return found


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = compose["services"]
    return found


def secret_variables(service: dict[str, Any]) -> set[str]:
    """Variables that ``deploy/with-secrets`` makes of a service's secrets."""
    return {name for name in service.get("secrets", ()) if VARIABLE.fullmatch(name)}


def words(service: dict[str, Any]) -> list[str]:
    """A command as words, past a shell that runs it."""
    command: list[str] = service["command"]
    return command[-1].rpartition("exec ")[2].split() if command[:2] == ["sh", "-c"] else command


def paths_of(dockerfile: Path) -> Iterator[str]:
    for line in dockerfile.read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            yield from line.split()[1:-1]


def test_every_service_tells_whether_it_is_well_or_ends(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert ("healthcheck" in service) == (name not in ONCE), name
        assert service["restart"] == ("no" if name in ONCE else "unless-stopped"), name


def test_a_check_that_asks_airflows_database_or_queue_has_the_secrets_of_its_service(services: dict[str, Any]) -> None:
    asking = {name for name, service in services.items() if re.search("airflow jobs|inspect ping", _check(service))}
    assert asking == {"dag-processor", "triggerer", "celery-worker"}
    assert all(_check(services[name]).startswith("with-secrets ") for name in asking)


def test_every_service_waits_for_what_it_needs_until_that_is_well_or_done(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if needed in ONCE else "service_healthy"
            assert how["condition"] == expected, (name, needed)


def test_nobody_waits_in_a_circle(services: dict[str, Any]) -> None:
    started: set[str] = set()
    while len(started) < len(services):
        ready = {name for name, service in services.items() if set(service.get("depends_on", {})) <= started}
        assert ready > started, set(services) - started
        started = ready


def test_no_service_runs_as_root_or_may_become_it(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["user"].split(":")[0] not in {"0", "root"}, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_every_image_is_built_from_this_repository_or_of_one_version(services: dict[str, Any]) -> None:
    for name, service in services.items():
        if "build" in service:
            assert (PROJECT / service["build"]["dockerfile"]).is_file(), name
        else:
            assert re.fullmatch(r"[a-z/-]+:v?\d+(\.\d+)+", service["image"]), name


def test_the_brokers_have_the_version_of_the_local_stacks(services: dict[str, Any]) -> None:
    (version,) = re.findall(r"<artifactId>kafka_2.13</artifactId>\s*<version>([^<]+)<", _read("local/kafka/pom.xml"))
    assert {services[f"kafka-{n}"]["image"] for n in (1, 2, 3)} == {f"apache/kafka:{version}"}


def test_secrets_and_volumes_that_are_used_are_declared_and_the_other_way_round(compose: dict[str, Any]) -> None:
    services = compose["services"].values()
    assert {name for service in services for name in service.get("secrets", ())} == set(compose["secrets"])
    mounted = {mount.split(":")[0] for service in services for mount in service.get("volumes", ())}
    assert {name for name in mounted if not name.startswith(".")} == set(compose["volumes"])
    assert all((PROJECT / name).exists() for name in mounted if name.startswith("."))


def test_no_secret_stands_in_the_file_and_nothing_is_published_beyond_this_machine(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN|KEY|CONN|_URL$|_URI$|BACKEND$", variable):
                assert re.match(r"/run/secrets/|/var/lib/airflow/passwords|http://[^@]*$", value), (name, variable)
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_a_file_of_secrets_that_a_setting_names_is_given_to_the_service(services: dict[str, Any]) -> None:
    for name, service in services.items():
        said = json.dumps([service.get("environment"), service.get("command"), service.get("healthcheck")])
        assert set(re.findall(r"/run/secrets/([\w.-]+)", said)) <= set(service.get("secrets", ())), name


def test_every_setting_of_ours_exists_and_a_scorer_has_what_it_needs(services: dict[str, Any]) -> None:
    known = {f"BATON_{name.upper()}" for name in Settings.model_fields}
    for name, service in services.items():
        given = {*service.get("environment", {}), *secret_variables(service)}
        ours = {variable.partition("__")[0] for variable in given if variable.startswith("BATON_")}
        assert ours <= known, (name, ours - known)
    for slot in (0, 1):
        scorer = services[f"scorer-{slot}"]
        needed = {"KAFKA_BOOTSTRAP", "SIGNING_KEYS_FILE", "REGISTRY_URI", "CACHE_DIR", "MODELS", "METRICS_TOKEN_FILE"}
        assert {f"BATON_{name}" for name in needed} <= set(scorer["environment"])
        assert scorer["environment"]["BATON_SLOT"] == str(slot)


def test_every_setting_and_every_command_of_airflow_exists(services: dict[str, Any]) -> None:
    airflows = {name: service for name, service in services.items() if "AIRFLOW_HOME" in service.get("environment", {})}
    commands = [words(service)[1:] for service in airflows.values()]
    checks = [service.get("healthcheck", {}).get("test", []) for service in airflows.values()]
    commands += [check[3:] for check in checks if check[1:3] == ["with-secrets", "airflow"]]
    assert len(commands) == 8
    given = {name for service in airflows.values() for name in {*service["environment"], *secret_variables(service)}}
    options = sorted(name.lower().split("__")[1:] for name in given if name.startswith("AIRFLOW__"))
    program = (
        "import json, sys\n"
        "from airflow.cli.cli_parser import get_parser\n"
        "from airflow.configuration import retrieve_configuration_description as describe\n"
        "commands, options = json.loads(sys.argv[1])\n"
        "for words in commands: get_parser().parse_args(words)\n"
        "known = describe(include_providers=True)\n"
        "unknown = [o for o in options if o[1] not in known.get(o[0], {}).get('options', {})]\n"
        "assert not unknown, unknown\n"
    )
    command = [sys.executable, "-c", program, json.dumps([commands, options])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr[-2_000:]


def test_every_command_of_ours_and_of_mlflow_exists(services: dict[str, Any]) -> None:
    ours = [words(service) for service in services.values() if "build" in service]
    for _, *rest in (command for command in ours if command[0] == "baton"):
        found: click.Command | None = group
        while isinstance(found, click.Group) and (rest or not found.invoke_without_command):
            found = found.get_command(click.Context(found), rest.pop(0))
        assert found is not None
        context = click.Context(
            found, help_option_names=["-h", "--help"]
        )  # a command keeps those it is first asked for
        assert found.make_parser(context).parse_args(list(rest))[1] == []
    (mlflow,) = [command for command in ours if command[0] == "mlflow"]
    program = str(Path(sys.executable).with_name("mlflow"))
    told = subprocess.run([program, mlflow[1], "--help"], capture_output=True, text=True, check=True, timeout=100)
    assert all(word.partition("=")[0] in told.stdout for word in mlflow[2:])


def test_the_brokers_survive_the_loss_of_one(services: dict[str, Any]) -> None:
    numbers = {services[f"kafka-{n}"]["environment"]["KAFKA_NODE_ID"] for n in (1, 2, 3)}
    assert numbers == {"1", "2", "3"}
    variables = services["kafka-1"]["environment"]
    for name in ("DEFAULT", "OFFSETS_TOPIC", "TRANSACTION_STATE_LOG"):
        assert variables[f"KAFKA_{name}_REPLICATION_FACTOR"] == "3"
    assert variables["KAFKA_MIN_INSYNC_REPLICAS"] == variables["KAFKA_TRANSACTION_STATE_LOG_MIN_ISR"] == "2"
    assert services["topics"]["command"][-2:] == ["--replication", "3"]


def test_prometheus_reads_every_scorer_at_the_port_of_its_slot(services: dict[str, Any]) -> None:
    jobs = yaml.safe_load(_read("deploy/prometheus/prometheus.yml"))["scrape_configs"]
    (targets,) = [job["static_configs"][0]["targets"] for job in jobs if job["job_name"] == "baton"]
    scorers = {
        name: int(service["environment"]["BATON_SLOT"]) for name, service in services.items() if "scorer" in name
    }
    assert set(targets) == {f"{name}:{9564 + slot}" for name, slot in scorers.items()}


def test_the_sink_has_what_it_needs_and_prometheus_reads_it(services: dict[str, Any]) -> None:
    sink = services["sink"]
    needed = {"KAFKA_BOOTSTRAP", "PREDICTIONS_URL", "MODELS", "METRICS_TOKEN_FILE"}
    assert {f"BATON_{name}" for name in needed} <= {*sink["environment"], *secret_variables(sink)}
    jobs = yaml.safe_load(_read("deploy/prometheus/prometheus.yml"))["scrape_configs"]
    (targets,) = [job["static_configs"][0]["targets"] for job in jobs if job["job_name"] == "baton-sink"]
    assert targets == [f"sink:{Settings().sink_metrics_port}"]


def test_the_api_has_what_it_needs_and_prometheus_reads_it(services: dict[str, Any]) -> None:
    api = services["api"]
    needed = {"KAFKA_BOOTSTRAP", "SIGNING_KEYS_FILE", "REGISTRY_URI", "CACHE_DIR", "MODELS", "API_TOKENS_FILE"}
    reading = {"LEDGER_URL", "PREDICTIONS_URL"}
    assert {f"BATON_{name}" for name in needed | reading} <= {*api["environment"], *secret_variables(api)}
    port = Settings.model_fields["api_port"].default
    assert api["ports"] == [f"127.0.0.1:{port}:{port}"]
    jobs = yaml.safe_load(_read("deploy/prometheus/prometheus.yml"))["scrape_configs"]
    (targets,) = [job["static_configs"][0]["targets"] for job in jobs if job["job_name"] == "baton-api"]
    assert targets == [f"api:{port}"]


@pytest.mark.parametrize("image", ["airflow", "worker"])
def test_an_image_copies_what_is_there_from_the_lock_and_ends_as_nobody_special(image: str) -> None:
    file = PROJECT / "deploy" / f"{image}.Dockerfile"
    assert all((PROJECT / path).exists() for path in paths_of(file))
    assert f"requirements-{image}.lock" in set(paths_of(file))
    text = file.read_text()
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["50000:0"]
    assert text.count("--require-hashes") == 2


def test_the_secrets_that_are_made_are_those_that_are_used_and_can_be_read(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    contents = made("postgresql+psycopg://reader@warehouse/shop")
    assert set(contents) == set(compose["secrets"])
    assert {Path(entry["file"]).name for entry in compose["secrets"].values()} == set(contents)
    folder = tmp_path / "secrets"
    assert write(folder, contents) == sorted(contents)
    assert (folder.stat().st_mode & 0o777, (folder / "redis.conf").stat().st_mode & 0o777) == (0o700, 0o444)
    Keyring.from_json((folder / "signing-keys.json").read_bytes())
    token = "t" * 43
    (folder / "api-tokens.json").unlink()
    (folder / "api-tokens.json").write_text(made("sqlite://", token)["api-tokens.json"])
    holder = TokenFile(folder / "api-tokens.json").holder(f"Bearer {token}")
    assert holder is not None
    assert set(holder.scopes) == set(Scope)
    auth = configparser.ConfigParser()
    auth.read(folder / "mlflow-auth.ini")
    assert auth["mlflow"]["admin_password"] == contents["MLFLOW_TRACKING_PASSWORD"]


def test_secrets_that_are_there_are_never_written_over(tmp_path: Path) -> None:
    contents = made("sqlite://")
    write(tmp_path, contents)
    assert write(tmp_path, made("sqlite://")) == []
    (tmp_path / "metrics-token").unlink()
    with pytest.raises(SystemExit, match="lacks metrics-token"):
        write(tmp_path, made("sqlite://"))
    assert (tmp_path / "redis-password").read_text() == contents["redis-password"]


def test_a_secret_with_a_variables_name_becomes_that_variable_and_others_stay_files(tmp_path: Path) -> None:
    (tmp_path / "BATON_LEDGER_URL").write_text("postgresql://u:p w@h/d\n")
    (tmp_path / "redis.conf").write_text("requirepass x\n")
    done = subprocess.run(
        [str(PROJECT / "deploy" / "with-secrets"), "env"],
        env={"SECRETS_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "BATON_LEDGER_URL=postgresql://u:p w@h/d\n" in done.stdout
    assert "requirepass" not in done.stdout


def _check(service: dict[str, Any]) -> str:
    return " ".join(service.get("healthcheck", {}).get("test", [""])[1:])


def _read(name: str) -> str:
    return (PROJECT / name).read_text()
