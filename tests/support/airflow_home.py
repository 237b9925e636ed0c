"""Gives the test session an Airflow home of its own. Must be called before anything imports Airflow."""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
_MARKER = "BATON_TEST_AIRFLOW_HOME"


def prepare() -> Path:
    """Point Airflow at an empty home in a temporary folder, once per process; returns the folder."""
    home = os.environ.get(_MARKER)
    if home is None:
        if "airflow" in sys.modules:
            raise RuntimeError("Airflow was imported before its home was prepared")
        home = tempfile.mkdtemp(prefix="baton-airflow-")
        atexit.register(shutil.rmtree, home, ignore_errors=True)
        for name in [name for name in os.environ if name.startswith(("AIRFLOW_", "_AIRFLOW_"))]:
            del os.environ[name]
        os.environ.update(_variables(Path(home)))
        os.environ[_MARKER] = home
    return Path(home)


def _variables(home: Path) -> dict[str, str]:
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }
