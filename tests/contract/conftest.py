"""One suite per port: every adapter runs the same tests."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from scoring.database.connection import Database
from scoring.database.migrations import migrate
from scoring.predictions.database import MIGRATIONS
from scoring.predictions.database import open_database as open_predictions
from scoring.predictions.reading import Predictions
from scoring.promotion.ledger import Ledger
from scoring.registry.open import open_registry
from scoring.registry.port import Registry
from tests.support.postgres import MakeDatabase


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    make: MakeDatabase = request.getfixturevalue("make_postgres_database")
    return make()


@pytest.fixture
def ledger(ledger_url: str) -> Ledger:
    return Ledger.open(ledger_url)


@pytest.fixture(params=["sqlite", "postgresql"])
def predictions_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'predictions.db'}"
    make: MakeDatabase = request.getfixturevalue("make_postgres_database")
    return make()


@pytest.fixture
def predictions_database(predictions_url: str) -> Iterator[Database]:
    """A database with the tables, empty."""
    database = open_predictions(predictions_url)
    migrate(database, MIGRATIONS)
    yield database
    database.engine.dispose()


@pytest.fixture
def predictions(predictions_url: str, predictions_database: Database) -> Iterator[Predictions]:
    found = Predictions.open(predictions_url)
    yield found
    found.close()


@pytest.fixture(scope="session")
def empty_mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow takes seconds to make its tables: they are made once and copied."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    open_registry(f"sqlite:///{path}").versions("none")
    return path


@pytest.fixture(params=["folder", "mlflow"])
def registry_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        (tmp_path / "registry").mkdir()
        return (tmp_path / "registry").as_uri()
    shutil.copy(request.getfixturevalue("empty_mlflow_database"), tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def registry(registry_uri: str) -> Registry:
    return open_registry(registry_uri)
