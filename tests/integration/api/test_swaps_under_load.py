"""Promotions under a steady load from a compiled generator: no request is dropped, or scored by the wrong version."""

import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple, Self

import pytest

from bench.load import Tally, tally
from scoring.contract.notice import Kind
from tests.support.api_ground import Api, ApiGround
from tests.support.arena import wait_until
from tests.support.bundles import score_of
from tests.support.ground import record
from tests.support.http_load import metric, need_generator, question_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
SWAPS, VERSIONS = 21, 4
CLIENTS, RECORDS = 3, 4
AT_LEAST_BETWEEN = 5
RATE, CONNECTIONS = 60.0, 6
# In such pieces the generator asks until the last swap: how long that takes is the machine's affair.
PIECE = 180


class Seen(NamedTuple):
    """One request and what came back, by the monotonic clock."""

    began_s: float
    ended_s: float
    status: int
    sequence: int
    version: int
    scores: tuple[float, ...]


class Clients:
    """Ask one after the other, and note everything."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        self.seen: list[Seen] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with self._api.client() as client:
            while not self._over.is_set():
                began_s = time.monotonic()
                answer = self._api.score(client, [record(number) for number in range(RECORDS)])
                ended_s = time.monotonic()
                told = answer.json()
                scores = tuple(each["score"] for each in told.get("predictions", ()) if each)
                place = (told.get("sequence", 0), int(told.get("version", 0)))
                self.seen.append(Seen(began_s, ended_s, answer.status_code, *place, scores))


class Generator:
    """A steady load, piece by piece."""

    def __init__(self, api: Api, ground: ApiGround) -> None:
        self._question = question_of(api, ground.token, RECORDS)
        self._folder = ground.folder
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.pieces: list[Tally] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._over.is_set():
            self.pieces.append(tally(self._question, self._folder, connections=CONNECTIONS, requests=PIECE, rate=RATE))


def misplaced(seen: Iterable[Seen], noticed_s: Sequence[float]) -> list[Seen]:
    """Requests whose sequence was not live at any moment between their beginning and end.

    Args:
        noticed_s: when each sequence was announced, the first one's first: before that it cannot have been live. It no
            longer was once somebody had an answer of a later one.
    """
    in_order = sorted(seen, key=lambda each: each.ended_s)
    ends = [each.ended_s for each in in_order]
    newest = [0, *accumulate((each.sequence for each in in_order), max)]  # of so many that had ended
    return [
        each
        for each in in_order
        if newest[bisect_left(ends, each.began_s)] > each.sequence or each.ended_s < noticed_s[each.sequence - 1]
    ]


def test_swaps_under_a_steady_load_drop_no_request(ground: ApiGround) -> None:
    need_generator()
    for version in range(1, VERSIONS + 1):
        ground.register(version)
    noticed_s = [time.monotonic()]
    ground.notify(1, 1)
    api = ground.serve()
    api.wait_for_version(1)
    with Clients(api) as clients, Generator(api, ground) as generator:
        for sequence in range(2, SWAPS + 2):
            so_far = len(clients.seen)
            wait_until(
                lambda so_far=so_far: len(clients.seen) >= so_far + AT_LEAST_BETWEEN,  # type: ignore[misc]
                60,
                "nobody asks any more",
            )
            noticed_s.append(time.monotonic())
            version = (sequence - 1) % VERSIONS + 1
            ground.notify(sequence, version, kind=Kind.PROMOTE)
            wait_until(
                lambda sequence=sequence: clients.seen[-1].sequence == sequence,  # type: ignore[misc]
                120,
                f"sequence {sequence} never scored: {api.log.read_text()[-2_000:]}",
            )
    seen = clients.seen
    assert {each.status for each in seen} == {200}
    assert {each.sequence for each in seen} == set(range(1, SWAPS + 2))
    for each in seen:
        assert each.version == (each.sequence - 1) % VERSIONS + 1
        assert each.scores == tuple(score_of(each.version, number) for number in range(RECORDS))
    assert not misplaced(seen, noticed_s)
    assert {(*piece.answers, piece.errors) for piece in generator.pieces} == {(200, 0)}
    by_generator = sum(piece.answers[200] for piece in generator.pieces)
    assert by_generator == PIECE * len(generator.pieces)
    # What was counted is what was asked, and nothing was scored that nobody had an answer to.
    assert metric(api, "baton_api_records_total") == RECORDS * (len(seen) + by_generator)


def test_a_request_that_the_wrong_version_scored_is_noticed() -> None:
    noticed_s = [0.0, 10.0]
    good = [Seen(1, 2, 200, 1, 1, ()), Seen(9, 11, 200, 2, 2, ()), Seen(10.5, 12, 200, 1, 1, ())]
    assert misplaced(good, noticed_s) == []
    stale, early = Seen(11.5, 12, 200, 1, 1, ()), Seen(3, 4, 200, 2, 2, ())
    assert misplaced([*good, stale], noticed_s) == [stale]
    assert early in misplaced([*good, early], noticed_s)
