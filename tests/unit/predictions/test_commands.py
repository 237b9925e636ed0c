"""``baton predictions``: the tables are made, and what is old goes."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from scoring import cli
from scoring.contract.errors import ConfigurationError
from scoring.predictions.database import open_database
from tests.support.predictions import lettered, predicted, store, stored


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.group, ["predictions", *arguments])


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    found = f"sqlite:///{tmp_path / 'predictions.db'}"
    monkeypatch.setenv("BATON_PREDICTIONS_URL", found)
    return found


def test_migrating_says_what_it_did_and_can_be_repeated(url: str) -> None:
    assert run("migrate").output == f"the predictions database at {url} is at revision 0001\n"
    assert json.loads(run("migrate", "--json").output) == {"revision": "0001", "before": "0001"}


def test_what_is_old_goes_once_it_was_looked_at(url: str) -> None:
    run("migrate")
    database, now = open_database(url), datetime.now(UTC)
    ages = [timedelta(days=days) for days in (100, 91, 3, 1)]
    store(database, *(predicted(n, scored_at=now - age) for n, age in enumerate(ages)))
    store(database, lettered(0, at=now))
    looked = run("prune", "--older-than", "90d", "--dry-run")
    assert "predictions         2" in looked.output
    assert "would go: what is older than" in looked.output
    assert len(stored(database)) == 4
    gone = run("prune", "--older-than", "90d", "--json")
    assert json.loads(gone.stdout)["rows"] == {"predictions": 2, "dead_letters": 0, "unreadable_records": 0}
    assert [found.place.offset for found in stored(database)] == [2, 3]
    database.engine.dispose()


@pytest.mark.parametrize("span", ["", "90", "d", "0d", "-1d", "90m", "1000000d"])
def test_what_is_no_span_of_time_is_refused(url: str, span: str) -> None:
    found = run("prune", "--older-than", span)
    assert found.exit_code == 2
    assert "12h, 90d or 52w" in found.output


def test_tables_that_were_never_made_are_named_with_the_command_that_makes_them(url: str) -> None:
    found = run("prune", "--older-than", "90d")
    assert isinstance(found.exception, ConfigurationError)
    assert "baton predictions migrate" in str(found.exception)
    assert url in str(found.exception)
