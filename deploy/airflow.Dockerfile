# Airflow with Baton's training side, and MLflow's server: what requirements-airflow.lock names, this repository, its DAGs
# and models. From the repository's root: docker build --file deploy/airflow.Dockerfile --tag baton-airflow .
FROM python:3.11-slim-bookworm AS build
# The compiler is for the scorer's library alone; every dependency is a wheel.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements-bootstrap.lock requirements-airflow.lock ./
RUN python -m venv /opt/tools \
    && /opt/tools/bin/pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: \
        --requirement requirements-bootstrap.lock
RUN python -m venv --without-pip /opt/baton \
    && /opt/tools/bin/uv pip sync --no-config --no-cache --python /opt/baton/bin/python --require-hashes \
        --only-binary :all: requirements-airflow.lock
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY scoring scoring
COPY plugins plugins
COPY dags dags
RUN /opt/tools/bin/uv build --no-config --wheel --no-build-isolation --python /opt/tools/bin/python --out-dir dist . \
    && /opt/tools/bin/uv pip install --no-config --no-cache --python /opt/baton/bin/python --no-deps dist/*.whl

FROM python:3.11-slim-bookworm
RUN useradd --uid 50000 --gid 0 --home-dir /var/lib/baton --no-create-home --shell /usr/sbin/nologin baton \
    && install --directory --owner 50000 --group 0 --mode 0770 /var/lib/airflow /var/lib/baton /var/lib/mlflow
COPY --from=build /opt/baton /opt/baton
COPY deploy/with-secrets /usr/local/bin/with-secrets
COPY dags /srv/baton/dags
COPY models /srv/baton/models
COPY expectations /srv/baton/expectations
ENV PATH=/opt/baton/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1
WORKDIR /var/lib/baton
USER 50000:0
ENTRYPOINT ["/usr/local/bin/with-secrets"]
