"""Far more load than a process carries, from a compiled generator: what is too much is refused, nothing else suffers.

Nothing is said about how fast anything is. How much is carried is seen in the same seconds in which too much is asked:
where the generator asked for at least twice what was accepted, all the excess must have been refused as promised.
"""

import threading
from typing import Self

import httpx
import psutil
import pytest

from bench.load import Answers
from tests.support.api_ground import Api, ApiGround
from tests.support.arena import wait_until
from tests.support.bundles import score_of
from tests.support.ground import record
from tests.support.http_load import loaded, metric, need_generator, question_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
# A request that costs the server much and the generator little.
RECORDS = 1_000
CONNECTIONS, GENERATORS = 96, 2
IN_HAND = 8
DEADLINE_MS = 10_000
SECONDS = 10.0
FEWEST = 20
# What so many requests of that size, their records and answers may take beside what the process had.
ROOM_BYTES = 128 * 2**20
STRICT = {"BATON_API_REQUESTS": str(IN_HAND), "BATON_API_DEADLINE_MS": str(DEADLINE_MS)}
BOUNDLESS = dict.fromkeys(("BATON_API_REQUESTS", "BATON_API_RECORDS", "BATON_API_BYTES"), "1000000000")


class Watched:
    """What a process takes and answers on the side while it is under load."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._process = psutil.Process(api.process.pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.before_bytes = self._process.memory_info().rss
        self.largest_bytes = 0
        self.probes: list[int] = []
        self.refusals: list[httpx.Response] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        with self._api.client() as client:
            while not self._over.wait(0.05):
                self.largest_bytes = max(self.largest_bytes, self._process.memory_info().rss)
                self.probes.append(client.get("/livez").status_code)
                answer = self._api.score(client, [record(0)])
                if answer.status_code == 429:
                    self.refusals.append(answer)


def judge(found: Answers, watched: Watched) -> None:
    """Hold what came of too much load against what is promised."""
    accepted = found.latencies_s.get(200, [])
    refused = len(found.latencies_s.get(429, []))
    assert len(accepted) >= FEWEST, "hardly anything was accepted"
    assert found.count >= 2 * len(accepted), f"of {found.count} requests {len(accepted)} were accepted: no overload"
    assert set(found.latencies_s) <= {200, 429, 503, 504}
    assert refused >= 0.9 * (found.count - len(accepted)), "the excess was not refused at once"
    assert max(accepted) <= DEADLINE_MS / 1_000
    assert watched.largest_bytes - watched.before_bytes <= ROOM_BYTES
    assert len(watched.probes) >= FEWEST
    assert set(watched.probes) == {200}
    assert watched.refusals
    assert {answer.headers["retry-after"] for answer in watched.refusals} == {"1"}


def overloaded(ground: ApiGround, api: Api) -> tuple[Answers, Watched]:
    question = question_of(api, ground.token, RECORDS)
    with Watched(api) as watched:
        found = loaded(question, ground.folder, connections=CONNECTIONS, seconds=SECONDS, generators=GENERATORS)
    return found, watched


def test_what_is_too_much_is_refused_and_everything_is_as_before_afterwards(ground: ApiGround) -> None:
    need_generator()
    ground.variables |= STRICT
    ground.promote(1)
    api = ground.serve()
    api.wait_for_version(1)
    found, watched = overloaded(ground, api)
    judge(found, watched)
    wait_until(lambda: metric(api, "baton_api_requests_in_hand") == 0, 60, "requests stay in hand")
    assert metric(api, "baton_api_records_in_hand") == metric(api, "baton_api_bytes_in_hand") == 0
    with api.client() as client:
        for number in range(20):
            answer = api.score(client, [record(number)])
            assert answer.status_code == 200
            assert answer.json()["predictions"][0]["score"] == score_of(1, number)
    assert api.process.poll() is None
    assert "request.failed" not in api.log.read_text()


def test_the_judge_notices_a_process_without_bounds(ground: ApiGround) -> None:
    need_generator()
    ground.variables |= {**STRICT, **BOUNDLESS}
    ground.promote(1)
    api = ground.serve()
    api.wait_for_version(1)
    with pytest.raises(AssertionError):
        judge(*overloaded(ground, api))


def test_the_generator_that_is_asked_for_nothing_is_no_overload(ground: ApiGround) -> None:
    """The judge looks at how much was asked for first."""
    need_generator()
    ground.variables |= STRICT
    ground.promote(1)
    api = ground.serve()
    api.wait_for_version(1)
    with Watched(api) as watched:
        found = loaded(question_of(api, ground.token, 10), ground.folder, connections=2, seconds=2.0)
    assert set(found.latencies_s) == {200}
    with pytest.raises(AssertionError, match="no overload"):
        judge(found, watched)
