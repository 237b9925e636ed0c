"""Short form of the sink's campaign of kills: on a real broker, on SQLite and on a real PostgreSQL.

The full ones, with kills of the database, frozen sinks and planted bugs: ``tests/faults/sink``.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.faults.sink.rounds import RECORDS_PER_KILL, postgres_round, sqlite_round
from tests.faults.sink.stage import Stage, stage

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]
KILLS, SEED = 4, 7


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("stage")) as opened:
        yield opened


@pytest.mark.parametrize("run", [sqlite_round, postgres_round])
def test_whatever_is_killed_each_record_is_in_the_tables_once(
    ground: Stage, run: Callable[[Stage, int, int, int], dict[str, Any]]
) -> None:
    line = run(ground, 0, SEED, KILLS)
    assert line["records"] == line["rows"] >= KILLS * RECORDS_PER_KILL
    assert line["kills"] >= KILLS - 1
