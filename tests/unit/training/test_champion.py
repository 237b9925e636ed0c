from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import sqlalchemy as sa

from scoring.contract.clock import epoch_s
from scoring.contract.encoder import Columns
from scoring.contract.manifest import Manifest
from scoring.settings import Settings
from tests.support.bundles import small_bundle
from tests.support.training import END, START, definition, request
from training import field
from training.champion import Holdout, NoBaseline, _columns_for
from training.definition import Source
from training.feature import is_missing
from training.sources import by_key, files

TABLES = {"trips": (1.0, 2.0), "old_trips": (10.0, 20.0)}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Two rides in both tables, with other miles in the second, and with kilometres."""
    url = f"sqlite:///{tmp_path / 'warehouse.db'}"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for table, miles in TABLES.items():
            connection.execute(sa.text(f"create table {table} (trip_id text, pickup timestamp, miles real, km real)"))
            for key, value in zip("ab", miles, strict=True):
                row = {"key": key, "at": f"{START:%Y-%m-%d %H:%M:%S}.000000", "miles": value, "km": value * 1.6}
                connection.execute(sa.text(f"insert into {table} values (:key, :at, :miles, :km)"), row)
    engine.dispose()
    return Settings(connections={"warehouse": url, "elsewhere": url}, snapshot_dir=tmp_path / "pipeline")


def champion(folder: Path, **changes: Any) -> Manifest:
    """A champion of the same fields that read them from another place."""
    source = msgspec.structs.replace(definition().manifest_sources[0], **changes)
    bundle = small_bundle(folder / "bundle")
    return msgspec.structs.replace(bundle.manifest, schema=definition().schema, sources=(source,))


def holdout(keys: str = "ba") -> Holdout:
    rows = len(keys)
    columns: Columns = {
        "trip_id": list(keys),
        "pickup": np.full(rows, epoch_s(START)),
        "miles": np.array([TABLES["trips"]["ab".index(key)] for key in keys]),
    }
    return Holdout(schema=definition().schema, columns=columns, targets=np.zeros(rows), start=START, end=END)


def test_a_champion_of_the_same_columns_is_scored_on_the_holdouts_own(settings: Settings, tmp_path: Path) -> None:
    rows = holdout()
    assert _columns_for(champion(tmp_path), definition(), request(refresh=True), settings, rows) is rows.columns


@pytest.mark.parametrize(
    ("changes", "miles"),
    [
        ({"table": "old_trips"}, [20.0, 10.0]),
        ({"columns": (("trip_id", "trip_id"), ("pickup", "pickup"), ("miles", "km"))}, [3.2, 1.6]),
        ({"connection": "elsewhere"}, [2.0, 1.0]),
    ],
    ids=["table", "column", "connection"],
)
def test_a_champion_that_read_its_fields_elsewhere_is_scored_on_what_it_reads(
    settings: Settings, tmp_path: Path, changes: dict[str, Any], miles: list[float]
) -> None:
    rows = holdout()
    found = _columns_for(champion(tmp_path, **changes), definition(), request(refresh=True), settings, rows)
    assert found is not rows.columns
    assert (found["trip_id"], list(found["miles"])) == (["b", "a"], miles)


def test_a_champion_with_another_event_time_is_scored_as_of_its_own(settings: Settings, tmp_path: Path) -> None:
    """Its lookups are as of the moment that it calls the event, which the holdout's are not."""
    made = definition(fields=[*definition().fields, field.time("dropoff", required=True)])
    theirs = msgspec.structs.replace(made.schema, event_time="dropoff")
    manifest = msgspec.structs.replace(champion(tmp_path), schema=theirs, sources=made.manifest_sources)
    rows = holdout()
    late = np.array([epoch_s(END) + 7_200.0, epoch_s(END) + 3_600.0])  # beyond the holdout, by the champion's clock
    rows = msgspec.structs.replace(rows, schema=made.schema, columns={**rows.columns, "dropoff": late})
    engine = sa.create_engine(settings.need_connection("warehouse"))
    with engine.begin() as connection:
        connection.execute(sa.text("alter table trips add column dropoff timestamp"))
        for key, hours in (("a", 1), ("b", 2)):
            moment = f"{END + timedelta(hours=hours):%Y-%m-%d %H:%M:%S}.000000"
            connection.execute(
                sa.text("update trips set dropoff = :at where trip_id = :key"), {"at": moment, "key": key}
            )
    engine.dispose()
    found = _columns_for(manifest, made, request(refresh=True), settings, rows)
    assert found is not rows.columns
    assert (found["trip_id"], list(found["dropoff"])) == (["b", "a"], late.tolist())

    # The same schema with the same event time is scored on the holdout's own columns.
    same = msgspec.structs.replace(manifest, schema=made.schema)
    assert _columns_for(same, made, request(refresh=True), settings, rows) is rows.columns


def test_a_champion_with_another_key_is_aligned_by_it_or_is_no_baseline(settings: Settings, tmp_path: Path) -> None:
    made = definition(fields=[*definition().fields, field.string("ride", required=True)])
    theirs = msgspec.structs.replace(made.schema, key="ride")
    source = msgspec.structs.replace(made.manifest_sources[0], table="old_trips")
    engine = sa.create_engine(settings.need_connection("warehouse"))
    with engine.begin() as connection:
        for table in TABLES:
            connection.execute(sa.text(f"alter table {table} add column ride text"))
            connection.execute(sa.text(f"update {table} set ride = 'ride ' || trip_id"))
    engine.dispose()
    manifest = msgspec.structs.replace(champion(tmp_path), schema=theirs, sources=(source,))
    rows = msgspec.structs.replace(
        holdout(), schema=made.schema, columns={**holdout().columns, "ride": ["ride b", "ride a"]}
    )
    with pytest.raises(NoBaseline, match="its key 'ride' is no field of the holdout"):
        _columns_for(manifest, definition(), request(refresh=True), settings, holdout())
    moved = msgspec.structs.replace(made, source=Source(connection="warehouse", table="old_trips"))
    fewer = msgspec.structs.replace(
        rows, schema=moved.schema, columns={name: rows.columns[name] for name in ("trip_id", "pickup", "ride")}
    )
    narrow = msgspec.structs.replace(
        moved, fields=[each for each in moved.fields if each.name != "miles"], features=[is_missing("ride")]
    )
    fewer = msgspec.structs.replace(fewer, schema=narrow.schema)
    found = _columns_for(manifest, narrow, request(refresh=True), settings, fewer)
    assert (found["ride"], list(found["miles"])) == (["ride b", "ride a"], [20.0, 10.0])


def test_rows_that_share_a_key_are_no_baseline(settings: Settings, tmp_path: Path) -> None:
    manifest = champion(tmp_path, table="old_trips")
    with pytest.raises(NoBaseline, match="the holdout has several rows with the key 'a'"):
        _columns_for(manifest, definition(), request(refresh=True), settings, holdout("aa"))
    engine = sa.create_engine(settings.need_connection("warehouse"))
    with engine.begin() as connection:
        connection.execute(sa.text("insert into old_trips select * from old_trips where trip_id = 'b'"))
    engine.dispose()
    with pytest.raises(NoBaseline, match="its source has several rows with the key 'b'"):
        _columns_for(manifest, definition(), request(refresh=True), settings, holdout())


def test_a_champion_of_several_sources_is_scored_on_what_they_make_together(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "rides.csv").write_text(f"trip_id,pickup\na,{START:%Y-%m-%d}\nb,{START:%Y-%m-%d}\n")
    (tmp_path / "miles.csv").write_text("trip,miles\na,10\nb,20\n")
    rides = files(f"{tmp_path}/rides.csv", timezone="UTC")
    miles = files(f"{tmp_path}/miles.csv", brings=["miles"], join=by_key({"trip": "trip_id"}))
    fares = files(f"{tmp_path}/fares.csv", brings=["fare"], join=by_key({"trip": "trip_id"}))
    theirs = definition(source=None, sources=[rides, miles, fares])
    manifest = msgspec.structs.replace(champion(tmp_path), sources=theirs.manifest_sources)
    found = _columns_for(manifest, definition(), request(), settings, holdout())
    assert (found["trip_id"], list(found["miles"])) == (["b", "a"], [20.0, 10.0])
    assert _columns_for(manifest, theirs, request(), settings, rows := holdout()) is rows.columns
