import json
import os
import stat
from pathlib import Path

from local.credentials import airflow_passwords_file, load_or_create, signing_keys_file, write_private
from scoring.contract.envelope import Keyring


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_can_read_what_is_made(tmp_path: Path) -> None:
    load_or_create(tmp_path / "secrets")
    assert _mode(tmp_path / "secrets") == 0o700
    files = list((tmp_path / "secrets").iterdir())
    assert len(files) == 4
    assert {_mode(path) for path in files} == {0o600}


def test_permissions_that_were_widened_are_narrowed_again(tmp_path: Path) -> None:
    load_or_create(tmp_path)
    for path in tmp_path.iterdir():
        path.chmod(0o644)
    tmp_path.chmod(0o755)
    load_or_create(tmp_path)
    assert _mode(tmp_path) == 0o700
    assert {_mode(path) for path in tmp_path.iterdir()} == {0o600}


def test_secrets_stay_the_same_from_start_to_start(tmp_path: Path) -> None:
    first, keys = load_or_create(tmp_path), signing_keys_file(tmp_path).read_bytes()
    assert load_or_create(tmp_path) == first
    assert signing_keys_file(tmp_path).read_bytes() == keys


def test_every_stack_has_its_own_secrets(tmp_path: Path) -> None:
    assert load_or_create(tmp_path / "a") != load_or_create(tmp_path / "b")


def test_a_secret_that_an_earlier_version_did_not_know_is_added(tmp_path: Path) -> None:
    first = load_or_create(tmp_path)
    stored = json.loads((tmp_path / "stack.json").read_text())
    del stored["mlflow_password"]
    (tmp_path / "stack.json").write_text(json.dumps(stored))
    second = load_or_create(tmp_path)
    assert second.airflow_admin_password == first.airflow_admin_password
    assert second.mlflow_password
    assert load_or_create(tmp_path) == second


def test_the_signing_keys_are_a_keyring_that_baton_reads(tmp_path: Path) -> None:
    load_or_create(tmp_path)
    keyring = Keyring.from_json(signing_keys_file(tmp_path).read_bytes())
    assert list(keyring.keys) == [keyring.active]
    assert len(keyring.keys[keyring.active]) == 32


def test_airflow_finds_a_password_for_both_users(tmp_path: Path) -> None:
    secrets = load_or_create(tmp_path)
    assert json.loads(airflow_passwords_file(tmp_path).read_text()) == {
        "admin": secrets.airflow_admin_password,
        "viewer": secrets.airflow_viewer_password,
    }


def test_a_private_file_is_private_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_private(tmp_path / "file", "text")
    finally:
        os.umask(before)
    assert _mode(tmp_path / "file") == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
