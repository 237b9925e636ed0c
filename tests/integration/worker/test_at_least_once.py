"""At least once: after kills, swaps and rebalances nothing is lost; only then is something scored again."""

import pytest

from tests.support.arena import wait_until
from tests.support.bundles import score_of
from tests.support.ground import Ground
from tests.support.oracle import examine

pytestmark = pytest.mark.integration


@pytest.fixture
def careless(ground: Ground) -> Ground:
    ground.variables["BATON_DELIVERY"] = "at-least-once"
    return ground


def test_without_a_failure_every_record_is_scored_once_in_order_across_a_swap(careless: Ground) -> None:
    careless.session_timeout_ms = 30_000  # a rebalance would be a failure, and a busy machine is slow to say it lives
    careless.promote(1)
    worker = careless.start()
    careless.feed(4_000)
    careless.wait_for_state("live", sequence=1)
    careless.wait_until_done()
    careless.promote(2)
    careless.wait_for_state("live", sequence=2)
    careless.feed(4_000)
    careless.wait_until_done()
    assert careless.stop(worker) == 0
    report = examine(careless, score_of)
    assert report.faultless, report
    assert set(report.versions) == {1, 2}


def test_a_killed_worker_and_one_that_joins_lose_nothing(careless: Ground) -> None:
    careless.promote(1)
    first = careless.start()
    careless.wait_for_state("live", sequence=1)
    careless.feed_until_progress(30_000)
    first.kill()
    first.wait()
    careless.start(0)
    careless.start(1)
    wait_until(lambda: not examine(careless, score_of).lost, 90, "records were lost", every_s=1.0)
    report = examine(careless, score_of)
    assert report.inputs == 30_000
    assert (report.lost, report.invented, report.wrong) == (0, 0, [])
    assert report.doubled < 30_000
