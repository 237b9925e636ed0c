"""All workers at a glance: who is there, what they score, and how fast."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from scoring.contract.acknowledgement import Position
from scoring.contract.heartbeat import Heartbeat, ModelStatus, State
from scoring.promotion.observer import Presence
from scoring.worker.fleet import Fleet, Row, totals

START = datetime(2026, 3, 1, tzinfo=UTC)


def beat(
    counter: int,
    records: int = 0,
    *,
    worker: str = "default/0",
    instance: str = "a",
    left: bool = False,
    **more: object,
) -> Heartbeat:
    positions = tuple(Position(topic="t", topic_id="id", partition=number, offset=9) for number in (0, 2))
    status = {"state": State.LIVE, "sequence": 3, "version": "3", "positions": positions, "records": records, **more}
    return Heartbeat(
        worker=worker,
        instance=instance,
        counter=counter,
        at=START + timedelta(seconds=2 * counter),
        left=left,
        models={"small": ModelStatus(**status)},  # type: ignore[arg-type]
    )


def only(fleet: Fleet, now_s: float) -> Row:
    (row,) = fleet.rows(now_s)
    return row


def test_the_rate_is_between_two_heartbeats_of_one_instance_on_its_own_clock() -> None:
    fleet = Fleet()
    fleet.hear(beat(0, 100), 0.0)
    assert only(fleet, 0.0).records_per_s is None
    fleet.hear(beat(1, 500), 5.0)  # heard late; the worker's clock says two seconds
    assert only(fleet, 5.0).records_per_s == 200.0
    fleet.hear(beat(0, 7, instance="b"), 6.0)  # started again: its count is another
    assert only(fleet, 6.0).records_per_s is None


def test_late_and_doubled_heartbeats_change_nothing() -> None:
    fleet = Fleet()
    for counter, records in ((0, 0), (1, 10), (1, 10), (0, 0)):
        fleet.hear(beat(counter, records), float(counter))
    assert (only(fleet, 1.0).records, only(fleet, 1.0).records_per_s) == (10, 5.0)


@pytest.mark.parametrize(
    ("heard_at_s", "now_s", "left", "expected"),
    [
        (0.0, 15.0, False, Presence.LIVE),
        (0.0, 15.1, False, Presence.SILENT),
        (0.0, 1.0, True, Presence.LEFT),
        (None, 1.0, False, Presence.UNHEARD),  # its heartbeat may be an hour old
    ],
)
def test_a_worker_is_there_while_it_is_heard(
    heard_at_s: float | None, now_s: float, left: bool, expected: Presence
) -> None:
    fleet = Fleet()
    fleet.hear(beat(0, left=left), heard_at_s)
    assert only(fleet, now_s).presence is expected


def test_a_row_has_what_somebody_on_call_asks_for() -> None:
    fleet = Fleet()
    letters = {"null-value": 3}
    fleet.hear(
        beat(
            0,
            9,
            lag=(4, None),
            lag_s=(0.5, None),
            dead_letters=letters,
            paused={"held": 1},
            reason="why",
            pending=4,
            delay_s=0.25,
            swap_pause_s=0.001,
        ),
        0.0,
    )
    row = only(fleet, 1.0)
    assert (row.partitions, row.lag, row.lag_s, row.paused, row.reason) == ((0, 2), 4, 0.5, {"held": 1}, "why")
    assert (row.version, row.sequence, row.pending, row.dead_letters) == ("3", 3, 4, letters)
    assert (row.delay_s, row.swap_pause_s) == (0.25, 0.001)


def test_workers_stand_in_the_order_of_deployment_and_slot_and_one_deployment_can_be_chosen() -> None:
    names = ["b/2", "a/10", "a/9", "ab/0"]
    every, some = Fleet(), Fleet("a")
    for name in names:
        every.hear(beat(0, worker=name), 0.0)
        some.hear(beat(0, worker=name), 0.0)
    assert [row.worker for row in every.rows(0.0)] == ["a/9", "a/10", "ab/0", "b/2"]
    assert [row.worker for row in some.rows(0.0)] == ["a/9", "a/10"]


def test_totals_are_of_the_workers_that_are_there() -> None:
    fleet = Fleet()
    for worker in ("default/0", "default/1"):
        fleet.hear(beat(0, 0, worker=worker), 0.0)
        fleet.hear(beat(1, 100, worker=worker, lag=(5, 5), dead_letters={"null-value": 2}), 1.0)
    fleet.hear(beat(0, worker="gone/0", lag=(1_000,), left=True), 0.0)
    rate, lag, letters = totals(fleet.rows(1.0))
    assert (rate, lag, letters) == (100.0, 20, {"null-value": 4})


def test_heartbeats_of_before_these_fields_are_shown_as_far_as_they_go() -> None:
    document = msgspec.to_builtins(beat(0, lag=(None, None)))
    for field in ("lag_s", "paused", "records", "dead_letters", "delay_s", "swap_pause_s"):
        del document["models"]["small"][field]
    fleet = Fleet()
    fleet.hear(msgspec.convert(document, Heartbeat), 0.0)
    row = only(fleet, 0.0)
    assert (row.lag, row.lag_s, row.records, row.dead_letters, row.paused) == (None, None, 0, {}, {})
