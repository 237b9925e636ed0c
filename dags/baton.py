"""Two Airflow DAGs for each model definition in the models folder, one that trains and one that starts it for events,
one that repairs the copies of the ledger, and one that scores past periods.

This file only wires: what a run does stands in ``baton_airflow.factory``, what a model is in its definition. One that
cannot be loaded, or that Airflow would not take, has no DAG, and keeps no other from having one; ``baton_mistakes.py``
shows what is wrong with it.
"""

from pathlib import Path

from baton_airflow.backfill import build_backfill_dag
from baton_airflow.building import build_all
from baton_airflow.repair import build_reconcile_dag
from scoring.settings import read_settings
from training.catalog import read_catalog

_BESIDE = Path(__file__).resolve().parent.parent / "models"

globals().update(build_all(read_catalog(read_settings().models_dir or _BESIDE).definitions.values()).dags)
reconcile = build_reconcile_dag()
backfill = build_backfill_dag()
