"""The training side: pull, snapshot, validate, fit, evaluate, gate, bundle and promote; knows nothing of Airflow."""
