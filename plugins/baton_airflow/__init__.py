"""Airflow's side of Baton: DAG factory, operators and triggers."""
