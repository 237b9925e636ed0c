"""The table of the stack's processes: what runs, and how it is ended."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from local.kafka.broker import broker_command
from local.kafka.properties import BrokerConfig
from local.settings import StackSettings

BATON_COMMANDS = {"daemon": "worker", "sink": "sink", "api": "api"}
"""What each of Baton's own services is: a command of ``baton``, from the environment's ``bin``."""


@dataclass(frozen=True)
class Program:
    """One process under supervision. A lower ``stop_rank`` is stopped first; ``options`` are variables."""

    name: str
    component: str
    command: tuple[str, ...]
    stop_rank: int
    stop_wait_s: int
    url: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


def programs(settings: StackSettings, components: Collection[str]) -> tuple[Program, ...]:
    """The programs of ``components``, in the order in which they are started."""
    every = (_kafka(settings), _mlflow(settings), *_airflow(settings), *_baton(settings))
    return tuple(program for program in every if program.component in components)


def broker_config(settings: StackSettings) -> BrokerConfig:
    """The stack's broker."""
    return BrokerConfig(
        data_dir=settings.kafka_dir, port=settings.ports.kafka, controller_port=settings.ports.kafka_controller
    )


def executable(settings: StackSettings, name: str) -> str:
    """Absolute path of a command of the project's environment."""
    return str(settings.venv_dir / "bin" / name)


def log_file(settings: StackSettings, name: str) -> Path:
    """Where the output of the program ``name`` goes."""
    return settings.log_dir / f"{name}.log"


def _kafka(settings: StackSettings) -> Program:
    command = tuple(broker_command(settings.kafka_jars, broker_config(settings)))
    return Program("kafka", "kafka", command, stop_rank=3, stop_wait_s=20, url=settings.kafka_bootstrap)


def _mlflow(settings: StackSettings) -> Program:
    # What the command `mlflow server` would start as its child; the command itself would only sit beside the server,
    # as large as it, and import everything a second time. It hands its options over in these variables.
    command = (
        executable(settings, "uvicorn"),
        "--factory",
        "--host=127.0.0.1",
        f"--port={settings.ports.mlflow}",
        "--workers=1",
        "mlflow.server.auth:create_app",
    )
    options = {
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{settings.mlflow_dir / 'mlflow.db'}",
        "_MLFLOW_SERVER_REGISTRY_STORE": f"sqlite:///{settings.mlflow_dir / 'mlflow.db'}",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(settings.mlflow_dir / "artifacts"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SGI_NAME": "uvicorn",
    }
    return Program("mlflow", "mlflow", command, stop_rank=2, stop_wait_s=10, url=settings.mlflow_url, options=options)


def _airflow(settings: StackSettings) -> tuple[Program, ...]:
    airflow = executable(settings, "airflow")

    def program(name: str, *options: str, url: str = "") -> Program:
        return Program(name, "airflow", (airflow, name, *options), stop_rank=1, stop_wait_s=20, url=url)

    # The log servers would listen on all interfaces; the API server reads the logs from the disk.
    return (
        program("api-server", url=settings.airflow_url),
        program("scheduler", "--skip-serve-logs"),
        program("dag-processor"),
        program("triggerer", "--skip-serve-logs"),
    )


def _baton(settings: StackSettings) -> Iterator[Program]:
    urls = {"api": settings.api_url}
    for name, command in BATON_COMMANDS.items():
        yield Program(
            name, name, (executable(settings, "baton"), command), stop_rank=0, stop_wait_s=30, url=urls.get(name, "")
        )
