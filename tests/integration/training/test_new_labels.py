"""How many labels are new, counted in a real database."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from scoring.promotion.entry import Interval
from scoring.promotion.ledger import Ledger
from scoring.settings import Settings, read_settings
from tests.support.decisions import proposal
from tests.support.training import definition
from training import sources
from training.new_labels import new_labels
from training.wake import Covered

NOW = datetime(2026, 4, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("BATON_CONNECTIONS__WAREHOUSE", f"sqlite:///{tmp_path / 'warehouse.db'}")
    monkeypatch.setenv("BATON_LEDGER_URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    return read_settings()


def fill(settings: Settings, **without: Any) -> None:
    """A ride every hour of the last ten, the first one ten hours ago; some have no fare, or no id."""
    metadata = sa.MetaData()
    trips = sa.Table(
        "trips",
        metadata,
        sa.Column("trip_id", sa.Text),
        sa.Column("pickup", sa.DateTime(timezone=True)),
        sa.Column("miles", sa.Double),
        sa.Column("fare", sa.Double),
    )
    engine = sa.create_engine(settings.need_connection("warehouse"))
    rows = [
        {
            "trip_id": None if number in without.get("id", ()) else f"t{number}",
            "pickup": NOW - (10 - number) * HOUR,
            "miles": 1.0,
            "fare": None if number in without.get("fare", ()) else 9.0,
        }
        for number in range(10)
    ]
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(trips), rows)
    engine.dispose()


def champion(settings: Settings, until: datetime) -> None:
    """Enter a champion whose data end there."""
    data = Interval(start=until - timedelta(days=30), end=until)
    Ledger.open(settings.need_ledger_url()).decide(msgspec.structs.replace(proposal(model="fare"), interval=data))


def test_without_a_champion_every_label_of_the_history_is_new_that_is_known_by_now(settings: Settings) -> None:
    fill(settings, fare=[3], id=[5])
    # A label is known an hour after the ride: that of the last one is, since its hour ends now, and is not counted yet.
    assert new_labels(definition(), settings, None, NOW) == 7


def test_labels_count_from_the_end_of_the_champions_data_by_when_they_became_known(settings: Settings) -> None:
    fill(settings)
    champion(settings, NOW - 4 * HOUR)
    assert new_labels(definition(), settings, None, NOW) == 4


def test_what_a_refused_run_has_seen_is_not_new_again(settings: Settings) -> None:
    fill(settings)
    champion(settings, NOW - 4 * HOUR)
    seen = Covered(run_id="labels__1", at=NOW - 2 * HOUR, until=NOW - 2 * HOUR)
    assert new_labels(definition(), settings, seen, NOW) == 2
    assert new_labels(definition(), settings, Covered(run_id="labels__2", at=NOW, until=NOW), NOW) == 0


def test_labels_that_are_joined_from_another_source_are_counted_too(settings: Settings, tmp_path: Path) -> None:
    fill(settings)
    paid = "\n".join(f"t{number},9.0" for number in range(5))
    (tmp_path / "paid.csv").write_text(f"ride,fare\n{paid}\n")
    own = definition()
    rides = sources.sql("warehouse", "trips")
    fares = sources.files(
        f"{tmp_path / 'paid.csv'}", name="paid", brings=["fare"], join=sources.by_key({"ride": "trip_id"})
    )
    several = msgspec.structs.replace(own, source=None, sources=(rides, fares))
    assert new_labels(several, settings, None, NOW) == 5
