"""The promise, held against a real broker: whatever is killed, every record has exactly one outcome, in order."""

from collections import Counter

import pytest

from scoring.contract.topics import ACKNOWLEDGEMENTS
from tests.support.arena import PARTITIONS, Arena, kills_of, wait_until
from tests.support.bundles import score_of
from tests.support.campaign import Plan, Slot, plans, run
from tests.support.oracle import examine

SEED = 20130401
KILLS = 28
LEAST_NAMED_KILLS = 20
LEAST_POINTS = 12
SWAPS = 5

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(1_200)]


def test_every_record_has_one_outcome_through_kills_swaps_and_moving_partitions(arena: Arena) -> None:
    todo = plans(SEED, KILLS, ACKNOWLEDGEMENTS)
    slots = [Slot(arena, 0, todo[::2]), Slot(arena, 1, todo[1::2])]

    run(arena, slots, swaps=SWAPS, records_per_s=2_000, timeout_s=600)
    arena.wait_for_state("live", sequence=SWAPS + 1, slot=0)
    arena.wait_for_state("live", sequence=SWAPS + 1, slot=1)
    _move_partitions(arena, slots[1])
    arena.feed(2_000)
    arena.wait_until_done(240)

    report = examine(arena, score_of)
    kills = kills_of(arena.kills)
    with_open = Counter(kill["open"] for kill in kills)
    print(f"{report} kills={len(kills)} by open transactions {dict(with_open)}")
    assert report.faultless, report
    named = {kill["point"] for kill in kills} - {"anywhere"}
    assert sum(kill["point"] != "anywhere" for kill in kills) >= LEAST_NAMED_KILLS
    assert len(named) >= LEAST_POINTS
    assert with_open[1] > 0
    assert with_open[2] > 0
    assert len(report.versions) >= SWAPS + 1


def test_the_oracle_catches_offsets_that_are_committed_outside_the_transaction(arena: Arena) -> None:
    todo = [Plan("commit.after", 3), Plan("commit.after", 5), Plan("commit.after", 2), Plan("begin.after", 4)]
    slot = Slot(arena, 0, todo, bug="offsets-outside")
    arena.feed(4_000)

    run(arena, [slot], swaps=0, records_per_s=2_000, timeout_s=300)
    wait_until(lambda: arena.state(0).get("state") == "live", 60, "the last worker never went live")
    arena.wait_until_done(240)

    report = examine(arena, score_of)
    assert not report.faultless
    assert report.doubled > 0


def _move_partitions(arena: Arena, leaving: Slot) -> None:
    """One of two workers leaves while records flow; the other one scores all partitions, until the first is back."""
    assert leaving.process is not None
    arena.feed(4_000)
    assert arena.stop(leaving.process) == 0
    wait_until(lambda: _owned(arena, 0) == PARTITIONS, 90, "slot 0 did not take over all partitions")
    arena.feed(4_000)
    arena.start(leaving.number)
    wait_until(lambda: 0 < _owned(arena, 0) < PARTITIONS, 90, "slot 0 gave no partition back")
    wait_until(lambda: _owned(arena, leaving.number) > 0, 90, f"slot {leaving.number} got no partition")


def _owned(arena: Arena, slot: int) -> int:
    positions = arena.state(slot).get("positions", [])
    assert isinstance(positions, list)
    return len(positions)
