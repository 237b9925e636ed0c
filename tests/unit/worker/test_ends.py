"""The ends of partitions that wait."""

import time
from collections.abc import Collection, Mapping

from scoring.contract.errors import Unavailable
from scoring.worker.ends import Ends
from scoring.worker.partitions import Place


def test_the_broker_is_asked_for_what_waits_only_and_an_outage_is_passed_over() -> None:
    asked: list[Collection[Place]] = []

    def ask(places: Collection[Place]) -> Mapping[Place, int]:
        asked.append(places)
        if len(asked) == 2:
            raise Unavailable("away")
        return dict.fromkeys(places, 10 * len(asked))

    ends = Ends(ask, interval_s=0.001)
    ends.start()
    time.sleep(0.02)  # some turns at which nothing waits
    assert asked == []
    ends.waiting = [("in", 1)]
    deadline_s = time.monotonic() + 10
    while len(asked) < 4 and time.monotonic() < deadline_s:
        time.sleep(0.001)
    ends.stop()
    assert asked[0] == [("in", 1)]
    assert ends.known["in", 1] >= 30


def test_nothing_is_known_any_more_of_what_no_longer_waits() -> None:
    ends = Ends(lambda places: dict.fromkeys(places, 7), interval_s=0.001)
    ends.waiting = [("in", 1)]
    ends.start()
    while not ends.known:
        time.sleep(0.001)
    ends.waiting = ()
    while ends.known:
        time.sleep(0.001)
    ends.stop()
