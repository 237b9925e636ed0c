# A scorer: the scoring side alone with PostgreSQL's driver, which is what requirements-worker.lock names, and this
# repository. From the repository's root: docker build --file deploy/worker.Dockerfile --tag baton-worker .
FROM python:3.11-slim-bookworm AS build
# The compiler is for the scorer's library alone; every dependency is a wheel.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements-bootstrap.lock requirements-worker.lock ./
RUN python -m venv /opt/tools \
    && /opt/tools/bin/pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: \
        --requirement requirements-bootstrap.lock
RUN python -m venv --without-pip /opt/baton \
    && /opt/tools/bin/uv pip sync --no-config --no-cache --python /opt/baton/bin/python --require-hashes \
        --only-binary :all: requirements-worker.lock
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY scoring scoring
COPY plugins plugins
COPY dags dags
RUN /opt/tools/bin/uv build --no-config --wheel --no-build-isolation --python /opt/tools/bin/python --out-dir dist . \
    && /opt/tools/bin/uv pip install --no-config --no-cache --python /opt/baton/bin/python --no-deps dist/*.whl

FROM python:3.11-slim-bookworm
RUN useradd --uid 50000 --gid 0 --home-dir /var/lib/baton --no-create-home --shell /usr/sbin/nologin baton \
    && install --directory --owner 50000 --group 0 --mode 0770 /var/lib/baton
COPY --from=build /opt/baton /opt/baton
COPY deploy/with-secrets /usr/local/bin/with-secrets
ENV PATH=/opt/baton/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1
WORKDIR /var/lib/baton
USER 50000:0
ENTRYPOINT ["/usr/local/bin/with-secrets"]
