"""The tables of predictions on SQLite and on PostgreSQL: what is written, and what comes back."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from itertools import permutations
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scoring.contract.dead_letter import REFERENCE_HEADER, Reason, refer
from scoring.contract.errors import ConfigurationError, ContractError, Unavailable
from scoring.contract.prediction import decode_prediction
from scoring.database.connection import Database
from scoring.database.migrations import migrate
from scoring.predictions import tables
from scoring.predictions.database import MIGRATIONS, open_database
from scoring.predictions.keys import key_text
from scoring.predictions.prune import delete, old
from scoring.predictions.reading import Predictions
from scoring.predictions.rows import prediction_row
from scoring.predictions.stored import StoredPrediction
from scoring.predictions.writing import Batch, Gap, Move, Overtaken, Partition, Refused, Tables
from tests.support.postgres import MakeDatabase
from tests.support.predictions import (
    INPUT,
    LETTERS,
    MOMENT,
    PLACE,
    letter,
    lettered,
    moved,
    predicted,
    prediction,
    record,
    rows,
    store,
    store_unreadable,
    stored,
    stored_letters,
    stored_others,
)

PARTITION = Partition(PLACE.topic_id, PLACE.partition, PLACE.topic)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
# A lone surrogate is not in JSON.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.one_of(FLOATS, TEXTS, st.booleans(), st.none())
TIMES = st.datetimes(timezones=st.just(UTC))
PREDICTIONS = st.builds(
    prediction,
    score=FLOATS,
    decision=st.one_of(st.none(), st.booleans()),
    label=st.one_of(st.none(), TEXTS.filter(lambda text: "\0" not in text)),
    probabilities=st.one_of(st.none(), st.dictionaries(TEXTS, FLOATS, max_size=3)),
    event_time=TIMES,
    scored_at=TIMES,
    pass_through=st.dictionaries(TEXTS, VALUES, max_size=3),
    lookups=st.dictionaries(TEXTS, st.dictionaries(TEXTS, VALUES, max_size=2), max_size=2),
)
KEYS = st.one_of(st.none(), st.binary(max_size=20), TEXTS.map(str.encode), st.binary(min_size=990, max_size=1_010))
HEADERS = st.lists(st.tuples(TEXTS, st.one_of(st.none(), st.binary(max_size=9))), max_size=3).map(tuple)
LENIENT = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def counted() -> Iterator[int]:
    return iter(range(10_000))


def table(database: Database, name: str) -> list[sa.RowMapping]:
    with database.reading() as connection:
        return list(connection.execute(sa.select(tables.metadata.tables[name])).mappings())


# --- what comes back ----------------------------------------------------------------------------------------------


@LENIENT
@given(made=PREDICTIONS, key=KEYS, headers=HEADERS)
def test_a_prediction_comes_back_whatever_its_numbers_texts_and_times_are(
    predictions: Predictions, predictions_database: Database, counted: Iterator[int], made: Any, key: Any, headers: Any
) -> None:
    offset = next(counted)
    place, own = moved(PLACE, offset=offset), moved(INPUT, offset=offset)
    value = msgspec.json.encode(msgspec.structs.replace(made, input=own))
    store(predictions_database, record(value, place, key=key, headers=headers))
    text = None if key is None else key_text(key)
    expected = StoredPrediction(
        prediction=decode_prediction(value), place=place, record_key=text, key=key, headers=headers
    )
    (found,) = predictions.of_input(INPUT.topic, 0, offset)
    expected = msgspec.structs.replace(
        expected, pass_through_text=text_of(made.pass_through), lookups_text=text_of(made.lookups)
    )
    assert found == expected
    assert math.copysign(1, found.prediction.score) == math.copysign(1, made.score)
    if text is not None:
        assert expected in predictions.history("small", text, limit=1_000).predictions


def text_of(document: Any) -> str | None:
    return msgspec.json.encode(document).decode() if document else None


@pytest.mark.parametrize("written", ["1545", "1545.0", "1.50", "-0.0", "1e3", "12345678901234567890123"])
def test_a_number_is_written_as_its_record_writes_it(
    predictions: Predictions, predictions_database: Database, written: str
) -> None:
    value = msgspec.json.decode(msgspec.json.encode(prediction()))
    raw = msgspec.Raw(f'{{"x": {written}}}'.encode())
    document = {**value, "pass_through": raw, "lookups": {"near": raw}}
    store(predictions_database, record(msgspec.json.encode(document)))
    latest = predictions.latest("small", "a")
    assert latest is not None
    assert latest.pass_through_text == f'{{"x": {written}}}'
    assert latest.lookups_text == f'{{"near":{{"x": {written}}}}}'
    assert latest.prediction.pass_through == {"x": float(written)}


@pytest.mark.parametrize("score", [-0.0, 0.0, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, 1.0])
def test_a_number_keeps_every_bit(predictions: Predictions, predictions_database: Database, score: float) -> None:
    fields: dict[str, Any] = {"score": score, "pass_through": {"x": score}, "probabilities": {"a": score}}
    store(predictions_database, predicted(**fields))
    latest = predictions.latest("small", "a")
    assert latest is not None
    found = latest.prediction
    assert found.probabilities is not None
    for number in (found.score, found.pass_through["x"], found.probabilities["a"]):
        assert isinstance(number, float)
        assert (number, math.copysign(1, number)) == (score, math.copysign(1, score))


@pytest.mark.parametrize("moment", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_times_at_both_ends_of_the_calendar_come_back(
    predictions: Predictions, predictions_database: Database, moment: datetime
) -> None:
    store(predictions_database, predicted(event_time=moment, scored_at=moment))
    (found,) = predictions.history("small", "a").predictions
    assert (found.prediction.event_time, found.prediction.scored_at) == (moment, moment)


@LENIENT
@given(value=st.one_of(st.none(), st.binary(max_size=50)), key=KEYS, own=HEADERS, reason=st.sampled_from(Reason))
def test_a_dead_letter_comes_back_with_its_inputs_key_value_and_headers(
    predictions: Predictions,
    predictions_database: Database,
    counted: Iterator[int],
    value: Any,
    key: Any,
    own: Any,
    reason: Reason,
) -> None:
    offset = next(counted)
    fields = {"origin": moved(INPUT, offset=offset), "reason": reason}
    store(predictions_database, lettered(offset, value=value, key=key, own=own, **fields))
    (found,) = predictions.dead_letters_of_input(INPUT.topic_id, 0, offset)
    assert found.letter == letter(**fields)
    assert (found.place, found.by_reference) == (moved(LETTERS, offset=offset), False)
    assert (found.key, found.value, found.headers) == (key, value, own)


def test_a_dead_letter_by_reference_comes_back_as_one(predictions: Predictions, predictions_database: Database) -> None:
    headers = (*letter().headers(), (REFERENCE_HEADER, b"1"))
    store(predictions_database, record(refer(INPUT, b"x"), LETTERS, key=None, headers=headers))
    (found,) = predictions.dead_letters_of_input(INPUT.topic, 0, 0)
    assert (found.by_reference, found.value, found.key) == (True, refer(INPUT, b"x"), None)


def test_what_is_neither_is_kept_as_it_was_with_the_reason(predictions_database: Database) -> None:
    odd = record(b"\0\xff", key=None, headers=(("a", None), ("a", b"\xff"), ("b", b"")))
    store_unreadable(predictions_database, odd, "not a prediction: it is nothing")
    (found,) = stored_others(predictions_database)
    assert (found.record, found.reason) == (odd, "not a prediction: it is nothing")


def test_large_batches_come_back_in_the_order_of_their_topic(predictions_database: Database) -> None:
    made = [predicted(n, key=b"%d" % (n % 7), score=n / 7) for n in range(3_000)]
    store(predictions_database, *made)
    found = stored(predictions_database)
    assert [(f.place.offset, f.prediction.score, f.key) for f in found] == [
        (r.place.offset, decode_prediction(r.value or b"").score, r.key) for r in made
    ]


# --- questions ----------------------------------------------------------------------------------------------------


def test_the_latest_of_a_key_is_that_of_the_highest_input_offset_whatever_the_order_of_arrival(
    predictions: Predictions, predictions_database: Database
) -> None:
    for number, order in enumerate(permutations((1, 2, 3))):
        key, model = b"%d" % number, f"m{number}"
        for place, offset in enumerate(order):
            at = moved(PLACE, topic=model, topic_id=model)
            store(predictions_database, predicted(place, key=key, input_offset=offset, place=at, model=model))
        found = predictions.latest(model, str(number))
        assert found is not None
        assert found.prediction.input.offset == 3


@pytest.mark.parametrize("together", [True, False])
def test_of_two_input_partitions_the_one_that_was_scored_later_is_the_latest(
    predictions: Predictions, predictions_database: Database, together: bool
) -> None:
    records = [predicted(0, input_offset=900), predicted(1, input_offset=3, input_partition=1, later_s=1)]
    if together:
        store(predictions_database, *records)
    else:
        for each in reversed(records):
            place = moved(each.place, partition=each.place.offset)
            store(predictions_database, msgspec.structs.replace(each, place=place))
    found = predictions.latest("small", "a")
    assert found is not None
    assert found.prediction.input.partition == 1


def test_models_keys_and_those_without_any_are_kept_apart(
    predictions: Predictions, predictions_database: Database
) -> None:
    store(predictions_database, predicted(0), predicted(1, key=b"b"), predicted(2, key=None), predicted(3, model="big"))
    assert predictions.latest("small", "none") is None
    assert len(rows(predictions_database, tables.latest)) == 3
    assert [f.place.offset for f in predictions.history("small", "a").predictions] == [0]
    assert [f.place.offset for f in predictions.history("big", "a").predictions] == [3]
    assert len(stored(predictions_database)) == 4


def test_a_history_is_paged_newest_first_and_new_rows_move_no_page(
    predictions: Predictions, predictions_database: Database
) -> None:
    made = [predicted(n, later_s=n // 3) for n in range(10)]  # three of a micro-batch have one time
    store(predictions_database, *made)
    page, seen = predictions.history("small", "a", limit=4), list[int]()
    store(predictions_database, *(predicted(n, later_s=60) for n in range(10, 12)))
    while True:
        seen += [found.place.offset for found in page.predictions]
        if page.before is None:
            break
        page = predictions.history("small", "a", before=page.before, limit=4)
    assert seen == list(range(9, -1, -1))


def test_a_page_that_ends_with_the_last_row_is_the_last(
    predictions: Predictions, predictions_database: Database
) -> None:
    store(predictions_database, *map(predicted, range(4)))
    assert predictions.history("small", "a", limit=4).before is None
    assert predictions.history("small", "none") == predictions.history("none", "a")


@pytest.mark.parametrize("before", ["", "x", "W10", "é", "WyIyMDI2LTAxLTAxVDAwOjAwOjAwWiIsMSwiAAAiLDAsMF0"])
def test_a_page_that_nobody_made_is_refused(predictions: Predictions, before: str) -> None:
    with pytest.raises(ContractError, match="begin without it"):
        predictions.history("small", "a", before=before)


def test_an_input_is_found_by_its_topics_name_or_id_with_all_that_came_of_it(
    predictions: Predictions, predictions_database: Database
) -> None:
    again = moved(INPUT, topic_id="made-again", offset=5)
    store(predictions_database, predicted(0, input_offset=5), predicted(1, input_offset=5), predicted(2, input=again))
    by_name = predictions.of_input("small.input", 0, 5)
    assert sorted(found.place.offset for found in by_name) == [0, 1, 2]
    assert [found.place.offset for found in predictions.of_input("input-id", 0, 5)] == [1, 0]
    assert [found.place.offset for found in predictions.of_input("made-again", 0, 5)] == [2]
    for topic, partition, offset in [("other", 0, 5), ("small.input", 1, 5), ("small.input", 0, 6)]:
        assert predictions.of_input(topic, partition, offset) == []


def test_what_cannot_be_in_the_tables_is_simply_not_found(predictions: Predictions) -> None:
    for number in (2**31, 2**63, 10**30, -1):
        assert predictions.of_input("small.input", number, 0) == []
        assert predictions.dead_letters_of_input("small.input", 0, number if number != 2**31 else 2**63) == []
    for text in ("a\0b", "\udcff", "\ud800", "base64:\0"):
        assert predictions.of_input(text, 0, 0) == []
        assert predictions.latest(text, text) is None
        assert predictions.history(text, text).predictions == ()


# --- offsets ------------------------------------------------------------------------------------------------------


def next_offset(database: Database) -> int:
    return Tables(database).begin(PARTITION, 999)


def test_a_partition_begins_where_it_is_told_once(predictions_database: Database) -> None:
    assert Tables(predictions_database).begin(PARTITION, 7) == 7
    assert Tables(predictions_database).begin(PARTITION, 0) == 7
    other = Partition("made-again", PLACE.partition, PLACE.topic)
    assert Tables(predictions_database).begin(other, 0) == 0


def test_of_two_sinks_that_read_the_same_the_second_writes_nothing(predictions_database: Database) -> None:
    assert Tables(predictions_database).begin(PARTITION, 0) == 0
    batch = Batch([Move(PARTITION, 0, 2)], [prediction_row(predicted(n)) for n in range(2)])
    Tables(predictions_database).write(batch)
    with pytest.raises(Overtaken, match=r"small\.predictions/0 from offset 0"):
        Tables(predictions_database).write(batch)
    longer = Batch([Move(PARTITION, 0, 3)], [prediction_row(predicted(n)) for n in range(3)])
    with pytest.raises(Overtaken):
        Tables(predictions_database).write(longer)
    assert next_offset(predictions_database) == 2
    assert len(stored(predictions_database)) == 2


def test_a_batch_is_written_whole_or_not_at_all(predictions_database: Database) -> None:
    store(predictions_database, predicted(0))
    twice = [prediction_row(predicted(n)) for n in (1, 0)]  # the second one is there
    with pytest.raises(ConfigurationError, match="changed rows or offsets by hand"):
        Tables(predictions_database).write(Batch([Move(PARTITION, 1, 2)], twice))
    assert next_offset(predictions_database) == 1
    assert [found.place.offset for found in stored(predictions_database)] == [0]


@pytest.mark.parametrize("changes", [{"sequence": 2**63}, {"topic_offset": 2**63}, {"label": "\ud800"}])
def test_a_value_that_the_database_does_not_take_is_no_outage(
    predictions_database: Database, changes: dict[str, Any]
) -> None:
    tables_of = Tables(predictions_database)
    known = tables_of.begin(PARTITION, 0)
    odd = msgspec.structs.replace(prediction_row(predicted(0)), **changes)
    with pytest.raises(Refused):
        tables_of.write(Batch([Move(PARTITION, known, 1)], [prediction_row(predicted(1)), odd]))
    assert stored(predictions_database) == []


def test_tables_keep_their_identity_and_others_have_another(predictions_database: Database, tmp_path: Path) -> None:
    other = open_database(f"sqlite:///{tmp_path / 'other.db'}")
    migrate(other, MIGRATIONS)
    assert Tables(predictions_database).identity() == Tables(predictions_database).identity()
    assert Tables(predictions_database).identity() != Tables(other).identity()
    other.engine.dispose()


def test_a_gap_is_on_record_and_stepped_over_once(predictions_database: Database) -> None:
    Tables(predictions_database).begin(PARTITION, 10)
    Tables(predictions_database).note_gap(Gap(PARTITION, 10, 25, MOMENT))
    with pytest.raises(Overtaken):
        Tables(predictions_database).note_gap(Gap(PARTITION, 10, 25, MOMENT))
    (found,) = table(predictions_database, "sink_gaps")
    assert (found["first_offset"], found["next_offset"], found["found_at"]) == (10, 25, MOMENT)
    assert next_offset(predictions_database) == 25


# --- the database -------------------------------------------------------------------------------------------------


def test_tables_that_were_never_made_are_named_with_the_command_that_makes_them(predictions_url: str) -> None:
    database = open_database(predictions_url)
    with database.engine.begin() as connection:
        connection.execute(sa.text("create table unrelated (a integer)"))
    with pytest.raises(ConfigurationError, match="baton predictions migrate"):
        Predictions.open(predictions_url)
    assert migrate(database, MIGRATIONS) is None
    assert migrate(database, MIGRATIONS) == tables.REVISION
    Predictions.open(predictions_url).close()
    database.engine.dispose()


def test_a_missing_sqlite_file_is_not_made_by_reading(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="baton predictions migrate"):
        Predictions.open(f"sqlite:///{tmp_path / 'none.db'}")
    assert not (tmp_path / "none.db").exists()


def test_a_server_that_is_away_is_unavailable_and_nothing_else() -> None:
    with pytest.raises(Unavailable):
        Predictions.open("postgresql+psycopg://u@127.0.0.1:1/none")


def test_a_database_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"SQLite .* or PostgreSQL"):
        open_database("postgresql+asyncpg://u@127.0.0.1:1/none")


def test_the_migrations_make_the_tables_that_the_queries_are_built_from(predictions_database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    with predictions_database.engine.connect() as connection:
        options = {"version_table": tables.VERSION_TABLE, "compare_type": False}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, tables.metadata) == []
    scripts = ScriptDirectory(str(files("scoring.predictions") / "migrations"))
    assert scripts.get_heads() == [tables.REVISION]


def test_times_come_back_whatever_zone_the_servers_are_in(make_postgres_database: MakeDatabase) -> None:
    url = make_postgres_database()
    database = open_database(url)
    name = database.engine.url.database
    with database.engine.begin() as connection:
        connection.execute(sa.text(f"alter database {name} set timezone = 'Pacific/Kiritimati'"))
    database.engine.dispose()
    migrate(database, MIGRATIONS)
    end = datetime.max.replace(tzinfo=UTC)
    store(database, predicted(event_time=end))
    assert stored(database)[0].prediction.event_time == end
    database.engine.dispose()


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_has_no_place_for_every_text_is_refused(
    make_postgres_database: MakeDatabase, encoding: str
) -> None:
    url = sa.make_url(make_postgres_database())
    name = f"{url.database}_{encoding.lower()}"
    made = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with made.connect() as connection:
        connection.execute(sa.text(f"create database {name} template template0 encoding '{encoding}' locale 'C'"))
    database = open_database(url.set(database=name).render_as_string(hide_password=False))
    with pytest.raises(ConfigurationError, match=f"encoded in {encoding}.*encoding 'UTF8'"):
        migrate(database, MIGRATIONS)
    database.engine.dispose()


def test_dead_letters_are_in_the_order_of_their_topic(predictions_database: Database) -> None:
    store(predictions_database, *map(lettered, range(3)))
    assert [found.place.offset for found in stored_letters(predictions_database)] == [0, 1, 2]


# --- pruning ------------------------------------------------------------------------------------------------------


def test_what_is_old_goes_piece_by_piece_and_the_latest_of_each_key_stays(
    predictions: Predictions, predictions_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scoring.predictions.prune.PIECE_ROWS", 3)
    now = datetime.now(UTC)
    ages = [timedelta(days=100 - n) for n in range(8)] + [timedelta(days=1)] * 2
    store(
        predictions_database,
        *(predicted(n, key=b"%d" % (n % 3), scored_at=now - age) for n, age in enumerate(ages)),
    )
    store(predictions_database, lettered(0, at=now - timedelta(days=91)), lettered(1, at=now))
    found = old(predictions_database, timedelta(days=90))
    assert {one.table: one.rows for one in found} == {"predictions": 8, "dead_letters": 1, "unreadable_records": 0}
    pauses: list[float] = []
    assert [list(delete(predictions_database, one, pauses.append)) for one in found] == [[3, 3, 2], [1], []]
    assert len(pauses) == (2 if predictions_database.engine.dialect.name == "sqlite" else 0)
    assert [kept.place.offset for kept in stored(predictions_database)] == [8, 9]
    assert [kept.place.offset for kept in stored_letters(predictions_database)] == [1]
    assert [predictions.latest("small", key) is not None for key in ("0", "1", "2")] == [True, True, True]
    assert {one.rows for one in old(predictions_database, timedelta(days=90))} == {0}


def test_a_server_that_takes_no_writes_as_during_a_failover_is_unavailable(
    make_postgres_database: MakeDatabase,
) -> None:
    database = open_database(make_postgres_database())
    migrate(database, MIGRATIONS)
    known = Tables(database).begin(PARTITION, 0)
    with database.engine.begin() as connection:
        name = database.engine.url.database
        connection.execute(sa.text(f"alter database {name} set default_transaction_read_only = on"))
    database.engine.dispose()
    with pytest.raises(Unavailable, match="read-only"):
        Tables(database).begin(PARTITION, 0)
    with pytest.raises(Unavailable, match="read-only"):
        Tables(database).write(Batch([Move(PARTITION, known, 1)], [prediction_row(predicted(0))]))
    database.engine.dispose()


def test_the_tables_may_stand_in_a_schema_of_their_own(make_postgres_database: MakeDatabase) -> None:
    url = make_postgres_database()
    plain = open_database(url)
    with plain.engine.begin() as connection:
        connection.execute(sa.text("create schema baton"))
    database = open_database(f"{url}&options=-csearch_path%3Dbaton")
    assert migrate(database, MIGRATIONS) is None
    assert migrate(database, MIGRATIONS) == tables.REVISION
    store(database, predicted(0))
    assert len(stored(database)) == 1
    with plain.engine.connect() as connection:
        assert connection.execute(sa.text("select count(*) from baton.predictions")).scalar_one() == 1
    for opened in (plain, database):
        opened.engine.dispose()
