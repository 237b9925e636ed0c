"""A backfill in tasks of several machines writes what one command writes."""

from pathlib import Path

import pytest

from scoring.backfill.asked import asked_for
from scoring.backfill.chunks import ChunkScorer, Place, job_of
from scoring.backfill.cluster import Part, begin, do, end, parted
from scoring.backfill.outcomes import RowsLost
from scoring.backfill.prepare import Prepared, prepare
from scoring.backfill.refusals import Superseded
from scoring.backfill.run import run
from scoring.scorer.bundle import open_bundle
from scoring.settings import Settings
from tests.support.backfills import rows_of
from tests.support.past import MODEL, RECORDS, Past, day, make_past, with_champions


@pytest.fixture
def past(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Past:
    """Bundles are tried in this process."""
    found = with_champions(make_past(tmp_path))

    def bring_by_process(_settings: Settings) -> object:
        def bring(model: str, version: str, digest: str | None, folder: Path) -> None:
            found.registry.fetch(model, version, folder)
            open_bundle(folder, digest)

        return bring

    monkeypatch.setattr("scoring.backfill.prepare.bring_by_process", bring_by_process)
    return found


def settings(past: Past) -> Settings:
    return Settings(
        ledger_url=past.environment["BATON_LEDGER_URL"],
        connections={"warehouse": past.environment["BATON_CONNECTIONS__WAREHOUSE"]},
    )


def place(past: Past, name: str) -> Place:
    return Place(model=MODEL, name=name, url=past.environment["BATON_PREDICTIONS_URL"])


ASKED = asked_for(MODEL, day(0), day(4), chunk_s=86_400)


def alone(past: Past) -> list[tuple[object, ...]]:
    ready: Prepared = prepare(ASKED, settings(past), past.folder / "bundles")
    where = place(past, "alone")
    store = where.open()
    with store.lock():
        plan = store.begin(ready.plan, "somebody", "run")
        run(job_of(ready, plan, where, "run", past.folder / "staged"), store, 1, lambda _number, _kept: None)
    return rows_of(where)


def test_parts_in_any_order_and_twice_make_the_same_rows(past: Past) -> None:
    where, own = place(past, "tasks"), settings(past)
    parts = begin(ASKED, where, own, actor="airflow", run="manual__1", parts=3)
    assert parts == [Part(first=0, end=1), Part(first=1, end=3), Part(first=3, end=5)]
    told = [do(ASKED, where, own, run="manual__1", part=part) for part in reversed(parts)]
    assert sum(each.rows for each in told) == RECORDS
    assert do(ASKED, where, own, run="manual__1", part=parts[0]).chunks == 0
    finished = end(where, run="manual__1")
    assert end(where, run="manual__1") == finished
    assert (finished.rows, finished.failures) == (RECORDS, 2)
    assert rows_of(where) == alone(past)


def test_it_does_not_end_before_all_parts_are_done(past: Past) -> None:
    where, own = place(past, "tasks"), settings(past)
    first, *_ = begin(ASKED, where, own, actor="airflow", run="manual__1", parts=2)
    do(ASKED, where, own, run="manual__1", part=first)
    with pytest.raises(RowsLost, match="3 chunks"):
        end(where, run="manual__1")


def test_a_run_that_begins_takes_over_from_the_one_before(past: Past) -> None:
    where, own = place(past, "tasks"), settings(past)
    first, second = begin(ASKED, where, own, actor="airflow", run="manual__1", parts=2)
    do(ASKED, where, own, run="manual__1", part=first)
    begin(ASKED, where, own, actor="airflow", run="manual__2", parts=2)
    with pytest.raises(Superseded):
        do(ASKED, where, own, run="manual__1", part=second)
    assert do(ASKED, where, own, run="manual__2", part=second).chunks == 3
    assert end(where, run="manual__2").rows == RECORDS


@pytest.mark.parametrize(("chunks", "parts", "sizes"), [(5, 3, [1, 2, 2]), (2, 5, [1, 1]), (1, 1, [1]), (7, 2, [3, 4])])
def test_parts_are_of_as_equal_a_size_as_can_be(chunks: int, parts: int, sizes: list[int]) -> None:
    found = parted(chunks, parts)
    assert [part.end - part.first for part in found] == sizes
    assert [number for part in found for number in range(part.first, part.end)] == [*range(chunks)]


def test_a_scorer_closes_what_it_opened(past: Past) -> None:
    ready = prepare(ASKED, settings(past), past.folder / "bundles")
    with ChunkScorer(job_of(ready, ready.plan, place(past, "x"), "run", past.folder / "staged")) as scorer:
        assert scorer.outcomes(ready.plan.chunks()[0]).rows == 100
