"""What Airflow's plugin loader finds: Baton's name. The packages beside it are imported by the DAGs."""

from airflow.plugins_manager import AirflowPlugin


class BatonPlugin(AirflowPlugin):
    """Baton in Airflow."""

    name = "baton"
