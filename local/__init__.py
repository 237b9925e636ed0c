"""The stack on one machine: broker, Airflow, registry and daemon, all on loopback, kept by supervisord."""
