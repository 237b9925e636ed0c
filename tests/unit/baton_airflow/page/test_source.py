"""What is read in the background: once for all who ask, for a bounded time, and never at the price of the page."""

import asyncio
import threading
from collections.abc import Callable
from itertools import count

import pytest

from baton_airflow.page.source import Seen, Source
from scoring.contract.errors import Unavailable


class Clock:
    """Time as a test says it."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def source(read: Callable[[str], str], clock: Clock, patience_s: float = 5.0) -> Source[str]:
    return Source("the ledger", read, fresh_s=10.0, patience_s=patience_s, clock=clock)


def see(found: Source[str], key: str = "") -> Seen[str]:
    return asyncio.run(found.see(key))


def test_what_was_read_counts_for_a_moment_and_is_then_read_anew(clock: Clock) -> None:
    turns = count(1)
    found = source(lambda key: f"{key} {next(turns)}", clock)
    assert [see(found, "a").value, see(found, "a").value, see(found, "b").value] == ["a 1", "a 1", "b 2"]
    clock.now_s = 10.0
    assert see(found, "a").value == "a 3"


def test_after_a_decision_it_is_read_anew_at_once(clock: Clock) -> None:
    turns = count(1)
    found = source(lambda _: str(next(turns)), clock)
    assert see(found).value == "1"
    found.forget()
    assert see(found).value == "2"


def test_a_failure_leaves_what_was_known_and_says_why_there_is_no_more(clock: Clock) -> None:
    broken = threading.Event()

    def read(_: str) -> str:
        if broken.is_set():
            raise Unavailable("the ledger at db: connection refused")
        return "known"

    found = source(read, clock)
    before = see(found)
    broken.set()
    clock.now_s = 10.0
    after = see(found)
    assert (before.value, before.problem) == ("known", None)
    assert (after.value, after.at, after.problem) == ("known", before.at, "the ledger at db: connection refused")


def test_a_mistake_in_a_library_does_not_take_the_page_down(clock: Clock) -> None:
    def read(_: str) -> str:
        raise ZeroDivisionError

    assert see(source(read, clock)).problem == "the ledger: ZeroDivisionError; the API server's log says more"


def test_what_hangs_is_asked_once_however_many_wait_and_its_answer_counts_when_it_comes(clock: Clock) -> None:
    begun, released, asked = threading.Event(), threading.Event(), []

    def read(key: str) -> str:
        asked.append(key)
        begun.set()
        assert released.wait(20)
        return "late"

    found = source(read, clock, patience_s=0.01)

    async def all_of_them() -> list[Seen[str]]:
        return list(await asyncio.gather(*(found.see() for _ in range(5))))

    waited = asyncio.run(all_of_them())
    assert {each.problem for each in waited} == {"the ledger has not answered within 0.01 s"}
    assert begun.wait(20)  # a busy host lets the others wait before the thread has begun
    assert asked == [""]
    released.set()
    patient = Source("the ledger", lambda _: "", fresh_s=10.0, clock=clock)
    patient._kept = found._kept
    assert see(patient).value == "late"
    assert asked == [""]
