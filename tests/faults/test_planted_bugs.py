"""Sentences of the protocol left out of the worker, one at a time: the oracle sees each, and none without the bug."""

import shutil

import pytest

from scoring.contract.topics import ACKNOWLEDGEMENTS
from tests.support.arena import wait_until
from tests.support.bundles import score_of
from tests.support.ground import Ground
from tests.support.oracle import Report, examine

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

with_and_without = pytest.mark.parametrize("planted", [True, False], ids=["planted", "left in"])


def plan(bug: str, planted: bool, **more: object) -> dict[str, object]:
    return {**more, **({"bug": bug} if planted else {})}


def finish(ground: Ground) -> Report:
    """Wait until the stream stands still, then look at it: with a bug, records may be lost for ever."""
    seen = -1
    while seen != (seen := ground.outcomes_visible()) or not seen:
        ground.wait_for_heartbeats(2)
    return examine(ground, score_of)


@with_and_without
def test_b4_a_batch_that_is_produced_before_the_one_before_was_flushed_overtakes_it(
    ground: Ground, planted: bool
) -> None:
    ground.promote(1)
    ground.feed(30_000)
    # Every other producer is slow to send, so that what follows it can overtake.
    ground.start(plan=plan("produce-before-the-flush", planted, linger_ms={"0": 25}))
    ground.wait_until_done(120)
    report = examine(ground, score_of)
    assert (report.disordered > 0) is planted
    assert report.lost == report.doubled == 0


@with_and_without
def test_b5_without_going_back_to_the_committed_offsets_an_abort_loses_records(ground: Ground, planted: bool) -> None:
    ground.promote(1)
    ground.start(0, plan=plan("stay-after-an-abort", planted))
    ground.feed(200)
    ground.wait_until_done()
    for _ in range(3):  # each rebalance aborts what is in flight
        ground.feed_until_progress(12_000)
        other = ground.start(1)
        ground.wait_for_log("partitions.assigned", slot=1)
        ground.feed(2_000)
        other.kill()
        other.wait()
    report = finish(ground)
    assert (report.lost > 0) is planted, report
    assert report.faultless is not planted


@with_and_without
def test_a10_an_acknowledgement_outside_the_transaction_tells_of_a_swap_that_never_was(
    ground: Ground, planted: bool
) -> None:
    ground.promote(1)
    dies = {"point": "produce.after", "topic": ACKNOWLEDGEMENTS, "count": 2}
    worker = ground.start(plan=plan("acknowledgement-outside", planted, **dies))
    ground.wait_for_state("live", sequence=1)
    ground.feed(400)
    ground.promote(2)
    assert worker.wait(30) == -9
    ground.promote(3)
    ground.start()
    ground.feed(400)
    ground.wait_until_done()
    ground.wait_for_state("live", sequence=3)

    said = {ack["sequence"] for ack in ground.acknowledgements() if ack["outcome"] == "live"}
    scored = {prediction["sequence"] for prediction in ground.predictions()}
    assert 2 not in scored
    assert (2 in said) is planted


@with_and_without
def test_a12_without_the_metadata_the_sequence_goes_back_when_a_partition_moves(ground: Ground, planted: bool) -> None:
    bug = plan("ignore-the-metadata", planted)
    ground.promote(1)
    ahead = ground.start(0)
    ground.wait_for_state("live", sequence=1, slot=0)
    # The other worker's registry has yet to hear of version 2.
    ground.variables["BATON_CACHE_DIR"] = str(ground.folder / "cache-1")
    behind = ground.copy_of_registry()
    ground.variables["BATON_REGISTRY_URI"] = f"file://{behind}"
    ground.start(1, plan=bug)
    ground.wait_for_state("live", sequence=1, slot=1)
    ground.promote(2)
    ground.wait_for_state("live", sequence=2, slot=0)
    ground.wait_for_state("fetching", sequence=1, slot=1)
    ground.feed(800)
    ground.wait_until_done()

    ahead.kill()  # its partitions go to the other one
    ground.feed(800)
    if planted:
        ground.wait_until_done()
        assert examine(ground, score_of).backwards > 0
        return
    ground.wait_for_state("held", slot=1)
    shutil.copytree(ground.folder / "registry" / ground.model / "2", behind / ground.model / "2")
    ground.wait_until_done()
    assert examine(ground, score_of).faultless


@with_and_without
def test_b8_a_dead_letter_outside_the_transaction_is_doubled_by_a_kill(ground: Ground, planted: bool) -> None:
    ground.promote(1)
    for number in range(40):
        ground.feed_raw(b"malformed", partition=number % 4)
    worker = ground.start(plan=plan("dead-letter-outside", planted, point="commit.before", count=1))
    assert worker.wait(30) == -9
    ground.start()
    wait_until(lambda: len(ground.letters()) >= 40, 60, "dead letters are missing")
    ground.feed(40)
    report = finish(ground)
    assert (report.doubled > 0) is planted
    assert report.lost == 0
