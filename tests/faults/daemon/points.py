"""The named points at which workers die or freeze, and what has to happen so that a worker comes by."""

import random
from enum import Enum

import msgspec


class Needs(Enum):
    """What makes a worker come by a point."""

    NOTHING = "it scores"
    START = "it starts"
    SWAP = "a version is promoted while it scores"
    REBALANCE = "another worker joins or leaves"
    END = "it is told to stop"
    RETIREMENT = "its model is taken out of service"


def _both(*calls: str) -> tuple[str, ...]:
    return tuple(f"{call}.{when}" for call in calls for when in ("before", "after"))


POINTS: dict[str, Needs] = {
    **dict.fromkeys(
        _both("poll", "consume", "group_metadata", "begin", "produce", "flush", "send_offsets", "commit"), Needs.NOTHING
    ),
    **dict.fromkeys(
        (
            *_both("init_transactions", "subscribe", "assign", "assigned", "committed", "watermarks", "seek", "resume"),
            *_both("pause", "heartbeat"),
            "notice.after",
        ),
        Needs.START,
    ),
    **dict.fromkeys(
        (
            *_both("fetched", "tried", "cached", "loaded", "taken_in", "settled", "remembered", "written"),
            *_both("acknowledged.produce", "acknowledged.flush", "acknowledged.send_offsets", "acknowledged.commit"),
        ),
        Needs.SWAP,
    ),
    **dict.fromkeys(_both("revoke", "revoked", "abort", "gone_back"), Needs.REBALANCE),
    **dict.fromkeys(_both("close", "goodbye"), Needs.END),
    **dict.fromkeys(_both("unsubscribe"), Needs.RETIREMENT),
}
# Where transactions of both producers can be open.
OPEN = frozenset(_both("produce", "flush", "send_offsets", "commit"))
# A first acknowledgement is due at each start; these happen a second time when a version is promoted.
AT_START_TOO = frozenset(
    point for point in POINTS if point.startswith(("loaded", "taken_in", "settled", "remembered", "written", "ack"))
)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A worker that acts at the ``count``-th passing of a point, with ``open`` transactions where that is given."""

    point: str
    count: int = 1
    open: int | None = None
    action: str = "kill"

    @property
    def needs(self) -> Needs:
        """What has to happen."""
        needs = POINTS[self.point]
        return Needs.START if needs is Needs.SWAP and self.count == 1 and self.point in AT_START_TOO else needs

    def as_dict(self) -> dict[str, object]:
        """What the worker reads."""
        return {name: value for name, value in msgspec.to_builtins(self).items() if value is not None}


def plans(chooser: random.Random, count: int, first: int, *, action: str = "kill") -> list[Plan]:
    """Plans for a round: the points in turn, beginning with number ``first``, so that a campaign comes by all."""
    names = sorted(POINTS)
    random.Random("points").shuffle(names)
    found = [_plan(chooser, names[(first + number) % len(names)], action) for number in range(count)]
    chooser.shuffle(found)
    return found


def hot_plans(chooser: random.Random, count: int, *, action: str) -> list[Plan]:
    """Plans for points that a worker passes while it scores."""
    names = sorted(point for point, needs in POINTS.items() if needs is Needs.NOTHING)
    return [_plan(chooser, chooser.choice(names), action) for _ in range(count)]


def _plan(chooser: random.Random, point: str, action: str) -> Plan:
    needs = POINTS[point]
    if point.startswith("produce."):
        count = chooser.randint(1, 3_000)
    elif needs is Needs.NOTHING:
        count = chooser.randint(1, 30)
    else:
        count = chooser.randint(1, 2) if point in AT_START_TOO or point.startswith("init") else 1
    open_ = chooser.choice((None, None, 1, 2)) if point in OPEN else None
    if open_ == 2 and not point.startswith("produce."):
        count = min(count, 4)
    return Plan(point=point, count=count, open=open_, action=action)
