#!/bin/sh
# Run once by PostgreSQL's image, on an empty volume: a database for each of Airflow, MLflow and Baton (its ledger and its
# predictions), owned by a user of its own. Airflow and MLflow cannot share one: both keep a table alembic_version.
set -eu
for name in airflow mlflow baton; do
    password=$(cat "${SECRETS_DIR:-/run/secrets}/$name-db-password")
    psql --set ON_ERROR_STOP=1 --set name="$name" --set password="$password" --username postgres --dbname postgres <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done
