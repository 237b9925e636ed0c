"""The environment of the stack's processes, and the file that gives the same to a shell."""

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from local.credentials import Secrets, airflow_passwords_file, api_tokens_file, signing_keys_file, write_private
from local.errors import SettingError
from local.settings import Ports, StackSettings

MARKER = "BATON_STACK"
"""Every process of a stack carries this variable with the stack's state directory, and nothing else does."""

POLLUTION = (
    "AIRFLOW",
    "_AIRFLOW",
    "KAFKA_",
    "MLFLOW",
    "_MLFLOW",
    "PIP_",
    "PYTHON",
    "SUPERVISOR_",
    "UV_",
    "VIRTUAL_ENV",
)
"""Variables of the caller that would change what the stack's processes do, by their beginnings."""

QUIET = {
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    "DO_NOT_TRACK": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "SCARF_ANALYTICS": "false",
}
"""No component reports to anybody."""


def stack_environment(settings: StackSettings, secrets: Secrets, *, path: str) -> dict[str, str]:
    """What Baton's commands, the DAGs and a person's shell need to reach the stack; ``path`` is the caller's PATH."""
    return {
        "PATH": os.pathsep.join([str(settings.venv_dir / "bin"), path]),
        **QUIET,
        **_baton(settings),
        "BATON_API_TOKEN": secrets.api_token,
        **_mlflow_client(settings, secrets),
        **_airflow(settings, secrets),
    }


def server_environment(settings: StackSettings, secrets: Secrets) -> dict[str, str]:
    """What only the stack's servers need beyond ``stack_environment``."""
    return {
        MARKER: str(settings.state_dir),
        "MLFLOW_AUTH_CONFIG_PATH": str(settings.mlflow_dir / "auth.ini"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.mlflow_secret_key,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its job runners would take four times the server's memory
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "SPT_NOENV": "1",  # or setproctitle would overwrite the marker that ``down`` looks for
    }


def process_environment(caller: Mapping[str, str], *added: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without what would pollute the stack, and with ``added``."""
    kept = {name: value for name, value in caller.items() if not name.startswith(POLLUTION)}
    for variables in added:
        kept.update(variables)
    return kept


def write_environment_file(settings: StackSettings, variables: Mapping[str, str]) -> None:
    """Write ``variables`` as a file for ``. var/stack.env``; it holds passwords, so only its owner can read it."""
    write_private(settings.environment_file, render_environment(variables))


def render_environment(variables: Mapping[str, str]) -> str:
    """Shell text that exports ``variables``; the caller's PATH is kept behind the stack's."""
    lines = ["# Written by `make up`; use it with: . var/stack.env\n"]
    for name, value in variables.items():
        if name == "PATH":
            lines.append(f'export PATH={shlex.quote(value.split(os.pathsep)[0])}:"$PATH"\n')
        else:
            lines.append(f"export {name}={shlex.quote(value)}\n")
    return "".join(lines)


def _baton(settings: StackSettings) -> dict[str, str]:
    state = settings.state_dir
    return {
        "BATON_STATE_DIR": str(state),
        "BATON_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "BATON_KAFKA_OPTIONS": settings.kafka_options or "{}",
        **({"BATON_KAFKA_OPTIONS_FILE": settings.kafka_options_file} if settings.kafka_options_file else {}),
        "BATON_LEDGER_URL": f"sqlite:///{state / 'ledger.db'}",
        "BATON_REGISTRY_URI": settings.mlflow_url,
        "BATON_SIGNING_KEYS_FILE": str(signing_keys_file(settings.secrets_dir)),
        "BATON_CACHE_DIR": str(state / "cache"),
        "BATON_PREDICTIONS_URL": settings.predictions_url,
        "BATON_API_TOKENS_FILE": str(api_tokens_file(settings.secrets_dir)),
        "BATON_SNAPSHOT_DIR": str(state / "snapshots"),
        "BATON_CONNECTIONS__WAREHOUSE": f"sqlite:///{state / 'warehouse' / 'warehouse.db'}",
        "BATON_MODELS": settings.models or _defined_models(settings.project_dir / "models"),
        **{Ports.variable(name): str(port) for name, port in asdict(settings.ports).items()},
        "BATON_AIRFLOW_URL": settings.airflow_url,
        "BATON_AIRFLOW_PASSWORDS_FILE": str(airflow_passwords_file(settings.secrets_dir)),
    }


def kafka_options(settings: StackSettings) -> dict[str, Any]:
    """The options of a client of the stack's Kafka.

    Raises:
        SettingError: those that were given cannot be used.
    """
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from scoring.contract.errors import ConfigurationError
    from scoring.settings import Settings  # reads what is given in the same way as every command

    try:
        given = json.loads(settings.kafka_options or "{}")
        file = Path(settings.kafka_options_file) if settings.kafka_options_file else None
        found = Settings(kafka_bootstrap=settings.kafka_bootstrap, kafka_options=given, kafka_options_file=file)
        return found.need_kafka()
    except (ValueError, ValidationError, SettingsError, ConfigurationError) as error:
        raise SettingError(f"the options of the existing Kafka cannot be used: {error}") from error


def _defined_models(folder: Path) -> str:
    """The models of all definitions that can be used; Airflow tells what is wrong with the others."""
    from training.catalog import read_catalog  # it runs the definitions, which only a start needs

    return ",".join(read_catalog(folder).definitions) if folder.is_dir() else ""


def _mlflow_client(settings: StackSettings, secrets: Secrets) -> dict[str, str]:
    return {
        "MLFLOW_TRACKING_URI": settings.mlflow_url,
        "MLFLOW_TRACKING_USERNAME": "admin",
        "MLFLOW_TRACKING_PASSWORD": secrets.mlflow_password,
    }


def _airflow(settings: StackSettings, secrets: Secrets) -> dict[str, str]:
    kafka = {
        "conn_type": "kafka",
        "extra": {
            **kafka_options(settings),
            "group.id": "airflow",
            "enable.auto.commit": "false",
            "auto.offset.reset": "earliest",
        },
    }
    return {
        "AIRFLOW_HOME": str(settings.airflow_dir),
        "AIRFLOW_CONN_KAFKA_DEFAULT": json.dumps(kafka),
        "AIRFLOW__API__BASE_URL": settings.airflow_url,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(settings.ports.airflow),
        "AIRFLOW__API__SECRET_KEY": secrets.airflow_secret_key,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.airflow_jwt_secret,
        "AIRFLOW__CORE__DAGS_FOLDER": str(settings.project_dir / "dags"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{settings.airflow_url}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__FERNET_KEY": secrets.airflow_fernet_key,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(settings.project_dir / "plugins"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(airflow_passwords_file(settings.secrets_dir)),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{settings.airflow_dir / 'airflow.db'}",
        # The warehouse's data end in 2013: a schedule would find nothing new. Runs are started by hand here.
        "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",  # or each of a run's tasks waits up to a second
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(settings.log_dir / "airflow"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(
            settings.log_dir / "airflow" / "dag-processor"
        ),
    }
