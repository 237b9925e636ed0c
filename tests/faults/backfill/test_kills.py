"""Killed on its way, again and again, a backfill writes what an undisturbed one writes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from local.kafka.broker import Broker
from scoring.backfill import topic as topic_module
from scoring.backfill.chunks import Job, Place
from tests.faults.backfill.dying import BORDER, COMPLETION_FIRST, POINTS, ROWS_FIRST, ROWS_KEPT
from tests.faults.backfill.lives import FEW_S, MANY_S, job_of, judge, kill_on_its_way, plans, undisturbed
from tests.faults.backfill.nursery import Nursery
from tests.support.backfills import rows_of
from tests.support.past import MODEL, RECORDS, Past, in_parquet, make_past, with_champions
from tests.support.past_in_topic import past_in_topic, sender_of
from tests.support.postgres import MakeDatabase

KINDS = ["sqlite", "postgresql", "parquet", "topic"]
"""Where the records come from. They go to the same database, of Parquet to a folder of it, of a topic to SQLite."""
FEW_KILLS, MANY_KILLS = 4, 50
# Of a topic: each part is read once for every champion.
FEW_OFFSETS, MANY_OFFSETS = 128, 16

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with Nursery(tmp_path_factory.mktemp("nursery")) as nursery:
        yield nursery


@pytest.fixture
def past(tmp_path: Path) -> Past:
    return with_champions(make_past(tmp_path))


Jobs = tuple[Job, Job]
MakeJobs = Callable[..., Jobs]


@pytest.fixture
def make_jobs(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeJobs]:
    """Makes two equal jobs for places of their own: one that nothing happens to, and one that is killed."""
    opened = []

    def make(kind: str, *, many: bool = False) -> Jobs:
        url = f"sqlite:///{tmp_path / 'predictions.db'}"
        from_topic = kind == "topic"
        if from_topic:
            broker: Broker = request.getfixturevalue("broker")
            unique_name: Callable[[str], str] = request.getfixturevalue("unique_name")
            past = past_in_topic(tmp_path, broker.bootstrap, unique_name("small"))
            opened.append(sender_of(past))
            monkeypatch.setattr(topic_module, "PART_OFFSETS", MANY_OFFSETS if many else FEW_OFFSETS)
        elif kind == "postgresql":
            make_database: MakeDatabase = request.getfixturevalue("make_postgres_database")
            url = make_database()
            past = with_champions(make_past(tmp_path, warehouse=make_database()))
        else:
            past = make_past(tmp_path)
            past = with_champions(past, sources=in_parquet(tmp_path)) if kind == "parquet" else with_champions(past)
        calm, killed = (
            Place(model=MODEL, name="", folder=str(tmp_path / name))
            if kind == "parquet"
            else Place(model=MODEL, name=name, url=url)
            for name in ("calm", "killed")
        )
        job = job_of(past, calm, from_topic=from_topic, chunk_s=MANY_S if many else FEW_S)
        return job, msgspec.structs.replace(job, place=killed)

    yield make
    for sender in opened:
        sender.close()


def hold(nursery: Nursery, jobs: Jobs, *, kills: int, processes: int) -> None:
    expected = undisturbed(jobs[0])
    assert len(expected) == RECORDS
    died = kill_on_its_way(nursery, jobs[1], list(plans(kills, kills, processes)), processes=processes)
    assert died.total() == kills
    assert len(died) == min(kills, len(POINTS) * processes)
    calm, killed = (job.place for job in jobs)
    assert judge(rows_of(killed), expected) == []
    finished = [place.open().finished() for place in (calm, killed)]
    assert finished[0] == finished[1] is not None
    if calm.folder is not None and killed.folder is not None:
        files = [{p.name: p.read_bytes() for p in Path(f).glob("part-*")} for f in (calm.folder, killed.folder)]
        assert files[0] == files[1]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", KINDS)
def test_after_some_kills_its_rows_are_those_of_an_undisturbed_run(
    nursery: Nursery, make_jobs: MakeJobs, kind: str
) -> None:
    hold(nursery, make_jobs(kind), kills=FEW_KILLS, processes=1)


@pytest.mark.timeout(300)
def test_a_helper_that_is_killed_takes_nothing_with_it(nursery: Nursery, make_jobs: MakeJobs) -> None:
    calm, killed = make_jobs("sqlite")
    expected = undisturbed(calm)
    died = kill_on_its_way(nursery, killed, [{"point": "rows.after", "count": 2, "victim": "helper"}], processes=2)
    assert died == {"helper at rows.after": 1}
    assert judge(rows_of(killed.place), expected) == []


@pytest.mark.faults
@pytest.mark.timeout(580)
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_after_fifty_kills_its_rows_are_those_of_an_undisturbed_run(
    nursery: Nursery, make_jobs: MakeJobs, kind: str, processes: int
) -> None:
    hold(nursery, make_jobs(kind, many=True), kills=MANY_KILLS, processes=processes)


BEFORE_THE_ROWS = {"point": "rows.before", "count": 2, "victim": "run"}
AFTER_THE_ROWS = {"point": ROWS_KEPT, "count": 2, "victim": "run"}
AFTER_A_CHUNK = {"point": "write.after", "count": 2, "victim": "run"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("bug", "kill", "said", "fault"),
    [
        (COMPLETION_FIRST, BEFORE_THE_ROWS, r"its table has \d+ rows, 400 were written", "missing"),
        # Its second rows come at places that are free.
        (ROWS_FIRST, AFTER_THE_ROWS, r"its table has \d+ rows, 400 were written", "altered"),
    ],
)
def test_a_chunk_that_a_kill_loses_or_doubles_is_caught(
    nursery: Nursery, make_jobs: MakeJobs, bug: str, kill: dict[str, Any], said: str, fault: str
) -> None:
    calm, killed = make_jobs("sqlite")
    expected = undisturbed(calm)
    with pytest.raises(AssertionError, match=said):
        kill_on_its_way(nursery, killed, [kill], processes=1, bug=bug)
    faults = judge(rows_of(killed.place), expected)
    assert faults
    assert all(each.startswith(fault) for each in faults)


@pytest.mark.timeout(300)
def test_another_version_at_a_border_is_caught(nursery: Nursery, make_jobs: MakeJobs) -> None:
    """As many rows as there should be, and its end is good: only the rows tell."""
    calm, killed = make_jobs("sqlite")
    expected = undisturbed(calm)
    kill_on_its_way(nursery, killed, [AFTER_A_CHUNK], processes=1, bug=BORDER)
    faults = judge(rows_of(killed.place), expected)
    assert any(each.startswith("altered") for each in faults)


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
    job = job_of(past, Place(model=MODEL, name="one", url="sqlite://"), chunk_s=FEW_S)
    assert msgspec.json.decode(msgspec.json.encode(job), type=type(job)) == job
