"""The real worker with Kafka clients that die at a named call, or with a planted bug.

``FAULT_PLAN`` is a JSON object:

* ``point``: ``<call>.before`` or ``<call>.after``; the process kills itself with SIGKILL there,
* ``count``: at which time it comes by (1 is the first),
* ``open``: count only while so many transactions are open,
* ``topic``: count only ``produce`` calls to this topic,
* ``bug``: ``offsets-outside`` commits offsets after the transaction instead of in it; others are in ``planted_bugs``,
* ``linger_ms``: by turn (0 or 1), how long that transactional producer waits before it sends,
* ``kills``: a file that gets a line for each kill.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from scoring.commands.worker import exit_with_the_thread
from scoring.log import configure_logging
from scoring.settings import read_settings
from scoring.worker.clients import Clients, ClientSettings
from scoring.worker.policy import MustExit
from scoring.worker.process import Stop, run_worker, stop_on_signals
from tests.support.planted_bugs import BUGS

PLAN: dict[str, Any] = json.loads(os.environ.get("FAULT_PLAN", "{}"))


class Plan:
    """Counts calls, and ends the process at the planned one."""

    def __init__(self) -> None:
        self.open: set[int] = set()
        self.passed = 0
        self.lock = threading.Lock()

    def reach(self, point: str, topic: str | None = None) -> None:
        if point != PLAN.get("point"):
            return
        if PLAN.get("open") not in {None, len(self.open)} or PLAN.get("topic") not in {None, topic}:
            return
        with self.lock:
            self.passed += 1
            if self.passed == PLAN.get("count", 1):
                self.die(point)

    def die(self, point: str) -> None:
        line = json.dumps({"point": point, "open": len(self.open), "slot": os.environ["BATON_SLOT"]}) + "\n"
        with Path(PLAN["kills"]).open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        os.kill(os.getpid(), signal.SIGKILL)


plan = Plan()
outside: list[Consumer] = []


def around(name: str, call: Callable[..., Any], *arguments: Any, topic: str | None = None, **named: Any) -> Any:
    plan.reach(f"{name}.before", topic)
    result = call(*arguments, **named)
    plan.reach(f"{name}.after", topic)
    return result


class FaultyProducer(Producer):
    """A producer whose calls are points of the plan."""

    def init_transactions(self, *arguments: Any) -> Any:
        return around("init_transactions", super().init_transactions, *arguments)

    def begin_transaction(self, *arguments: Any) -> Any:
        plan.reach("begin.before")
        super().begin_transaction(*arguments)
        plan.open.add(id(self))
        plan.reach("begin.after")

    def produce(self, topic: str, *arguments: Any, **named: Any) -> Any:
        return around("produce", self.send, topic, *arguments, topic=topic, **named)

    def send(self, topic: str, *arguments: Any, **named: Any) -> Any:
        """What a planted bug replaces."""
        super().produce(topic, *arguments, **named)

    def flush(self, *arguments: Any) -> Any:
        return around("flush", super().flush, *arguments)

    def send_offsets_to_transaction(self, offsets: list[TopicPartition], *arguments: Any) -> Any:
        if PLAN.get("bug") == "offsets-outside":
            self.offsets = offsets
            return None
        return around("send_offsets", super().send_offsets_to_transaction, offsets, *arguments)

    def commit_transaction(self, *arguments: Any) -> Any:
        plan.reach("commit.before")
        super().commit_transaction(*arguments)
        plan.open.discard(id(self))
        plan.reach("commit.after")
        if PLAN.get("bug") == "offsets-outside" and getattr(self, "offsets", None):
            outside[0].commit(offsets=self.offsets, asynchronous=False)
            self.offsets = []

    def abort_transaction(self, *arguments: Any) -> Any:
        plan.reach("abort.before")
        super().abort_transaction(*arguments)
        plan.open.discard(id(self))
        plan.reach("abort.after")


class FaultyConsumer(Consumer):
    """A consumer whose calls are points of the plan."""

    def poll(self, *arguments: Any) -> Any:
        return around("poll", super().poll, *arguments)

    def consume(self, *arguments: Any) -> Any:
        return around("consume", super().consume, *arguments)

    def committed(self, *arguments: Any) -> Any:
        return around("committed", super().committed, *arguments)

    def seek(self, *arguments: Any) -> Any:
        return around("seek", super().seek, *arguments)

    def resume(self, *arguments: Any) -> Any:
        return around("resume", super().resume, *arguments)

    def incremental_assign(self, *arguments: Any) -> Any:
        return around("assign", super().incremental_assign, *arguments)

    def incremental_unassign(self, *arguments: Any) -> Any:
        return around("revoke", super().incremental_unassign, *arguments)

    def subscribe(self, *arguments: Any, **named: Any) -> Any:
        outside.append(self)
        return around("subscribe", super().subscribe, *arguments, **named)


def _consumer(settings: ClientSettings) -> Consumer:
    return FaultyConsumer(settings) if "group.instance.id" in settings else Consumer(settings)


def _producer(settings: ClientSettings) -> Producer:
    if "transactional.id" not in settings:
        return Producer(settings)
    slow = PLAN.get("linger_ms", {}).get(settings["transactional.id"].rpartition("-")[2])
    return FaultyProducer({**settings, **({"linger.ms": slow} if slow else {})})


def main() -> None:
    """Run the worker as ``baton worker`` does."""
    settings = read_settings()
    if PLAN.get("bug") in BUGS:
        BUGS[PLAN["bug"]](FaultyProducer)
    configure_logging(settings.log_format)
    stop = Stop()
    threading.excepthook = exit_with_the_thread
    try:
        with stop_on_signals(stop):
            run_worker(settings, stop, Clients(consumer=_consumer, producer=_producer))
    except MustExit as error:
        print(f"must exit: {error}", file=sys.stderr)
        sys.exit(70)


if __name__ == "__main__":
    main()
