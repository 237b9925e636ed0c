"""What must be on the disk before a component can run."""

import sqlite3
import subprocess
from collections.abc import Mapping
from importlib.metadata import version

from local.credentials import Secrets
from local.errors import StartError
from local.programs import executable, log_file
from local.settings import StackSettings


def mlflow_auth(settings: StackSettings, secrets: Secrets) -> str:
    """Configuration of the registry's basic authentication."""
    values = {
        "default_permission": "READ",
        "database_uri": f"sqlite:///{settings.mlflow_dir / 'auth.db'}",
        "admin_username": "admin",
        "admin_password": secrets.mlflow_password,
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
        # Checking a password costs half a second of one core; nobody changes it behind the server's back.
        "auth_cache_ttl_seconds": "3600",
    }
    return "[mlflow]\n" + "".join(f"{name} = {value.replace('%', '%%')}\n" for name, value in values.items())


def migrate_airflow(settings: StackSettings, environment: Mapping[str, str]) -> None:
    """Bring Airflow's database to the installed version, unless it is there already; raises StartError."""
    installed = version("apache-airflow-core")
    stamp = settings.airflow_dir / "migrated"
    if stamp.exists() and stamp.read_text() == installed:
        return
    prepare_sqlite(settings, "airflow")
    log = log_file(settings, "airflow-migrate")
    with log.open("ab") as output:
        command = [executable(settings, "airflow"), "db", "migrate"]
        done = subprocess.run(command, env=dict(environment), stdout=output, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise StartError(f"airflow db migrate failed; see {log}")
    stamp.write_text(installed)


def migrate_predictions(settings: StackSettings) -> None:
    """Make the tables that the sink fills, or bring them to this version."""
    from scoring.database.migrations import migrate  # it loads SQLAlchemy
    from scoring.predictions.database import MIGRATIONS, open_database

    database = open_database(settings.predictions_url)
    migrate(database, MIGRATIONS)
    database.engine.dispose()


def prepare_sqlite(settings: StackSettings, name: str) -> None:
    """Switch the database of ``name`` to a write-ahead log: readers and the writer do not block each other."""
    path = settings.state_dir / name / f"{name}.db"
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()
