"""``baton backfill`` from end to end: real bundles, a real ledger, the processes that it starts."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from scoring.backfill.catalog import Catalog
from scoring.backfill.chunks import Place
from scoring.cli import group
from scoring.contract.clock import rfc3339
from scoring.contract.errors import BatonError
from tests.support.backfills import rows_of
from tests.support.bundles import COLORS
from tests.support.deciders import PROJECT
from tests.support.past import FIRST, LACKING, MODEL, RECORDS, Past, day, expected, make_past, moment_of, with_champions
from tests.support.postgres import MakeDatabase

PERIOD = ("--from", rfc3339(day(0)), "--to", rfc3339(day(4)))
DAYS = ("--chunk", "1d")


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    found = with_champions(make_past(tmp_path_factory.mktemp("past")))
    with pytest.MonkeyPatch.context() as environment:
        for name, value in found.environment.items():
            environment.setenv(name, value)
        yield found


def baton(*arguments: str) -> Result:
    return CliRunner().invoke(group, ["backfill", *arguments])


def answer(*arguments: str) -> Any:
    found = baton(*arguments, "--json")
    assert found.exit_code == 0, found.output or found.exception
    return json.loads(found.stdout)


def place(past: Past, name: str) -> Place:
    return Place(model=MODEL, name=name, url=past.environment["BATON_PREDICTIONS_URL"])


@pytest.fixture(scope="module")
def scored(past: Past) -> tuple[Any, Place]:
    """The four days, scored by one process."""
    return answer(MODEL, *PERIOD, *DAYS, "--name", "alone", "--processes", "1"), place(past, "alone")


def champion_at(number: int) -> int:
    return 1 + sum(moment_of(number) >= day(border) for border in (1.5, 3))


def test_every_record_is_there_once_with_the_score_of_the_champion_of_its_time(scored: tuple[Any, Place]) -> None:
    told, where = scored
    rows = rows_of(where, ["record_key", "event_time", "score", "version", "sequence"])
    assert (told["rows"], told["failures"]) == (RECORDS, len(LACKING))
    assert rows == [
        (
            f"r-{number:08d}",
            moment_of(number),
            expected(champion_at(number), number),
            str(champion_at(number)),
            champion_at(number),
        )
        for number in range(RECORDS)
    ]


def test_what_cannot_be_scored_says_why_and_takes_nothing_else_with_it(scored: tuple[Any, Place]) -> None:
    rows = rows_of(scored[1], ["record_key", "score", "decision", "lookups", "reason", "detail"])
    failed = {int(key[2:]): rest for key, *rest in rows if rest[3] is not None}
    assert failed.keys() == LACKING
    assert all(
        rest == [None, None, None, "wrong-type", "Expected `float`, got `null` - at `$.x`"] for rest in failed.values()
    )


def test_what_was_looked_up_is_as_of_the_event(scored: tuple[Any, Place]) -> None:
    rows = [row for row in rows_of(scored[1], ["event_time", "pass_through", "lookups"]) if row[2] is not None]
    assert len(rows) == RECORDS - len(LACKING)
    for moment, carried, looked_up in rows:
        color = json.loads(carried)["color"]
        hours = (moment - FIRST).total_seconds() // 3600
        assert json.loads(looked_up) == {"heat": {"degrees": hours + COLORS.index(color) / 4.0}}


def test_several_processes_write_the_same_rows(past: Past, scored: tuple[Any, Place]) -> None:
    told = answer(MODEL, *PERIOD, *DAYS, "--name", "together", "--processes", "2")
    assert told["digest"] == scored[0]["digest"]
    assert rows_of(place(past, "together")) == rows_of(scored[1])


def test_postgresql_holds_what_sqlite_holds(
    past: Past, scored: tuple[Any, Place], make_postgres_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = make_postgres_database()
    monkeypatch.setenv("BATON_PREDICTIONS_URL", url)
    told = answer(MODEL, *PERIOD, *DAYS, "--name", "there", "--processes", "2")
    assert told["digest"] == scored[0]["digest"]
    assert rows_of(Place(model=MODEL, name="there", url=url)) == rows_of(scored[1])
    assert [each["state"] for each in answer("list")] == ["complete"]
    assert answer("remove", MODEL, "there")["rows"] == RECORDS


def test_files_hold_what_the_table_holds_and_equal_questions_make_equal_bytes(
    scored: tuple[Any, Place], tmp_path: Path
) -> None:
    contents = []
    for processes in ("1", "2"):
        folder = tmp_path / processes
        told = answer(MODEL, *PERIOD, *DAYS, "--output", str(folder), "--processes", processes)
        assert (told["digest"], told["chunks"]) == (scored[0]["digest"], 5)
        assert rows_of(Place(model=MODEL, name="", folder=str(folder))) == rows_of(scored[1])
        dry = answer(MODEL, *PERIOD, *DAYS, "--output", str(folder), "--dry-run")
        assert (dry["chunks"], dry["done"]) == (5, 5)
        contents.append({path.name: path.read_bytes() for path in folder.glob("part-*.parquet")})
    assert contents[0] == contents[1]
    assert len(contents[0]) == 5


def test_asking_again_finds_it_done(scored: tuple[Any, Place]) -> None:
    again = answer(MODEL, *PERIOD, *DAYS, "--name", "alone")
    assert again == {**scored[0], "found": 5}


def test_a_dry_run_tells_versions_chunks_and_records_and_leaves_nothing(past: Past) -> None:
    told = answer(MODEL, *PERIOD, *DAYS, "--name", "never", "--dry-run")
    assert [(span["version"], span["sequence"]) for span in told["spans"]] == [("1", 1), ("2", 2), ("3", 3)]
    assert (told["chunks"], told["done"], told["records"]) == (5, 0, RECORDS)
    assert "never" not in {each["name"] for each in answer("list")}


@pytest.mark.usefixtures("past")
def test_a_dry_run_makes_no_folder(tmp_path: Path) -> None:
    told = answer(MODEL, *PERIOD, *DAYS, "--output", str(tmp_path / "never"), "--dry-run")
    assert (told["chunks"], told["done"]) == (5, 0)
    assert not (tmp_path / "never").exists()


def test_a_named_version_scores_all_of_it(past: Past) -> None:
    answer(MODEL, *PERIOD, "--version", "2", "--name", "second", "--processes", "1")
    rows = rows_of(place(past, "second"), ["score", "version", "sequence", "lookahead"])
    assert rows == [(expected(2, number), "2", 2, False) for number in range(RECORDS)]


def test_rows_that_look_ahead_are_marked(past: Past) -> None:
    past.register(4, start=day(-30), end=day(1), known_by=day(2))
    words = [MODEL, *PERIOD, "--version", "4", "--name", "ahead", "--processes", "1"]
    refused = baton(*words)
    assert isinstance(refused.exception, BatonError)
    assert "with labels known by 2026-03-03T00:00:00Z" in str(refused.exception)
    answer(*words, "--allow-lookahead")
    rows = rows_of(place(past, "ahead"), ["event_time", "lookahead"])
    assert rows == [(moment_of(number), moment_of(number) < day(2)) for number in range(RECORDS)]


def test_a_name_that_stands_for_something_else_is_refused(scored: tuple[Any, Place]) -> None:
    refused = baton(MODEL, "--from", rfc3339(day(0)), "--to", rfc3339(day(1)), "--name", "alone")
    assert "give this one another --name" in str(refused.exception)


def test_backfills_are_listed_shown_and_removed(past: Past) -> None:
    end = rfc3339(day(1))
    words = ("--from", rfc3339(day(0)), "--to", end)
    found = baton(MODEL, *words, "--name", "gone", "--processes", "1")
    assert found.exit_code == 0
    assert "small: 100 rows, 1 of them with a reason instead of a score, in table backfill_small_gone" in found.stdout
    assert "gone" in baton("list", MODEL).stdout
    assert "1 of 1 chunk, 100 rows, 1 not scored" in baton("show", MODEL, "gone").stdout
    assert "is gone, with 100 rows" in baton("remove", MODEL, "gone").stdout
    assert "gone" not in {each["name"] for each in answer("list", MODEL)}


def test_told_to_stop_it_keeps_what_is_done_and_goes_on_from_there(past: Past, scored: tuple[Any, Place]) -> None:
    where = place(past, "stopped")
    command = [sys.executable, "-m", "scoring", "backfill", MODEL, *PERIOD, "--name", "stopped", "--chunk", "10min"]
    process = subprocess.Popen([*command, "--processes", "1"], stderr=subprocess.PIPE, text=True, cwd=PROJECT)
    try:
        while process.poll() is None and not Catalog(where.url or "").done("small", "stopped"):
            pass
        process.terminate()
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1, said
    assert "stopped; run the same command again to go on" in said
    told = answer(MODEL, *PERIOD, "--name", "stopped", "--chunk", "10min", "--processes", "1")
    assert 0 < told["found"] < told["chunks"] == 4 * 144
    names = ["record_key", "score", "version"]
    assert rows_of(where, names) == rows_of(scored[1], names)


def test_nothing_but_its_own_tables_was_written(past: Past, scored: tuple[Any, Place]) -> None:
    assert [entry.sequence for entry in past.ledger.entries(MODEL)] == [1, 2, 3]
    assert past.registry.aliases(MODEL) == {}
