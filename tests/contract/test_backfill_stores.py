"""Where a backfill's rows are kept: SQLite, PostgreSQL and a folder of Parquet files, by one suite."""

import fcntl
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Semaphore
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import sqlalchemy as sa

from scoring.backfill.asked import asked_for
from scoring.backfill.catalog import Catalog
from scoring.backfill.chunks import Place
from scoring.backfill.lookahead import Span
from scoring.backfill.outcomes import COLUMNS, Outcomes
from scoring.backfill.plan import Plan
from scoring.backfill.refusals import Busy, OtherPlan, Superseded
from scoring.backfill.sql_store import file_lock, moments
from scoring.backfill.store import Kept, Store
from scoring.backfill.tables import MAXIMUM_NAME_CHARACTERS, REVISION, VERSION_TABLE, metadata, table_name
from scoring.contract.clock import epoch_s
from scoring.contract.errors import ConfigurationError
from scoring.database.types import UtcDateTime
from tests.support.backfills import rows_of
from tests.support.decisions import JANUARY, digest_for
from tests.support.postgres import MakeDatabase

DAY = timedelta(days=1)


@pytest.fixture(params=["sqlite", "postgresql", "folder"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return Place(model="small", name="one", folder=str(tmp_path / "out"))
    if request.param == "sqlite":
        return Place(model="small", name="one", url=f"sqlite:///{tmp_path / 'predictions.db'}")
    make: MakeDatabase = request.getfixturevalue("make_postgres_database")
    return Place(model="small", name="one", url=make())


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'predictions.db'}"
    make: MakeDatabase = request.getfixturevalue("make_postgres_database")
    return make()


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    store = place.open()
    with store.lock():
        yield store


def plan(days: int = 2, **more: Any) -> Plan:
    asked = asked_for("small", JANUARY, JANUARY + days * DAY, **more)
    span = Span(
        start=asked.start, end=asked.end, version="1", sequence=3, manifest_digest=digest_for("1"), lookahead=False
    )
    return Plan(asked=asked, spans=(span,))


ROWS: dict[str, list[Any]] = {
    "record_key": ["a", "Zoë 'x'", None],
    "event_time": [epoch_s(JANUARY), epoch_s(JANUARY + timedelta(microseconds=123_457)), None],
    "score": [0.1 + 0.2, 5e-324, None],
    "decision": [True, False, None],
    "label": ["early", 'so-called "late"', None],
    "probabilities": ['{"early":0.30000000000000004}', '{"early":-0.0}', None],
    "pass_through": ['{"id":"a\\u0000"}', '{"id":"\\t,\\n"}', None],
    "lookups": ['{"heat":{"degrees":null}}', '{"heat":{"degrees":1e-300}}', None],
    "reason": [None, None, "wrong-type"],
    "detail": [None, None, "Expected `float`, got `null` - at `$.x`"],
}


def outcomes(found: Plan, number: int, rows: dict[str, list[Any]] | None = None) -> Outcomes:
    columns = ROWS if rows is None else rows
    count = len(columns["score"])
    failures = sum(reason is not None for reason in columns["reason"])
    return Outcomes(found.chunks()[number], columns, count, failures, digest_for(str(number)))


NOTHING: dict[str, list[Any]] = {name: [] for name in COLUMNS}


EXTRA = ("version", "sequence", "manifest_digest", "lookahead", "place")


def kept_rows(place: Place) -> list[tuple[Any, ...]]:
    """The columns of ``ROWS`` and ``EXTRA`` of all rows in their order."""
    return rows_of(place, [*ROWS, *EXTRA])


def test_rows_come_back_to_the_last_bit(place: Place, store: Store) -> None:
    found = plan()
    store.begin(found, "somebody", "run")
    store.write("run", outcomes(found, 0))
    rows = kept_rows(place)
    times = [JANUARY, JANUARY + timedelta(microseconds=123_457), None]
    expected = {**ROWS, "event_time": times}
    assert [row[: len(ROWS)] for row in rows] == list(zip(*expected.values(), strict=True))
    assert [repr(row[2]) for row in rows] == ["0.30000000000000004", "5e-324", "None"]
    assert [row[len(ROWS) :] for row in rows] == [("1", 3, digest_for("1"), False, place) for place in range(3)]


def test_a_chunk_is_done_once_its_rows_are_there(place: Place, store: Store) -> None:
    found = plan()
    store.begin(found, "somebody", "run")
    assert (store.begun(), store.done()) == (found, {})
    kept = store.write("run", outcomes(found, 1))
    assert kept == Kept(rows=3, failures=1, digest=digest_for("1"))
    assert store.done() == {1: kept}


def test_a_chunk_that_is_done_is_not_written_twice(place: Place, store: Store) -> None:
    found = plan()
    store.begin(found, "somebody", "run")
    first = store.write("run", outcomes(found, 0))
    other = msgspec.structs.replace(outcomes(found, 0, NOTHING), digest=digest_for("other"))
    assert store.write("run", other) == first
    assert len(kept_rows(place)) == 3


def test_a_chunk_without_records_is_done_too(place: Place, store: Store) -> None:
    found = plan()
    store.begin(found, "somebody", "run")
    store.write("run", outcomes(found, 0, NOTHING))
    assert store.done()[0].rows == 0
    assert kept_rows(place) == []


def test_what_it_comes_to_is_known_once_it_is_complete(place: Place, store: Store) -> None:
    found = plan()
    store.begin(found, "somebody", "run")
    for number in (1, 0):
        store.write("run", outcomes(found, number))
    assert store.finished() is None
    finished = store.finish("run")
    assert (finished.rows, finished.failures) == (6, 2)
    assert store.finished() == finished


def test_a_run_that_was_superseded_writes_nothing_more(place: Place, store: Store) -> None:
    found = plan()
    store.begin(found, "somebody", "first")
    store.begin(found, "somebody", "second")
    with pytest.raises(Superseded):
        store.write("first", outcomes(found, 0))
    with pytest.raises(Superseded):
        store.finish("first")
    assert store.done() == {}


def test_going_on_finds_what_is_done(place: Place, store: Store) -> None:
    found = plan()
    store.begin(found, "somebody", "first")
    store.write("first", outcomes(found, 0))
    again = place.open()
    assert again.begun() == found
    again.begin(found, "somebody else", "second")
    assert list(again.done()) == [0]


def test_another_plan_under_the_same_name_is_refused(place: Place, store: Store) -> None:
    store.begin(plan(), "somebody", "run")
    with pytest.raises(OtherPlan, match="asked for otherwise"):
        store.begin(plan(days=3), "somebody", "run")
    changed = plan()
    spans = tuple(msgspec.structs.replace(span, version="2") for span in changed.spans)
    with pytest.raises(OtherPlan, match="which version scores when"):
        store.begin(msgspec.structs.replace(changed, spans=spans), "somebody", "run")


def test_looking_ahead_is_not_let_in_by_going_on(place: Place, store: Store) -> None:
    store.begin(plan(), "somebody", "run")
    with pytest.raises(OtherPlan):
        store.begin(plan(allow_lookahead=True), "somebody", "run")


def test_two_runs_at_once_are_told_apart(place: Place, store: Store) -> None:
    with pytest.raises(Busy, match="another run"), place.open().lock():
        pass


def test_a_lock_is_free_again_when_its_run_has_ended(place: Place) -> None:
    for _ in range(2):
        with place.open().lock():
            pass


def test_no_file_stays_behind_a_lock(place: Place, tmp_path: Path) -> None:
    with place.open().lock():
        pass
    assert [path.name for path in tmp_path.rglob("*.lock")] == []


def test_a_lock_that_its_last_holder_took_away_meanwhile_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is opened, then that one ends and takes the file away, then it is locked: a third would make another."""
    path, flock, tries = tmp_path / "lock", fcntl.flock, []

    def late(file: Any, how: int) -> None:
        tries.append(file)
        if len(tries) == 1:
            path.unlink()
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with file_lock(path, "it"):
        assert len(tries) == 2
        with pytest.raises(Busy), file_lock(path, "it"):
            pass
    assert not path.exists()


def test_many_that_lock_at_once_hold_it_one_after_the_other(tmp_path: Path) -> None:
    held, busy, most = Semaphore(1), Counter[str](), 2_000

    def work(_number: int) -> None:
        for _ in range(most // 4):
            try:
                with file_lock(tmp_path / "lock", "it"):
                    assert held.acquire(blocking=False), "two hold it"
                    held.release()
                    busy["held"] += 1
            except Busy:
                busy["busy"] += 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert busy["held"] > 0
    assert busy.total() <= most


def test_equal_rows_make_equal_files(tmp_path: Path) -> None:
    contents = []
    for name in ("a", "b"):
        place, found = Place(model="small", name="one", folder=str(tmp_path / name)), plan()
        store = place.open()
        with store.lock():
            run = str(uuid4())
            store.begin(found, name, run)
            store.write(run, outcomes(found, 0))
        contents.append((tmp_path / name / "part-000000.parquet").read_bytes())
    assert contents[0] == contents[1]


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "part-x.parquet").write_bytes(b"somebody else's")
    store = Place(model="small", name="one", folder=str(tmp_path)).open()
    with store.lock(), pytest.raises(ConfigurationError, match="something else"):
        store.begin(plan(), "somebody", "run")


def test_a_database_lists_shows_and_removes_its_backfills(url: str) -> None:
    place, found = Place(model="small", name="one", url=url), plan()
    store = place.open()
    catalog = Catalog(url)
    assert catalog.all() == []
    with store.lock():
        store.begin(found, "somebody", "run")
        store.write("run", outcomes(found, 0))
        with pytest.raises(Busy):
            catalog.remove("small", "one")
    (listed,) = catalog.all("small")
    assert catalog.one("small", "one") == listed
    assert (listed.state, listed.done, listed.chunks, listed.rows, listed.failures) == ("running", 1, 2, 3, 1)
    assert (listed.asked, listed.spans, listed.actor, listed.digest) == (found.asked, found.spans, "somebody", None)
    assert catalog.all("other") == []
    assert catalog.remove("small", "one") == listed
    assert catalog.all() == []
    engine = sa.create_engine(url)
    assert not sa.inspect(engine).has_table(table_name("small", "one"))
    engine.dispose()
    with pytest.raises(ConfigurationError, match="no backfill 'one'"):
        catalog.one("small", "one")


def test_the_migrations_make_the_tables_that_the_queries_are_built_from(url: str) -> None:
    Place(model="small", name="one", url=url).open()
    engine = sa.create_engine(url)
    found = sa.inspect(engine)
    for name, table in metadata.tables.items():
        columns = {column["name"]: column["nullable"] for column in found.get_columns(name)}
        assert columns == {column.name: column.nullable for column in table.columns}
    with engine.connect() as connection:
        assert connection.execute(sa.text(f"select version_num from {VERSION_TABLE}")).scalar() == REVISION
    engine.dispose()


def test_a_table_of_that_name_that_is_no_backfills_is_left_alone(url: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(f"create table {table_name('small', 'one')} (x integer)"))
    engine.dispose()
    store = Place(model="small", name="one", url=url).open()
    with store.lock(), pytest.raises(OtherPlan, match="is there already"):
        store.begin(plan(), "somebody", "run")


def test_the_name_of_a_table_fits_whatever_the_model_is_called() -> None:
    assert table_name("small", "one") == "backfill_small_one"
    assert len(table_name("m" * 63, "n" * 31)) == MAXIMUM_NAME_CHARACTERS


def test_moments_are_written_as_the_tables_type_writes_them() -> None:
    class Lite:
        name = "sqlite"

    for moment in (
        JANUARY,
        JANUARY + timedelta(microseconds=1),
        JANUARY.replace(year=1, month=1),
        JANUARY.replace(year=1969),
    ):
        dialect: Any = Lite()
        assert moments([epoch_s(moment)]) == [UtcDateTime().process_bind_param(moment, dialect)]
    assert moments([None]) == [None]
