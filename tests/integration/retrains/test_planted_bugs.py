"""Bugs that are planted on purpose, each with the test that catches it."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

import msgspec
import pytest
from confluent_kafka import TopicPartition

from baton_airflow.listening import Listener
from scoring.contract.topics import RETRAINS
from scoring.settings import Settings
from tests.integration.retrains import test_listening, test_requests
from tests.support.retrains import Inbox
from training import requests, waking
from training.definition import ModelDefinition
from training.wake import Covered, Step, next_step
from training.waking import Found

Plant = Callable[[pytest.MonkeyPatch], None]
Caught = Callable[[Inbox], None]


def marked_before_the_hand_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mark moves when a run is decided, not when it was started."""
    look = waking.look

    def hasty(definition: ModelDefinition, settings: Settings, *, active: bool, now: datetime) -> Found:
        found = look(definition, settings, active=active, now=now)
        if found.step is Step.START:
            waking.cover(definition.name, settings, found.start)
        return found

    monkeypatch.setattr(test_requests, "look", hasty)


def marked_up_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What came after the run was decided counts as covered by it."""
    cover = requests.Requests.cover

    def greedy(self: requests.Requests, end: int, covered: Covered | None) -> None:
        cover(self, max(end, self.pending().end), covered)

    monkeypatch.setattr(requests.Requests, "cover", greedy)


def dropped_in_the_cool_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request in the cool-down is forgotten."""

    def forgetful(**given: Any) -> tuple[Step, datetime | None]:
        step, again_at = next_step(**given)
        return (Step.NOTHING, None) if again_at is not None else (step, again_at)

    monkeypatch.setattr("training.waking.next_step", forgetful)


def without_a_cool_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the mark knows of the last run is lost."""
    pending = requests.Requests.pending
    monkeypatch.setattr(requests.Requests, "pending", lambda self: msgspec.structs.replace(pending(self), covered=None))


def committed_before_the_event_is_persisted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The listener commits what it has read, as the provider's older trigger does."""
    opened = Listener.open_stream

    async def hasty(self: Listener) -> AsyncIterator[Any]:
        async for heard, place in opened(self):
            assert self._consumer is not None
            self._consumer.commit(offsets=[TopicPartition(RETRAINS, 0, place.offset + 1)], asynchronous=False)
            yield heard, place

    monkeypatch.setattr(Listener, "open_stream", hasty)


def not_put_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """What must not be believed is passed over."""
    monkeypatch.setattr(Listener, "_send_to_dlq", lambda *_: None)


PLANTS: list[tuple[Plant, Caught]] = [
    (
        marked_before_the_hand_over,
        test_requests.test_a_kill_before_the_mark_moves_makes_the_same_run_again_and_loses_nothing,
    ),
    (
        marked_up_to_the_end,
        test_requests.test_all_that_waits_goes_into_one_run_and_what_comes_before_the_mark_moves_into_the_next,
    ),
    (
        dropped_in_the_cool_down,
        test_requests.test_all_that_waits_goes_into_one_run_and_what_comes_before_the_mark_moves_into_the_next,
    ),
    (
        without_a_cool_down,
        test_requests.test_all_that_waits_goes_into_one_run_and_what_comes_before_the_mark_moves_into_the_next,
    ),
    (
        committed_before_the_event_is_persisted,
        test_listening.test_an_event_that_was_not_persisted_rings_again_after_a_restart,
    ),
    (
        not_put_aside,
        test_listening.test_a_thousand_bad_messages_are_put_aside_with_their_reasons_and_the_good_one_behind_them_rings,
    ),
]


@pytest.mark.faults
@pytest.mark.parametrize(("plant", "caught"), PLANTS, ids=[plant.__name__ for plant, _ in PLANTS])
def test_a_planted_bug_is_caught(inbox: Inbox, plant: Plant, caught: Caught, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        caught(inbox)
