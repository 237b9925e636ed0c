"""Settings of the local stack, the one place under ``local`` that reads the environment."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from local.errors import SettingError

COMPONENTS = ("kafka", "mlflow", "airflow", "daemon", "sink", "api")
"""Parts of the stack that can be left out, in the order in which they are started."""


@dataclass(frozen=True)
class Ports:
    """TCP ports on 127.0.0.1."""

    kafka: int = 19092
    kafka_controller: int = 19093
    airflow: int = 18080
    mlflow: int = 15000
    api: int = 19580

    @staticmethod
    def variable(name: str) -> str:
        """The environment variable that sets the port ``name``."""
        return f"BATON_{name.upper()}_PORT"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Ports":
        """Read the ports; raises SettingError for one that is no port, or for two that are the same."""
        chosen = {name: _port(environ, name, default) for name, default in asdict(cls()).items()}
        for name, port in chosen.items():
            twins = [cls.variable(other) for other, value in chosen.items() if value == port]
            if len(twins) > 1:
                raise SettingError(f"{' and '.join(twins)} are both {port} (first seen as {name}); give each its own")
        return cls(**chosen)

    def of(self, component: str) -> dict[str, int]:
        """The ports that ``component`` listens on, by name."""
        return {
            field.name: getattr(self, field.name) for field in fields(self) if field.name.split("_")[0] == component
        }


@dataclass(frozen=True)
class StackSettings:
    """Where the stack lives and which ports it uses. All paths are absolute."""

    project_dir: Path
    state_dir: Path
    venv_dir: Path
    ports: Ports
    models: str | None = None
    """Comma-separated names of the models that the daemon serves; None is every one that is defined."""
    existing_kafka: str | None = None
    """host:port of the brokers of an existing Kafka; None is a broker of the stack's own."""
    kafka_options: str = ""
    """JSON object of the options that reach an existing Kafka; empty where none are needed."""
    kafka_options_file: str = ""
    """File with further ones, those that are secret."""

    @property
    def log_dir(self) -> Path:
        """One log file per process."""
        return self.state_dir / "log"

    @property
    def secrets_dir(self) -> Path:
        """Keys and passwords, readable by the owner alone."""
        return self.state_dir / "secrets"

    @property
    def environment_file(self) -> Path:
        """Shell file with the variables of the stack."""
        return self.state_dir / "stack.env"

    @property
    def kafka_dir(self) -> Path:
        """The broker's properties and data."""
        return self.state_dir / "kafka"

    @property
    def kafka_jars(self) -> Path:
        """The broker's jars, fetched by ``local/bootstrap``."""
        return self.venv_dir / "share" / "kafka"

    @property
    def airflow_dir(self) -> Path:
        """AIRFLOW_HOME."""
        return self.state_dir / "airflow"

    @property
    def mlflow_dir(self) -> Path:
        """The registry's database and artifacts."""
        return self.state_dir / "mlflow"

    @property
    def supervisor_dir(self) -> Path:
        """The process manager's configuration, socket and pid file."""
        return self.state_dir / "supervisor"

    @property
    def kafka_bootstrap(self) -> str:
        """host:port of the broker, or of those of an existing Kafka."""
        return self.existing_kafka or own_address(self.ports)

    @property
    def airflow_url(self) -> str:
        """Root of Airflow's UI and API."""
        return f"http://127.0.0.1:{self.ports.airflow}"

    @property
    def api_url(self) -> str:
        """Root of Baton's API."""
        return f"http://127.0.0.1:{self.ports.api}"

    @property
    def predictions_url(self) -> str:
        """SQLAlchemy URL of the tables that the sink fills."""
        return f"sqlite:///{self.state_dir / 'predictions.db'}"

    @property
    def mlflow_url(self) -> str:
        """Root of the registry's UI and API."""
        return f"http://127.0.0.1:{self.ports.mlflow}"


def read_settings(environ: Mapping[str, str], *, project_dir: Path | None = None) -> StackSettings:
    """Read BATON_STATE_DIR (default ``var`` in the project), BATON_<NAME>_PORT, BATON_MODELS and BATON_KAFKA_….

    A shell that read ``stack.env`` names the stack's own broker in BATON_KAFKA_BOOTSTRAP: that is no existing Kafka.

    Raises:
        SettingError: a value cannot be used.
    """
    project = (project_dir or Path(__file__).parent.parent).resolve()
    state = Path(environ.get("BATON_STATE_DIR") or project / "var").expanduser()
    ports = Ports.from_environment(environ)
    address = environ.get("BATON_KAFKA_BOOTSTRAP") or own_address(ports)
    existing = None if address == own_address(ports) else address
    return StackSettings(
        project_dir=project,
        state_dir=(state if state.is_absolute() else project / state).resolve(),
        venv_dir=project / ".venv",
        ports=ports,
        models=environ.get("BATON_MODELS") or None,
        existing_kafka=existing,
        kafka_options=environ.get("BATON_KAFKA_OPTIONS", "") if existing else "",
        kafka_options_file=environ.get("BATON_KAFKA_OPTIONS_FILE", "") if existing else "",
    )


def own_address(ports: Ports) -> str:
    """host:port of the stack's own broker."""
    return f"127.0.0.1:{ports.kafka}"


def read_components(without: str) -> tuple[str, ...]:
    """The components to run when those of the comma-separated ``without`` are left out; raises SettingError."""
    left_out = {name for name in re.split(r"[,\s]+", without) if name}
    unknown = sorted(left_out - set(COMPONENTS))
    if unknown:
        raise SettingError(f"unknown component {', '.join(unknown)}; the stack has {', '.join(COMPONENTS)}")
    return tuple(name for name in COMPONENTS if name not in left_out)


def _port(environ: Mapping[str, str], name: str, default: int) -> int:
    variable = Ports.variable(name)
    text = environ.get(variable) or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise SettingError(f"{variable} is {text!r}; set it to a port from 1 to 65535")
    return int(text)
