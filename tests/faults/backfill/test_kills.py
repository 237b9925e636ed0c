"""Killed on its way, again and again, a backfill writes what an undisturbed one writes."""

from pathlib import Path

import msgspec
import pytest

from scoring.backfill.chunks import Place
from tests.faults.backfill.lives import job_of, judge, kill_on_its_way, plans, undisturbed
from tests.support.backfills import rows_of
from tests.support.past import MODEL, RECORDS, Past, make_past, with_champions
from tests.support.postgres import MakeDatabase

KINDS = ["sqlite", "postgresql", "folder"]

pytestmark = pytest.mark.integration


@pytest.fixture
def past(tmp_path: Path) -> Past:
    return with_champions(make_past(tmp_path))


def places(kind: str, request: pytest.FixtureRequest, folder: Path) -> tuple[Place, Place]:
    """One that nothing happens to, and one that is killed."""
    if kind == "folder":
        calm, killed = (Place(model=MODEL, name="", folder=str(folder / name)) for name in ("calm", "killed"))
        return calm, killed
    url = f"sqlite:///{folder / 'predictions.db'}"
    if kind == "postgresql":
        make: MakeDatabase = request.getfixturevalue("make_postgres_database")
        url = make()
    calm, killed = (Place(model=MODEL, name=name, url=url) for name in ("calm", "killed"))
    return calm, killed


def hold(past: Past, calm: Place, killed: Place, *, kills: int, processes: int, seed: int) -> None:
    expected = undisturbed(past, calm)
    assert len(expected) == RECORDS
    died = kill_on_its_way(past.folder, job_of(past, killed), list(plans(seed, kills)), processes=processes)
    assert died.total() == kills
    assert judge(rows_of(killed), expected) == []
    finished = [place.open().finished() for place in (calm, killed)]
    assert finished[0] == finished[1] is not None
    if calm.folder is not None and killed.folder is not None:
        files = [{p.name: p.read_bytes() for p in Path(f).glob("part-*")} for f in (calm.folder, killed.folder)]
        assert files[0] == files[1]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", KINDS)
def test_after_some_kills_its_rows_are_those_of_an_undisturbed_run(
    past: Past, kind: str, request: pytest.FixtureRequest
) -> None:
    hold(past, *places(kind, request, past.folder), kills=4, processes=2 if kind == "postgresql" else 1, seed=7)


@pytest.mark.faults
@pytest.mark.timeout(580)
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_after_fifty_kills_its_rows_are_those_of_an_undisturbed_run(
    past: Past, kind: str, processes: int, request: pytest.FixtureRequest
) -> None:
    hold(past, *places(kind, request, past.folder), kills=50, processes=processes, seed=50 + processes)


@pytest.mark.timeout(120)
def test_a_note_that_comes_before_its_rows_is_caught(past: Past, request: pytest.FixtureRequest) -> None:
    calm, killed = places("sqlite", request, past.folder)
    expected = undisturbed(past, calm)
    plan = [{"point": "rows.before", "count": 2, "victim": "self"}]
    with pytest.raises(AssertionError, match=r"its table has \d+ rows, 400 were written"):
        kill_on_its_way(past.folder, job_of(past, killed), plan, processes=1, bug="completion first")
    faults = judge(rows_of(killed), expected)
    assert faults
    assert all(fault.startswith("missing") for fault in faults)


def test_the_oracle_tells_what_is_missing_doubled_and_altered() -> None:
    rows = [(number, float(number)) for number in range(3)]
    assert judge(rows, rows) == []
    assert judge(rows[1:], rows) == ["missing or altered: (0, 0.0)"]
    assert judge([*rows, rows[0]], rows) == ["doubled: (0, 0.0)"]
    assert judge([(0, 0.5), *rows[1:]], rows) == ["missing or altered: (0, 0.0)", "altered: (0, 0.5)"]
    assert judge(rows[::-1], rows) == ["the order differs"]
    with pytest.raises(AssertionError, match="wrote nothing"):
        judge([], [])


def test_a_life_survives_its_file(past: Past) -> None:
    job = job_of(past, Place(model=MODEL, name="one", url="sqlite://"))
    assert msgspec.json.decode(msgspec.json.encode(job), type=type(job)) == job
