"""Makes the secrets of docker-compose.airflow.yml, each a file: ``python3 deploy/make_secrets.py --warehouse URL``.

The folder can be opened by its owner alone. The files in it can be read by everybody who gets that far, because each
container reads them as a user of its own. Secrets that are there are never written over.
"""

import argparse
import base64
import hashlib
import json
import secrets
from pathlib import Path

NAMES = ("airflow", "mlflow", "baton")
"""The databases on the compose file's PostgreSQL, each with a user of the same name."""


def made(warehouse: str, api_token: str | None = None) -> dict[str, str]:
    """The content of every secret by the name of its file, new each time but for what is given.

    Args:
        api_token: may do everything that the API does; its digest alone is kept.
    """
    databases = {name: secrets.token_urlsafe(24) for name in NAMES}
    queue, registry = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    urls = {name: f"postgresql+psycopg://{name}:{databases[name]}@postgres/{name}" for name in NAMES}
    return {
        "postgres-password": secrets.token_urlsafe(24),
        **{f"{name}-db-password": password for name, password in databases.items()},
        "redis-password": queue,
        "redis.conf": f'requirepass {queue}\nsave ""\nappendonly no\n',
        "signing-keys.json": json.dumps(_signing_keys()),
        "airflow-passwords.json": json.dumps({name: secrets.token_urlsafe(12) for name in ("admin", "viewer")}),
        "mlflow-auth.ini": _mlflow_auth(urls["mlflow"], registry),
        "api-tokens.json": json.dumps(_api_tokens(api_token or secrets.token_urlsafe(32))),
        "metrics-token": secrets.token_urlsafe(24),
        "grafana-password": secrets.token_urlsafe(12),
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__CELERY__BROKER_URL": f"redis://:{queue}@redis:6379/0",
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{urls['airflow']}",
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": urls["airflow"],
        "BATON_CONNECTIONS__WAREHOUSE": warehouse,
        "BATON_LEDGER_URL": urls["baton"],
        "BATON_PREDICTIONS_URL": urls["baton"],
        "MLFLOW_BACKEND_STORE_URI": urls["mlflow"],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
        "MLFLOW_TRACKING_PASSWORD": registry,
    }


def write(folder: Path, contents: dict[str, str]) -> list[str]:
    """Write all of them, or none where some are there: they belong together. Returns the names of those written.

    Raises:
        SystemExit: a part of them is there already.
    """
    present = sorted(name for name in contents if (folder / name).exists())
    if len(present) == len(contents):
        return []
    if present:
        missing = sorted(set(contents) - set(present))
        raise SystemExit(
            f"{folder} lacks {', '.join(missing)}, and what is there fits no new ones: add them by hand, or move the "
            "folder away, with the volumes that were made under it"
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    for name, text in contents.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o444)
    return sorted(contents)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warehouse", required=True, help="SQLAlchemy URL of the database that the models read")
    parser.add_argument("--folder", type=Path, default=Path("secrets"), help="where to write (default: secrets)")
    given = parser.parse_args()
    token = secrets.token_urlsafe(32)
    written = write(given.folder, made(given.warehouse, token))
    if not written:
        print(f"{given.folder} holds every secret already")
        return
    print(f"wrote {len(written)} secrets to {given.folder}")
    print(f"the API's token, which is told this once: {token}")


def _signing_keys() -> dict[str, object]:
    name = f"cluster-{secrets.token_hex(4)}"
    return {"active": name, "keys": {name: base64.b64encode(secrets.token_bytes(32)).decode()}}


def _api_tokens(token: str) -> list[dict[str, object]]:
    digest = hashlib.sha256(token.encode()).hexdigest()
    return [{"name": "cluster", "sha256": digest, "scopes": ["read", "score"]}]


def _mlflow_auth(url: str, password: str) -> str:
    lines = (
        "[mlflow]",
        "default_permission = READ",
        f"database_uri = {url}",
        "admin_username = admin",
        f"admin_password = {password}",
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth",
        "auth_cache_ttl_seconds = 3600",
    )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
