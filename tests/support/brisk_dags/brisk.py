"""The DAGs of all definitions, with pauses between the tries of a task that a test can wait for."""

import os
from datetime import timedelta

from baton_airflow.factory import build_dag
from scoring.settings import read_settings
from training.catalog import read_catalog

RETRY_S = "BATON_TEST_RETRY_S"

folder = read_settings().models_dir
assert folder is not None
for definition in read_catalog(folder).definitions.values():
    dag = build_dag(definition)
    for task in dag.tasks:
        task.retry_delay = timedelta(seconds=float(os.environ.get(RETRY_S, "10")))
    globals()[dag.dag_id] = dag
