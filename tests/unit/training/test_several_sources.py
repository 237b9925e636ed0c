"""A definition of several sources: what it declares, what a run reads of each, and what is made of it."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scoring.contract.errors import ConfigurationError
from scoring.contract.features import FieldType
from scoring.settings import Settings
from tests.support.training import END, START, definition, request
from training import field, pipeline
from training.definition import ModelDefinition, Source
from training.errors import SnapshotDamaged
from training.messages import messages
from training.origins import origins_of, places_of_records
from training.snapshot import read_snapshot
from training.sources import as_of, by_key, files, sql


def several(folder: Path, **changes: Any) -> ModelDefinition:
    """Rides of two files, their weather as of the ride, and their fares by key."""
    values: dict[str, Any] = {
        "source": None,
        "sources": [
            files(f"{folder}/january.csv", timezone="UTC"),
            files(f"{folder}/february.csv", timezone="UTC"),
            files(
                f"{folder}/weather.csv",
                timezone="UTC",
                brings=["wind"],
                name="weather",
                join=as_of({"city": "city"}, valid_at="at", max_age=timedelta(days=40)),
            ),
            files(f"{folder}/fares.csv", brings=["fare"], name="fares", join=by_key({"trip": "trip_id"})),
        ],
        "fields": [*definition().fields, field.string("city"), field.number("wind")],
    }
    return definition(**{**values, **changes})


def write(folder: Path) -> None:
    trips = "trip_id,pickup,miles,city\n"
    (folder / "january.csv").write_text(f"{trips}a,2024-01-05 10:00:00,1.5,Bern\nb,2024-01-06 10:00:00,2.5,Basel\n")
    (folder / "february.csv").write_text(f"{trips}c,2024-02-05 10:00:00,3.5,Bern\n")
    (folder / "weather.csv").write_text("city,at,wind\nBern,2024-01-01,7\nBern,2024-02-01,9\nBern,2024-03-01,11\n")
    (folder / "fares.csv").write_text("trip,fare\na,10\nb,20\nc,30\n")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    write(tmp_path)
    return Settings(snapshot_dir=tmp_path / "pipeline")


def rows_of(made: ModelDefinition, settings: Settings, **changes: Any) -> dict[str, Any]:
    asked = request(**changes)
    kept = pipeline.snapshot(made, asked, settings, pipeline.pull(made, asked, settings))
    return {name: list(column) for name, column in read_snapshot(kept, made.source_types).items()}


def test_records_of_all_sources_become_one_snapshot_with_what_others_add(tmp_path: Path, settings: Settings) -> None:
    found = rows_of(several(tmp_path), settings)
    assert found["trip_id"] == ["a", "b", "c"]
    assert [*map(str, found["wind"])] == ["7.0", "nan", "9.0"]
    assert found["fare"] == [10.0, 20.0, 30.0]


def test_messages_of_several_sources_are_what_a_producer_would_have_sent(tmp_path: Path, settings: Settings) -> None:
    found = [*messages(several(tmp_path), settings, START, END)]
    assert [message.key for message in found] == [b"a", b"b", b"c"]
    assert msgspec.json.decode(found[2].value) == {
        "trip_id": "c",
        "pickup": "2024-02-05T10:00:00Z",
        "miles": 3.5,
        "city": "Bern",
        "wind": 9,
    }


def test_each_source_is_pulled_by_itself_and_once(tmp_path: Path, settings: Settings) -> None:
    made = several(tmp_path)
    first = pipeline.pull_source(made, request(), settings, "weather")
    assert (first.rows, first.reused, first.newest) == (3, False, START.replace(month=3))
    assert first.sentence.startswith("source 'weather': 3 rows, the newest of 2024-03-01T00:00:00Z; read in")
    (tmp_path / "weather.csv").unlink()
    again = pipeline.pull_source(made, request(run_id="another"), settings, "weather")
    assert (again.reused, again.sha256) == (True, first.sha256)
    assert again.sentence.endswith("and are not pulled again")


def test_a_refresh_pulls_again_and_says_how_it_differs(tmp_path: Path, settings: Settings) -> None:
    made = several(tmp_path)
    assert pipeline.pull_source(made, request(refresh=True), settings, "fares").sentence.startswith("source 'fares': 3")
    same = pipeline.pull_source(made, request(refresh=True), settings, "fares")
    assert (same.reused, same.added, same.removed) == (False, 0, 0)
    assert "pulled again, and the same as at" in same.sentence
    (tmp_path / "fares.csv").write_text("trip,fare\na,10\nb,21\nc,30\nd,40\n")
    changed = pipeline.pull_source(made, request(refresh=True), settings, "fares")
    assert (changed.added, changed.removed) == (2, 1)
    assert "pulled again: 2 were added and 1 are gone since" in changed.sentence


def test_a_run_before_all_labels_were_known_is_none_that_a_later_one_reuses(tmp_path: Path, settings: Settings) -> None:
    made, early, late = several(tmp_path), END + timedelta(minutes=10), END + timedelta(days=2)
    pipeline.pull_source(made, request(requested_at=early), settings, "fares")
    assert pipeline.pull_source(made, request(requested_at=early), settings, "fares").reused
    assert not pipeline.pull_source(made, request(requested_at=late), settings, "fares").reused
    assert pipeline.pull_source(made, request(requested_at=late + timedelta(days=9)), settings, "fares").reused


def test_a_source_that_fails_and_one_that_is_gone_are_named(tmp_path: Path, settings: Settings) -> None:
    made = several(tmp_path)
    (tmp_path / "fares.csv").write_text("trip,fare\na,ten\n")
    with pytest.raises(ConfigurationError, match=r"^source 'fares', file .*, row 1: 'ten' is not a number"):
        pipeline.pull(made, request(), settings)
    with pytest.raises(ConfigurationError, match="source 'fees': 'fare' has no such source any more"):
        pipeline.pull_source(made, request(), settings, "fees")


def test_what_was_kept_of_a_source_and_is_damaged_is_named(tmp_path: Path, settings: Settings) -> None:
    made, folder = several(tmp_path), tmp_path / "pipeline" / "sources" / "fare"
    pulled = [pipeline.pull_source(made, request(), settings, each.title) for each in made.all_sources]
    (folder / "rows" / f"{pulled[3].sha256}.parquet").unlink()
    with pytest.raises(SnapshotDamaged, match=r"source 'fares': .* pull it again"):
        pipeline.assemble(made, request(), settings, pulled)


def test_the_manifest_has_the_sources_of_the_known_fields_alone(tmp_path: Path) -> None:
    made = several(tmp_path)
    assert [source.title for source in made.all_sources] == ["january.csv", "february.csv", "weather", "fares"]
    assert [source.title for source in made.manifest_sources] == ["january.csv", "february.csv", "weather"]
    assert made.source_types["fare"] is FieldType.NUMBER
    assert sorted(made.source_types) == ["city", "fare", "miles", "pickup", "trip_id", "wind"]


def test_one_table_is_the_short_form_of_one_source() -> None:
    short = definition(source=Source(connection="warehouse", table="trips", columns={"miles": "km"}))
    long = definition(source=None, sources=[sql("warehouse", "trips", columns={"miles": "km"})])
    assert short.all_sources == long.all_sources
    assert short.manifest_sources == long.manifest_sources


NO_SOURCE = "sources: there is none; give source=Source(connection, table) for one table, or a list of sources"
BOTH = "source and sources: give one of them; source is the short form for one table"
ODD = [sql("warehouse", "trips", columns={"milage": "km"}), sql("billing", "fares", brings=["fare"])]
OF_ODD = [
    "source 'trips': 'milage' is neither a field nor the label",
    "source 'fares': it brings ['fare'], but nothing says how; give it a join, as_of or by_key",
]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"source": None}, [NO_SOURCE]),
        ({"sources": [sql("a", "b")]}, [BOTH]),
        ({"source": None, "sources": ODD}, OF_ODD),
    ],
    ids=["none", "both", "odd"],
)
def test_every_mistake_of_the_sources_is_told_at_once(changes: dict[str, Any], told: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        definition(**changes)
    lines = [line.removeprefix("  - ") for line in str(caught.value).splitlines()[1:]]
    assert lines == told


def test_what_is_known_at_the_event_cannot_be_found_by_what_is_known_later(tmp_path: Path) -> None:
    late = field.string("city", known_after=timedelta(days=1))
    with pytest.raises(
        ConfigurationError, match="'wind' is known at the event, but is found by 'city', which is known"
    ):
        several(tmp_path, fields=[*definition().fields, late, field.number("wind")])


def test_a_label_that_another_source_has_under_the_name_of_a_field_is_no_leak() -> None:
    fares = sql("billing", "fares", columns={"fare": "miles"}, brings=["fare"], join=by_key({"trip": "trip_id"}))
    assert definition(source=None, sources=[sql("warehouse", "trips"), fares]).label.column == "fare"
    with pytest.raises(ConfigurationError, match=r"nothing is left to predict .column 'miles' of the source"):
        definition(source=None, sources=[sql("warehouse", "trips", columns={"fare": "miles"})])


def test_a_field_is_another_where_its_place_its_column_or_what_it_is_found_by_is_another(tmp_path: Path) -> None:
    made = several(tmp_path)
    ours = origins_of(made.all_sources, "pickup")
    assert len(ours["miles"]) == 2
    moved = msgspec.structs.replace(made.all_sources[0], table="elsewhere")
    theirs = origins_of([moved, *made.all_sources[1:]], "pickup")
    assert theirs["fare"] != ours["fare"]
    assert origins_of(made.all_sources, "dropoff")["wind"] != ours["wind"]
    assert origins_of(made.all_sources, "dropoff")["fare"] == ours["fare"]
    assert len(places_of_records(made.all_sources)) == 2
