"""Partitions that the group has left to nobody."""

from collections.abc import Collection

import msgspec
import pytest

from scoring.contract.errors import Unavailable
from scoring.worker.orphans import Group, Orphans
from scoring.worker.partitions import Place

LEFT: frozenset[Place] = frozenset({("in", 0), ("in", 1)})
SOUND = Group(
    stable=True,
    members={"d-0": frozenset({("in", 2), ("in", 3)}), "d-1": LEFT},
    partitions={"in": 4},
)
ORPHANED = msgspec.structs.replace(SOUND, members={**SOUND.members, "d-1": frozenset()})


class Watched:
    """Looks as often as it is told, at what it is given."""

    def __init__(self, member: str = "d-1") -> None:
        self.now_s = 1_000.0
        self.group: Group | None = SOUND
        self.asked: list[Collection[str]] = []
        self.orphans = Orphans(self.ask, member, clock_s=lambda: self.now_s)
        self.orphans.topics = ["in"]

    def ask(self, topics: Collection[str]) -> Group:
        self.asked.append(topics)
        if self.group is None:
            raise Unavailable("away")
        return self.group

    def looks(self, *groups: Group | None) -> frozenset[Place]:
        for self.group in groups:
            self.orphans.look()
        return self.orphans.take()


def test_what_is_nobodys_twice_in_a_row_is_asked_for_once() -> None:
    watched = Watched()
    assert watched.looks(SOUND, ORPHANED) == frozenset()
    assert watched.looks(ORPHANED) == LEFT
    assert watched.looks(SOUND) == frozenset()


def test_a_rebalance_that_is_going_on_or_ends_between_two_looks_leaves_no_orphans() -> None:
    moving = msgspec.structs.replace(ORPHANED, stable=False)
    other = msgspec.structs.replace(ORPHANED, members={"d-0": LEFT, "d-1": frozenset()})
    assert Watched().looks(ORPHANED, moving, ORPHANED, moving) == frozenset()
    assert Watched().looks(ORPHANED, other) == frozenset()
    assert Watched().looks(msgspec.structs.replace(ORPHANED, members={})) == frozenset()


@pytest.mark.parametrize(("member", "asks"), [("d-0", False), ("d-1", True)])
def test_the_member_with_the_least_to_put_down_asks(member: str, asks: bool) -> None:
    assert bool(Watched(member).looks(ORPHANED, ORPHANED)) is asks


def test_where_asking_does_not_help_it_is_done_ever_more_rarely_and_anew_after_all_was_well() -> None:
    watched, at_s = Watched(), []
    watched.looks(ORPHANED)
    for _ in range(200):
        if watched.looks(ORPHANED):
            at_s.append(watched.now_s - 1_000.0)
        watched.now_s += 1.0
    assert at_s == [0.0, 15.0, 45.0, 105.0]
    watched.looks(SOUND)
    watched.now_s += 1_000.0
    assert watched.looks(ORPHANED, ORPHANED) == LEFT
    watched.now_s += 15.0
    assert watched.looks(ORPHANED) == LEFT


def test_while_nothing_is_read_here_nobody_is_asked_and_an_outage_is_passed_over() -> None:
    watched = Watched()
    assert watched.looks(ORPHANED, None, ORPHANED) == LEFT
    watched.orphans.topics = ()
    watched.asked.clear()
    assert watched.looks(ORPHANED, ORPHANED) == frozenset()
    assert watched.asked == []
