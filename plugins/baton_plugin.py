"""What Airflow's plugin loader finds: Baton's name and its page. The packages beside it are imported by the DAGs."""

from airflow.plugins_manager import AirflowPlugin

from baton_airflow.page.mount import EXTERNAL_VIEWS, FASTAPI_APPS


class BatonPlugin(AirflowPlugin):
    """Baton in Airflow."""

    name = "baton"
    fastapi_apps = FASTAPI_APPS
    external_views = EXTERNAL_VIEWS
