"""Kafka clients whose every call is a point of a plan, and the same for the steps of a swap.

Points are planted from outside: clients through ``Clients``, steps by wrapping the worker's methods. A step that is no
longer there fails loudly, so that a campaign never counts kills at points that nobody passes.
"""

import os
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from scoring.contract.topics import ACKNOWLEDGEMENTS
from scoring.service.options import ClientSettings
from scoring.worker.assignment import Assignment
from scoring.worker.cache import Cache
from scoring.worker.clients import Clients
from scoring.worker.fetch_process import FetchProcess
from scoring.worker.fetching import Fetching
from scoring.worker.models import ModelTable
from scoring.worker.offsets import GroupOffsets
from tests.support.fault_plan import FaultPlan

STEPS: dict[str, tuple[type, str]] = {
    "fetched": (FetchProcess, "fetch"),
    "tried": (FetchProcess, "try_bundle"),
    "cached": (Cache, "keep"),
    "loaded": (Fetching, "_activate"),
    "taken_in": (ModelTable, "apply"),
    "settled": (Fetching, "settled"),
    "remembered": (Cache, "remember"),
    "committed": (GroupOffsets, "committed"),
    "assigned": (Assignment, "_on_assign"),
    "revoked": (Assignment, "_on_revoke"),
    "gone_back": (Assignment, "go_back"),
}


def plant_steps(plan: FaultPlan) -> None:
    """Make the steps of swaps and rebalances points of the plan, in this process."""
    for name, (owner, method) in STEPS.items():
        setattr(owner, method, _around(plan, name, getattr(owner, method)))
    os.fsync = _around(plan, "written", os.fsync)


def _around(plan: FaultPlan, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*arguments: Any, **named: Any) -> Any:
        plan.reach(f"{name}.before")
        result = call(*arguments, **named)
        plan.reach(f"{name}.after")
        return result

    return wrapped


class FaultyProducer(Producer):
    """A transactional producer whose calls are points of the plan."""

    plan: FaultPlan
    outside: Consumer | None = None  # for the planted bug that commits offsets aside
    acknowledging = False
    offsets: list[TopicPartition]

    def around(
        self, name: str, call: Callable[..., Any], *arguments: Any, topic: str | None = None, **named: Any
    ) -> Any:
        self.pass_by(f"{name}.before", topic)
        result = call(*arguments, **named)
        self.pass_by(f"{name}.after", topic)
        return result

    def pass_by(self, point: str, topic: str | None = None) -> None:
        """A point; once more under a name of its own while an acknowledgement is under way."""
        self.plan.reach(point, topic)
        if self.acknowledging:
            self.plan.reach(f"acknowledged.{point}", topic)

    def init_transactions(self, *arguments: Any) -> Any:
        return self.around("init_transactions", super().init_transactions, *arguments)

    def begin_transaction(self, *arguments: Any) -> Any:
        self.pass_by("begin.before")
        super().begin_transaction(*arguments)
        self.plan.open.add(id(self))
        self.pass_by("begin.after")

    def produce(self, topic: str, *arguments: Any, **named: Any) -> Any:
        self.acknowledging = self.acknowledging or topic == ACKNOWLEDGEMENTS
        return self.around("produce", self.send, topic, *arguments, topic=topic, **named)

    def send(self, topic: str, *arguments: Any, **named: Any) -> Any:
        """What a planted bug replaces."""
        super().produce(topic, *arguments, **named)

    def flush(self, *arguments: Any) -> Any:
        return self.around("flush", super().flush, *arguments)

    def send_offsets_to_transaction(self, offsets: list[TopicPartition], *arguments: Any) -> Any:
        if self.plan.bug == "offsets-outside":
            self.offsets = offsets
            return None
        return self.around("send_offsets", super().send_offsets_to_transaction, offsets, *arguments)

    def commit_transaction(self, *arguments: Any) -> Any:
        self.pass_by("commit.before")
        super().commit_transaction(*arguments)
        self.plan.open.discard(id(self))
        self.pass_by("commit.after")
        self.acknowledging = False
        if self.plan.bug == "offsets-outside" and getattr(self, "offsets", None) and FaultyProducer.outside is not None:
            FaultyProducer.outside.commit(offsets=self.offsets, asynchronous=False)
            self.offsets = []

    def abort_transaction(self, *arguments: Any) -> Any:
        self.pass_by("abort.before")
        super().abort_transaction(*arguments)
        self.plan.open.discard(id(self))
        self.pass_by("abort.after")
        self.acknowledging = False


class FaultyConsumer(Consumer):
    """A group member whose calls are points of the plan."""

    plan: FaultPlan

    def around(self, name: str, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        self.plan.reach(f"{name}.before")
        result = call(*arguments, **named)
        self.plan.reach(f"{name}.after")
        return result

    def poll(self, *arguments: Any) -> Any:
        return self.around("poll", super().poll, *arguments)

    def consume(self, *arguments: Any) -> Any:
        return self.around("consume", super().consume, *arguments)

    def consumer_group_metadata(self) -> Any:
        return self.around("group_metadata", super().consumer_group_metadata)

    def get_watermark_offsets(self, *arguments: Any, **named: Any) -> Any:
        name = "known_watermarks" if named.get("cached") else "watermarks"
        return self.around(name, super().get_watermark_offsets, *arguments, **named)

    def seek(self, *arguments: Any) -> Any:
        return self.around("seek", super().seek, *arguments)

    def pause(self, *arguments: Any) -> Any:
        return self.around("pause", super().pause, *arguments)

    def resume(self, *arguments: Any) -> Any:
        return self.around("resume", super().resume, *arguments)

    def incremental_assign(self, *arguments: Any) -> Any:
        return self.around("assign", super().incremental_assign, *arguments)

    def incremental_unassign(self, *arguments: Any) -> Any:
        return self.around("revoke", super().incremental_unassign, *arguments)

    def subscribe(self, *arguments: Any, **named: Any) -> Any:
        FaultyProducer.outside = self
        return self.around("subscribe", super().subscribe, *arguments, **named)

    def unsubscribe(self) -> Any:
        return self.around("unsubscribe", super().unsubscribe)

    def close(self) -> Any:
        return self.around("close", super().close)


class FaultyFollower(Consumer):
    """The reader of notices; only a call that brought a record is a point."""

    plan: FaultPlan

    def poll(self, *arguments: Any) -> Any:
        message = super().poll(*arguments)
        if message is not None and message.error() is None:
            self.plan.reach("notice.after")
        return message


class FaultyHeartbeat(Producer):
    """The producer of heartbeats."""

    plan: FaultPlan

    def produce(self, *arguments: Any, **named: Any) -> Any:
        self.plan.reach("heartbeat.before")
        super().produce(*arguments, **named)
        self.plan.reach("heartbeat.after")

    def flush(self, *arguments: Any) -> Any:
        self.plan.reach("goodbye.before")
        left = super().flush(*arguments)
        self.plan.reach("goodbye.after")
        return left


def faulty_clients(plan: FaultPlan) -> Clients:
    """Clients of a worker that follow the plan."""
    for kind in (FaultyConsumer, FaultyFollower, FaultyProducer, FaultyHeartbeat):
        kind.plan = plan

    def consumer(settings: ClientSettings) -> Consumer:
        return FaultyConsumer(settings) if "group.instance.id" in settings else FaultyFollower(settings)

    def producer(settings: ClientSettings) -> Producer:
        if "transactional.id" not in settings:
            return FaultyHeartbeat(settings)
        slow = plan.what.get("linger_ms", {}).get(settings["transactional.id"].rpartition("-")[2])
        return FaultyProducer({**settings, **({"linger.ms": slow} if slow else {})})

    return Clients(consumer=consumer, producer=producer)
