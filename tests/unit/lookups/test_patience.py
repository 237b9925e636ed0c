"""Asking with a deadline."""

import threading
from typing import Any

import pytest

from scoring.contract.errors import Unavailable
from scoring.lookups import patience as patience_module
from scoring.lookups.patience import Patience


def test_what_is_answered_in_time_is_handed_on() -> None:
    assert Patience[int]("lookup", 5.0).ask(lambda: 7) == 7


def test_what_is_not_answered_in_time_is_left_behind_and_nothing_is_asked_until_it_has_ended() -> None:
    patience, answer = Patience[bool]("lookup", 0.01), threading.Event()
    with pytest.raises(Unavailable, match=r"no answer within 0\.01 s"):
        patience.ask(lambda: answer.wait(10))
    with pytest.raises(Unavailable, match="an earlier query"):
        patience.ask(lambda: True)
    answer.set()
    held = patience._thread
    assert held is not None
    held.join(10)
    patience._timeout_s = 10.0  # a busy host takes its time to start a thread
    assert patience.ask(lambda: True)


def test_a_call_that_has_answered_holds_nothing_up_though_its_thread_has_not_ended_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a busy host the next question comes first; it is no outage."""
    ended, run = threading.Event(), patience_module._run

    def lingering(*arguments: Any) -> None:
        run(*arguments)
        ended.wait(10)

    monkeypatch.setattr(patience_module, "_run", lingering)
    patience = Patience[int]("lookup", 5.0)
    assert [patience.ask(lambda: 7), patience.ask(lambda: 8)] == [7, 8]
    ended.set()


def test_a_host_that_allows_no_more_threads_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    patience = Patience[int]("lookup", 5.0)
    with monkeypatch.context() as full:

        def refuse(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        full.setattr(threading.Thread, "start", refuse)
        with pytest.raises(Unavailable, match="new thread"):
            patience.ask(lambda: 7)
    assert patience.ask(lambda: 7) == 7
