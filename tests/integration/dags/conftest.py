import json
from pathlib import Path

import pytest

from tests.support.arena import KEY

# Airflow and what it imports warn of things that nobody here can mend; our own warnings stay errors.
_WARNINGS = ("ignore", r"error::Warning:(baton_airflow|training|scoring)(\..*)?")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.integration)
            item.add_marker(pytest.mark.filterwarnings(*_WARNINGS))


@pytest.fixture(scope="session", autouse=True)
def airflow_database() -> None:
    """Airflow's own database, in the session's home."""
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture(autouse=True)
def signing_keys(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """By which tasks seal what they hand on."""
    keys = tmp_path_factory.mktemp("keys") / "keys.json"
    keys.write_text(json.dumps({"active": "k1", "keys": {"k1": KEY}}))
    monkeypatch.setenv("BATON_SIGNING_KEYS_FILE", str(keys))
