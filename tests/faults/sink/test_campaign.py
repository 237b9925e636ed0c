"""Short forms of the sink's fault campaign, and bugs that its oracle sees; the full one is run with ``campaign``."""

import json
import signal
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from tests.faults.daemon.nursery import Child
from tests.faults.sink.crew import finish
from tests.faults.sink.faulty_sink import POINTS
from tests.faults.sink.rounds import RECORDS_PER_KILL, database_round, postgres_round, sqlite_round, zombie_round
from tests.faults.sink.stage import Ground, Stage, stage
from tests.support.arena import wait_until
from tests.support.sink_oracle import judge, rows_in

pytestmark = [pytest.mark.faults, pytest.mark.timeout(280)]
SEED = 99

planted = pytest.mark.parametrize("bug", [True, False], ids=["planted", "left out"])


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("stage")) as opened:
        yield opened


@pytest.fixture
def tables(ground: Stage) -> Iterator[Ground]:
    made = ground.ground("planted", postgres=True, seed=SEED)
    yield made
    made.close()


def plan(bug: str, there: bool, **more: Any) -> dict[str, Any]:
    return {**more, **({"bug": bug} if there else {})}


def doubled(ground: Ground) -> int:
    return judge(ground.stream, ground.url).doubled


def ended(child: Child) -> Callable[[], bool]:
    return lambda: child.poll() is not None


def test_there_are_points_before_and_after_every_step() -> None:
    assert len(POINTS) >= 25


@pytest.mark.parametrize("run", [sqlite_round, postgres_round, database_round, zombie_round])
def test_a_short_round_of_each_kind_holds(ground: Stage, run: Callable[..., dict[str, Any]]) -> None:
    line = run(ground, 1, SEED, 3)
    assert line["records"] == line["rows"] >= 3 * RECORDS_PER_KILL
    assert line["kills"] + line["frozen"] >= 2


@planted
def test_offsets_outside_the_transaction_lose_records(tables: Ground, bug: bool) -> None:
    tables.stream.feed(2_000)
    killed = tables.start(0, plan("offsets-outside", bug, point="appended.before", count=4))
    wait_until(ended(killed), 60, tables.logs())
    tables.stream.feed(500)
    tables.start(0)
    if not bug:
        finish(tables)
        return
    wait_until(lambda: judge(tables.stream, tables.url).offsets_wrong == 0, 60, tables.logs(), every_s=0.5)
    assert judge(tables.stream, tables.url).missing > 0


@planted
def test_the_latest_by_arrival_is_seen(tables: Ground, bug: bool) -> None:
    tables.stream.feed(5_000)
    tables.start(0, plan("latest-by-arrival", bug))
    wait_until(lambda: rows_in(tables.url) >= 5_000, 60, tables.logs())
    assert (judge(tables.stream, tables.url).latest_wrong > 0) is bug


@planted
def test_without_compare_and_set_a_sink_that_wakes_up_doubles_records(tables: Ground, bug: bool) -> None:
    with psycopg.connect(make_url(tables.url).set(drivername="postgresql").render_as_string(False)) as connection:
        for name in ("predictions", "dead_letters", "unreadable_records"):  # which alone would show it, too
            connection.execute(f"alter table {name} drop constraint {name}_pk")
    tables.stream.feed(2_000)
    frozen = tables.start(0, plan("no-compare-and-set", bug, point="write.before", count=1, action="stop"))
    wait_until(lambda: frozen.pid > 0 and frozen.frozen(), 60, tables.logs())
    tables.start(1)
    wait_until(lambda: rows_in(tables.url) >= 2_000, 60, tables.logs())
    frozen.send(signal.SIGCONT)
    wait_until(
        lambda: "batch.overtaken" in tables.logs() or judge(tables.stream, tables.url).doubled > 0, 60, "nothing"
    )
    assert (judge(tables.stream, tables.url).doubled > 0) is bug
    assert json.loads(tables.kills.read_text().splitlines()[0])["point"] == "write.before"
