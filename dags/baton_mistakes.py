"""Makes no DAG: while a model definition cannot be loaded, Airflow shows why as this file's import error.

The DAGs of the other definitions come from ``baton.py`` and go on.
"""

from pathlib import Path

from scoring.settings import read_settings
from training.catalog import read_catalog

_BESIDE = Path(__file__).resolve().parent.parent / "models"

read_catalog(read_settings().models_dir or _BESIDE).require_good()
