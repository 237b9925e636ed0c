"""Watching in steps: what a restart and a system that is away do to a wait. Clocks are numbers."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scoring.contract.errors import ConfigurationError, Unavailable
from scoring.contract.notice import Kind
from scoring.promotion.observer import LIVE_WITHIN_S, Answer, Observer, Standing
from tests.support.decisions import LEDGER
from tests.support.training import definition
from training.results import Promoted, Waited, from_json, to_json
from training.watch import PAUSE_S, Watch, Watcher, watch_for

BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
LIMIT = timedelta(minutes=5)
WATCH = Watch(model="fare", sequence=2, input_topic="fare.input", began_at=BEGAN, deadline=BEGAN + LIMIT)


def answer(standing: Standing, sentence: str = "so it stands") -> Answer:
    return Answer(model="fare", sequence=2, standing=standing, sentence=sentence, refusals={}, workers=(), unowned=())


class Followed:
    """A follower with known answers, and the watcher's clocks."""

    def __init__(self, *steps: Standing | Exception) -> None:
        self.steps = list(steps)
        self.now = BEGAN
        self.opened: list[float] = []
        self.closed = 0
        self.paused_s = 0.0

    def open(self, watch: Watch, now: datetime) -> Any:
        self.opened.append(watch.waited_s(now))
        return self

    def step(self, timeout_s: float) -> Answer:
        self.now += timedelta(seconds=timeout_s)
        found = self.steps.pop(0)
        if isinstance(found, Exception):
            raise found
        return answer(found)

    def close(self) -> None:
        self.closed += 1

    def pause(self, seconds: float) -> None:
        self.paused_s += seconds
        self.now += timedelta(seconds=seconds)

    @property
    def watcher(self) -> Watcher:
        return Watcher(WATCH, opening=self.open, now=lambda: self.now, pause=self.pause)


def outcome(step: Callable[[], Waited | None]) -> Waited:
    for _ in range(1_000):
        waited = step()
        if waited is not None:
            return waited
    raise AssertionError("it waits for ever")


def test_it_watches_until_there_is_nothing_to_wait_for() -> None:
    followed = Followed(Standing.WAITING, Standing.WAITING, Standing.CONVERGED)
    assert outcome(followed.watcher.step) == Waited(state="converged", green=True, sentence="so it stands")
    assert followed.steps == []
    assert followed.opened == [0.0]


def test_a_look_ends_with_the_wait_or_with_its_own_time_and_lets_go() -> None:
    followed = Followed(Standing.WAITING, Standing.CONVERGED)
    assert followed.watcher.look(60.0, clock=lambda: 0.0) == Waited(
        state="converged", green=True, sentence="so it stands"
    )
    assert followed.closed == 1
    ticks = iter(range(100))
    followed = Followed(*[Standing.WAITING] * 100)
    assert followed.watcher.look(5.0, clock=lambda: next(ticks)) is None
    assert len(followed.steps) == 95
    assert followed.closed == 1


def test_a_refusal_is_not_green() -> None:
    assert not outcome(Followed(Standing.REFUSED).watcher.step).green


def test_a_broker_that_is_away_is_asked_again_and_the_time_it_took_counts() -> None:
    followed = Followed(Standing.WAITING, Unavailable("away"), Unavailable("away"), Standing.CONVERGED)
    assert outcome(followed.watcher.step).green
    assert followed.closed == 2
    assert followed.paused_s == 2 * PAUSE_S
    assert followed.opened[0] == 0.0
    assert followed.opened[2] > followed.opened[1] >= PAUSE_S


def test_a_broker_that_is_still_away_at_the_deadline_ends_the_wait() -> None:
    followed = Followed(*[Unavailable("away")] * 1_000)
    with pytest.raises(Unavailable):
        outcome(followed.watcher.step)
    assert timedelta(0) <= followed.now - WATCH.deadline < timedelta(seconds=PAUSE_S + 1)


def test_what_a_person_must_mend_is_not_waited_for() -> None:
    with pytest.raises(ConfigurationError):
        outcome(Followed(ConfigurationError("no topic")).watcher.step)


def test_a_watch_goes_through_json_and_names_no_secret() -> None:
    document = to_json(WATCH)
    assert from_json(Watch, document) == WATCH
    assert set(document) == {"model", "sequence", "input_topic", "began_at", "deadline"}


def test_only_what_was_promoted_is_watched() -> None:
    promoted = Promoted(model="fare", sequence=2, version="3")
    assert watch_for(definition(), promoted, BEGAN, LIMIT) == WATCH
    assert watch_for(definition(), Promoted(model="fare", sequence=None, version=None), BEGAN, LIMIT) is None


def test_a_clock_that_was_set_back_uses_up_nothing() -> None:
    assert WATCH.waited_s(BEGAN - timedelta(hours=1)) == 0.0
    assert WATCH.waited_s(BEGAN + timedelta(seconds=90)) == 90.0
    assert WATCH.limit_s == 300.0


def observer(waited_s: float) -> Observer:
    return Observer(
        ledger=LEDGER,
        model="fare",
        sequence=2,
        kind=Kind.PROMOTE,
        input_topic="fare.input",
        partitions=1,
        now_s=1_000.0,
        limit_s=300.0,
        waited_s=waited_s,
    )


@pytest.mark.parametrize(
    ("waited_s", "ends_s"), [(0.0, 300.0), (200.0, 100.0), (299.0, LIVE_WITHIN_S), (9e9, LIVE_WITHIN_S)]
)
def test_an_observer_that_takes_over_keeps_the_deadline_but_first_listens(waited_s: float, ends_s: float) -> None:
    from tests.unit.promotion.test_observer import beat

    taken_over = observer(waited_s)
    taken_over.remember(beat(sequence=1, model="fare", topic="fare.input"))
    assert taken_over.answer(1_000.0 + ends_s - 0.1).standing is Standing.WAITING
    assert taken_over.answer(1_000.0 + ends_s + 0.1).standing is Standing.TIMED_OUT


def test_an_observer_that_comes_after_the_deadline_still_sees_that_all_is_well() -> None:
    from tests.unit.promotion.test_observer import beat

    late = observer(waited_s=9e9)
    late.remember(beat(sequence=2, counter=1, model="fare", topic="fare.input", partitions=(0,)))
    assert late.answer(1_000.0).standing is Standing.WAITING
    late.hear(beat(sequence=2, counter=2, model="fare", topic="fare.input", partitions=(0,)), 1_002.0)
    assert late.answer(1_002.0).standing is Standing.CONVERGED
