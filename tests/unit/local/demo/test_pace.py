from itertools import count

from local.demo.pace import HandoverPace
from local.replay import Credit, Position, steady

TOTAL = 28_783
PACE = HandoverPace()


def sent_after(seconds: float, pace: HandoverPace = PACE, step_s: float = 0.1) -> float:
    """Records sent when the takeover does not come for so long."""
    sent = 0.0
    for _ in range(int(seconds / step_s)):
        position = Position(int(sent), TOTAL, 0.0)
        sent += step_s * pace.records_per_s(position, taken_over=False, released=False)
    return sent


def test_the_replay_is_steady_while_a_usual_retrain_runs() -> None:
    assert PACE.records_per_s(Position(0, TOTAL, 0.0), taken_over=False, released=False) == PACE.waiting_per_s
    assert sent_after(45) < 0.5 * TOTAL


def test_however_long_the_retrain_takes_records_are_left_for_the_new_version_and_the_stream_goes_on() -> None:
    assert sent_after(300) < 0.95 * TOTAL
    late = Position(int(0.8 * TOTAL), TOTAL, 0.0)
    assert PACE.records_per_s(late, taken_over=False, released=False) == PACE.least_per_s


def test_the_pace_rises_at_the_takeover_and_again_when_nothing_waits_any_more() -> None:
    middle = Position(TOTAL // 2, TOTAL, 0.0)
    before = PACE.records_per_s(middle, taken_over=False, released=False)
    after = PACE.records_per_s(middle, taken_over=True, released=False)
    assert before < after < PACE.records_per_s(middle, taken_over=True, released=True) == PACE.last_per_s


def test_the_conditions_are_asked_anew_for_every_step() -> None:
    asked = count()
    pace = PACE.until(lambda: next(asked) > 0, lambda: False)
    start = Position(0, TOTAL, 0.0)
    assert [pace(start), pace(start)] == [PACE.waiting_per_s, PACE.after_per_s]


def test_credit_gives_whole_records_and_keeps_the_rest() -> None:
    credit = Credit(now_s=10.0)
    assert [credit.take(10.0 + step / 128, 64.0) for step in range(1, 6)] == [0, 1, 0, 1, 0]


def test_a_stall_is_not_made_up_for_in_one_burst() -> None:
    credit = Credit(now_s=0.0)
    assert credit.take(60.0, 1000.0) == 50


def test_credit_survives_a_clock_that_stands_still_and_a_pace_of_nothing() -> None:
    credit = Credit(now_s=5.0)
    assert credit.take(5.0, 1000.0) == 0
    assert credit.take(5.05, 0.0) == 0
    assert steady(3.0)(Position(0, 1, 0.0)) == 3.0
