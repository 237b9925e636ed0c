"""Makes no DAG: while a model definition cannot be used, Airflow shows why as this file's import error.

The DAGs of the other definitions come from ``baton.py`` and go on.
"""

from pathlib import Path

from baton_airflow.building import require_all
from scoring.settings import read_settings
from training.catalog import read_catalog

_BESIDE = Path(__file__).resolve().parent.parent / "models"

require_all(read_catalog(read_settings().models_dir or _BESIDE))
