"""Rounds in which the broker dies, and in which the network between it and the workers is cut, stalled or slow."""

import random
import time
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.faults.daemon.crew import Crew
from tests.faults.daemon.field import Field
from tests.faults.daemon.points import hot_plans
from tests.faults.daemon.reader import Reader
from tests.faults.daemon.rounds import result
from tests.faults.daemon.stage import Stage

RECOVERY_TIMEOUT_S = 60.0
BROKER_TIMEOUT_S = 120.0


def broker_round(stage: Stage, number: int, seed: int, kills: int) -> dict[str, Any]:
    """The lone broker is killed, often by a worker in the middle of a call to it, and comes back; then it freezes."""
    chooser = random.Random(f"broker {seed} {number}")
    field = stage.field(f"broker-{number}")
    started = time.monotonic()
    with Reader(field) as reader:
        crew = _live(field, reader, chooser)
        recoveries = []
        for kill in range(kills):
            if chooser.random() < 0.5:
                crew.promote()
            _kill_broker(stage, crew, chooser, planned=kill % 2 == 0)
            pause(crew, chooser.choice((0.0, 0.5, 2.0, 6.0)), fed=False)
            stage.broker.start()
            _await_leaders(stage, crew)
            recoveries.append(crew.wait_for_progress(RECOVERY_TIMEOUT_S, "after the broker came back"))
        stage.broker.suspend()
        pause(crew, chooser.choice((1.5, 4.0, 7.0)), fed=False)
        stage.broker.resume()
        _await_leaders(stage, crew)
        recoveries.append(crew.wait_for_progress(RECOVERY_TIMEOUT_S, "after the broker was frozen"))
        crew.close()
        found = result(field, reader, crew, started)
        return {**found, "broker_kills": kills, "recoveries_s": [round(s, 2) for s in recoveries]}


def network_round(stage: Stage, number: int, seed: int, faults: int) -> dict[str, Any]:
    """The connections of one worker or of both are cut, stalled or slowed for a while."""
    chooser = random.Random(f"network {seed} {number}")
    field = stage.field(f"network-{number}", through_lines=True)
    started = time.monotonic()
    done: list[str] = []
    with Reader(field) as reader:
        crew = _live(field, reader, chooser)
        recoveries = []
        try:
            for fault in range(faults):
                lines = stage.lines if fault % 3 == 2 else [chooser.choice(stage.lines)]
                what, lasts_s = ("cut", "stall", "slow")[fault % 3], chooser.choice((0.3, 1.5, 4.0))
                for line in lines:
                    if what == "cut":
                        line.cut()
                    elif what == "stall":
                        line.stall()
                    else:
                        line.slow(chooser.choice((50_000.0, 400_000.0)), 0.02)
                done.append(f"{what} {lasts_s} s" + (" both" if len(lines) > 1 else ""))
                if chooser.random() < 0.4:
                    crew.promote(fetched=True)
                pause(crew, lasts_s)
                for line in lines:
                    line.mend()
                recoveries.append(crew.wait_for_progress(RECOVERY_TIMEOUT_S, f"after {done[-1]}"))
            crew.close()
        finally:
            for line in stage.lines:
                line.mend()
        found = result(field, reader, crew, started)
    carried = sum(line.forwarded_bytes for line in stage.lines)
    assert carried > 1_000_000, f"only {carried} bytes went through the proxies: the workers went around them"
    return {**found, "network_faults": done, "recoveries_s": [round(s, 2) for s in recoveries]}


def pause(crew: Crew, seconds: float, *, fed: bool = True) -> None:
    """Let time pass while the workers are tended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if fed:
            crew.tend()
        else:
            for post in crew.posts:
                post.tend()
        time.sleep(0.03)  # the pace of looking


def _live(field: Field, reader: Reader, chooser: random.Random) -> Crew:
    crew = Crew(field, reader, chooser, [], slots=2)
    crew.promote(fetched=True)
    crew.wait_for_progress(RECOVERY_TIMEOUT_S, "at the start")
    reader.reset_gap()
    return crew


def _await_leaders(stage: Stage, crew: Crew) -> None:
    """A broker that came back serves nobody until its controller believes in it: that is not the workers' time."""
    admin = AdminClient({"bootstrap.servers": stage.broker.bootstrap, "log_level": 0})

    def led() -> bool:
        try:
            topics = admin.list_topics(timeout=1.0).topics.values()
        except KafkaException:
            return False
        return all(partition.leader >= 0 for topic in topics for partition in topic.partitions.values())

    crew.wait(led, BROKER_TIMEOUT_S, lambda: "the broker never served all partitions again")


def _kill_broker(stage: Stage, crew: Crew, chooser: random.Random, *, planned: bool) -> None:
    """Kill it at any time, or let a worker do so at a named point."""
    if planned:
        (plan,) = hot_plans(chooser, 1, action="kill")
        post = chooser.choice(crew.posts)
        assert post.child is not None
        post.child.kill()
        post.arm({**plan.as_dict(), "pid": stage.broker.pid})
        until = time.monotonic() + 6.0
        while stage.broker.running and time.monotonic() < until:
            crew.tend()
            time.sleep(0.01)  # the pace of looking
    else:
        pause(crew, chooser.uniform(0.1, 1.0))
    stage.broker.kill()
