from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scoring.contract.errors import ConfigurationError
from scoring.contract.retrain import Asked, RetrainRequest
from tests.support.training import definition, request
from training import tracking
from training.definition import NewLabels
from training.wake import Covered, Step, WakeUp, next_step, wake_up

NOW = datetime(2026, 4, 1, 6, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def asked(number: int, reason: str = "drift", by: str = "ada") -> Asked:
    made = RetrainRequest(model="fare", reason=reason, by=by)
    return Asked(request=made, event_id=f"e-{number}", at=NOW)


def covered(ago: timedelta) -> Covered:
    return Covered(run_id="asked__1", at=NOW - ago, until=NOW - ago)


def step(**changes: Any) -> tuple[Step, datetime | None]:
    values = {"pending": True, "active": False, "covered": None, "cool_down": HOUR, "now": NOW}
    return next_step(**{**values, **changes})


def test_nothing_is_done_where_nothing_waits() -> None:
    assert step(pending=False, active=True) == (Step.NOTHING, None)


def test_the_first_request_starts_a_run_at_once() -> None:
    assert step() == (Step.START, None)


def test_a_request_during_a_run_waits_for_its_end() -> None:
    assert step(active=True) == (Step.WAIT, None)


def test_a_request_in_the_cool_down_waits_until_it_is_over_and_is_not_dropped() -> None:
    assert step(covered=covered(HOUR / 2)) == (Step.WAIT, NOW + HOUR / 2)
    assert step(covered=covered(HOUR)) == (Step.START, None)
    assert step(covered=covered(HOUR), active=True) == (Step.WAIT, None)


def test_a_run_tells_how_many_messages_it_covers_who_sent_them_and_the_newest_reasons() -> None:
    reasons = ["drift", "drift", "new prices", "labels of March", "audit"]
    woken = wake_up([asked(number, reason, by=f"p{number % 3}") for number, reason in enumerate(reasons)], NOW)
    assert woken.messages == 5
    assert woken.sentence == "asked for by 5 messages: audit; labels of March; new prices"
    assert woken.actor == "p1 and 2 others"
    assert wake_up([asked(1)], NOW).sentence == "asked for by a message: drift"
    assert wake_up([asked(1), asked(2)], NOW).actor == "ada"
    assert wake_up([asked(1), asked(2, by="bob")], NOW).actor == "bob and 1 other"


def test_a_run_that_labels_woke_says_how_many_are_new() -> None:
    woken = WakeUp(until=NOW, labels=50_123)
    assert (woken.actor, woken.sentence) == ("new labels", "50,123 new labels are known")


def test_the_run_in_the_registry_says_what_woke_it() -> None:
    woken = wake_up([asked(1), asked(2, "new prices", by="bob")], NOW)
    assert tracking._woken(request(woken=woken)) == {
        "baton.woken.reason": "asked for by 2 messages: new prices; drift",
        "baton.woken.by": "bob, ada",
        "baton.woken.messages": "2",
        "baton.woken.labels": "0",
    }
    assert tracking._woken(request()) == {}


def mistakes_of(**changes: Any) -> Iterator[str]:
    with pytest.raises(ConfigurationError) as caught:
        definition(**changes)
    yield from str(caught.value).splitlines()[1:]


def test_every_mistake_of_what_starts_a_run_is_told_at_once() -> None:
    told = [*mistakes_of(retrain_on=NewLabels(rows=0), cool_down=timedelta(days=3))]
    assert len(told) == 2
    assert "at most 2 days" in told[0]
    assert "rows is 0" in told[1]
