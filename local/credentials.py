"""Keys and passwords of the local stack: made at its first start, readable by the owner alone."""

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Secrets:
    """What the stack's servers authenticate with."""

    airflow_fernet_key: str
    airflow_secret_key: str
    airflow_jwt_secret: str
    airflow_admin_password: str
    airflow_viewer_password: str
    mlflow_password: str
    mlflow_secret_key: str
    api_token: str


def load_or_create(directory: Path) -> Secrets:
    """Read the secrets in ``directory``, making those that are missing. Files are 0600, the directory 0700."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    found = _load_secrets(directory / "stack.json")
    passwords = {"admin": found.airflow_admin_password, "viewer": found.airflow_viewer_password}
    write_private(airflow_passwords_file(directory), json.dumps(passwords))
    _read_or_write(signing_keys_file(directory), _generate_signing_keys)
    _read_or_write(api_tokens_file(directory), lambda: [_api_token(found)])
    return found


def airflow_passwords_file(directory: Path) -> Path:
    """JSON object of user and password, as Airflow's simple auth manager reads it."""
    return directory / "airflow-passwords.json"


def signing_keys_file(directory: Path) -> Path:
    """JSON with the keys that sign notices, acknowledgements and heartbeats."""
    return directory / "signing-keys.json"


def api_tokens_file(directory: Path) -> Path:
    """JSON with the digests of the tokens that may ask Baton's API."""
    return directory / "api-tokens.json"


def write_private(path: Path, text: str) -> None:
    """Replace ``path`` in one step by a file that only its owner can read."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.replace(path)


def _load_secrets(path: Path) -> Secrets:
    fresh = asdict(_generate())
    stored = _read_or_write(path, lambda: fresh)
    complete = {name: stored.get(name, made) for name, made in fresh.items()}
    if complete != stored:  # written by a version that knew fewer secrets
        write_private(path, json.dumps(complete, indent=2) + "\n")
    return Secrets(**complete)


def _read_or_write(path: Path, make: Callable[[], Any]) -> Any:
    if not path.exists():
        write_private(path, json.dumps(make(), indent=2) + "\n")
    path.chmod(0o600)
    return json.loads(path.read_text())


def _generate() -> Secrets:
    return Secrets(
        airflow_fernet_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        airflow_secret_key=secrets.token_hex(32),
        airflow_jwt_secret=secrets.token_hex(32),
        airflow_admin_password=secrets.token_urlsafe(12),
        airflow_viewer_password=secrets.token_urlsafe(12),
        mlflow_password=secrets.token_urlsafe(18),
        mlflow_secret_key=secrets.token_hex(32),
        api_token=secrets.token_urlsafe(32),
    )


def _api_token(found: Secrets) -> dict[str, Any]:
    digest = hashlib.sha256(found.api_token.encode()).hexdigest()
    return {"name": "local", "sha256": digest, "scopes": ["read", "score"]}


def _generate_signing_keys() -> dict[str, Any]:
    key_id = f"local-{secrets.token_hex(4)}"
    return {"active": key_id, "keys": {key_id: base64.b64encode(secrets.token_bytes(32)).decode()}}
