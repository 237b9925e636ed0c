"""Systems that are away, slow, full or wrong about the time: the worker does what the docs say, and recovers by itself.

See ``docs/explanation/faults.md``; memory is bounded in each.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Producer

from local.kafka.broker import Broker, java_command
from tests.faults.daemon.crew import EXIT_AGAIN
from tests.support.arena import wait_until
from tests.support.broker import KAFKA_JARS
from tests.support.bundles import MOMENT, score_of
from tests.support.ground import Ground, Warehouse, record, registry_away
from tests.support.oracle import examine

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

# What a worker may take more than before, whatever is away; its client's queues alone may hold 16 MiB.
GROWTH_BYTES = 64 * 2**20
YEARS_S = 10 * 365 * 86_400


class Memory:
    """How much more a worker takes than when it began to score."""

    def __init__(self, worker: subprocess.Popen[bytes]) -> None:
        self._process = psutil.Process(worker.pid)
        self._before = self._process.memory_info().rss

    def check(self) -> None:
        grown = self._process.memory_info().rss - self._before
        assert grown < GROWTH_BYTES, f"{grown / 2**20:.0f} MiB more than before"


@pytest.fixture
def worker(ground: Ground) -> subprocess.Popen[bytes]:
    """One that scores."""
    ground.promote(1)
    started = ground.start()
    ground.wait_for_state("live")
    ground.feed(4_000)
    ground.wait_until_done()
    return started


def faultless(ground: Ground) -> None:
    report = examine(ground, score_of)
    assert report.faultless, report


# --- the registry -------------------------------------------------------------------------------------------------


def test_while_the_registry_is_away_the_old_version_scores_and_the_new_one_follows_by_itself(
    ground: Ground, worker: subprocess.Popen[bytes]
) -> None:
    memory = Memory(worker)
    ground.register(2)
    away = registry_away(ground.folder)
    ground.notify(2, 2)
    ground.wait_for_state("fetching", sequence=1)
    ground.feed(4_000)
    ground.wait_until_done()
    assert {p["sequence"] for p in ground.predictions()} == {1}
    away.rename(ground.folder / "registry")
    ground.wait_for_state("live", sequence=2, timeout_s=60)
    memory.check()
    faultless(ground)


# --- the lookup database ------------------------------------------------------------------------------------------


def test_while_the_lookup_database_is_away_a_backlog_waits_on_the_broker_and_not_in_memory(
    ground: Ground, tmp_path: Path
) -> None:
    warehouse = Warehouse(tmp_path / "warehouse.db")
    warehouse.observe([("red", MOMENT - timedelta(hours=1), 2.5)])
    ground.variables["BATON_CONNECTIONS__WAREHOUSE"] = warehouse.url
    ground.promote_with_weather(1)
    started = ground.start()
    ground.feed(400)
    ground.wait_until_done()
    memory = Memory(started)
    warehouse.go_away()
    ground.feed(100_000)  # later times, which no cache knows
    ground.wait_for_log("batch.put_back")
    ground.wait_for_heartbeats(3)
    memory.check()
    warehouse.come_back()
    ground.wait_until_done(120)
    memory.check()
    report = examine(ground, score_of)
    assert report.lost == report.doubled == report.disordered == report.dead_letters == 0, report


# --- the broker ---------------------------------------------------------------------------------------------------


def test_while_the_broker_is_away_memory_stays_where_it_was(own_broker: Broker, own_ground: Ground) -> None:
    own_ground.promote(1)
    started = own_ground.start()
    own_ground.wait_for_state("live")
    own_ground.feed_until_progress(100_000)
    memory = Memory(started)
    own_broker.kill()
    for _ in range(12):
        with pytest.raises(subprocess.TimeoutExpired):
            started.wait(1.0)  # it waits for its broker, and does not give up
        memory.check()
    own_broker.start()
    if finish(own_ground, started):
        memory.check()
    faultless(own_ground)


def finish(ground: Ground, worker: subprocess.Popen[bytes], timeout_s: float = 120.0) -> bool:
    """Wait until every record has its outcome; whether the worker lived that long.

    A broker that died between a join and its answer takes the member for a second one in its slot, which ends the
    process with 70: here it is followed by a fresh one, as by its supervisor.
    """
    deadline, first = time.monotonic() + timeout_s, worker
    while len(ground.outcomes()) < ground.produced:
        assert time.monotonic() < deadline, f"some records have no outcome (waited {timeout_s} s)"
        if worker.poll() is not None:
            assert worker.returncode == EXIT_AGAIN
            worker = ground.start()
        time.sleep(0.5)
    return worker is first


def test_a_broker_that_throttles_the_worker_makes_it_slow_and_nothing_else(
    ground: Ground, worker: subprocess.Popen[bytes]
) -> None:
    memory = Memory(worker)
    name = f"baton-{ground.deployment}/0"
    limits = {name: "consumer_byte_rate=150000", f"{name}-0": "producer_byte_rate=300000",
              f"{name}-1": "producer_byte_rate=300000"}  # fmt: skip
    for client, rate in limits.items():
        set_quota(ground.bootstrap, client, rate)
    ground.feed(20_000)
    seen = ground.outcomes_visible()
    ground.wait_for_heartbeats(2)
    memory.check()
    slowly = ground.outcomes_visible() - seen
    assert 0 < slowly < 20_000, "the quota was not felt, or nothing went on"
    ground.wait_until_done(120)
    memory.check()
    faultless(ground)


def set_quota(bootstrap: str, client: str, rate: str) -> None:
    """What a broker grants to one client, in bytes per second."""
    entity = ["--entity-type", "clients", "--entity-name", client]
    command = java_command(
        KAFKA_JARS, "kafka.admin.ConfigCommand", "--bootstrap-server", bootstrap, "--alter", "--add-config", rate,
        *entity, heap="128m",
    )  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


# --- the disk -----------------------------------------------------------------------------------------------------


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """A file system of its own of that size."""
    if os.geteuid() != 0:
        pytest.skip("a small file system can be mounted by root only")
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_cache_on_a_full_disk_keeps_the_old_version_scoring_and_the_new_one_follows_when_there_is_room(
    ground: Ground, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", 1_000_000) as disk:
        ground.variables["BATON_CACHE_DIR"] = str(disk / "cache")
        ground.promote(1)
        started = ground.start()
        ground.wait_for_state("live", sequence=1)
        memory = Memory(started)
        filler = disk / "filler"
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(b"x" * 2_000_000)
        ground.promote(2)
        ground.wait_for_state("fetching", sequence=1)
        ground.wait_for_status(lambda status: "No space left" in str(status.get("reason")), timeout_s=40)
        ground.feed(4_000)
        ground.wait_until_done()
        assert {p["sequence"] for p in ground.predictions()} == {1}
        filler.unlink()
        ground.wait_for_state("live", sequence=2, timeout_s=60)
        ground.feed(400)
        ground.wait_until_done()
        memory.check()
        assert ground.stop(started) == 0
    faultless(ground)


def test_a_disk_that_fills_up_before_a_version_is_remembered_costs_a_restart_nothing(
    ground: Ground, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", 1_000_000) as disk:
        ground.variables["BATON_CACHE_DIR"] = str(disk / "cache")
        full = {"point": "remembered.before", "count": 1, "fill": str(disk / "filler")}
        ground.promote(1)
        started = ground.start(plan=full)
        ground.wait_for_log("memory.unsaved")
        ground.feed(4_000)
        ground.wait_until_done()
        (disk / "filler").unlink()
        started.kill()
        started.wait()
        ground.start()
        ground.feed(4_000)
        ground.wait_until_done()
        ground.wait_for_state("live", sequence=1)
        ground.close()
    faultless(ground)


# --- clocks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset_s", "jumps"), [(YEARS_S, False), (-YEARS_S, False), (3_600, True)], ids=["ahead", "behind", "jumping"]
)
def test_a_worker_whose_clock_is_wrong_scores_swaps_and_is_believed(
    ground: Ground, offset_s: float, jumps: bool
) -> None:
    ground.promote(1)
    started = ground.start(plan={"clock_offset_s": offset_s, "jumps": jumps})
    ground.feed(4_000)
    ground.wait_for_state("live", sequence=1)
    ground.promote(2)
    ground.wait_for_state("live", sequence=2)
    ground.feed(4_000)
    ground.wait_until_done()
    assert {ack["sequence"] for ack in ground.acknowledgements()} == {1, 2}
    scored = {str(p["scored_at"])[:4] for p in ground.predictions()}
    assert jumps or scored <= {str(2026 + sign) for sign in range(-12, 12)}
    assert ground.stop(started) == 0
    faultless(ground)


def test_messages_whose_timestamps_are_far_off_are_scored_like_all_others(
    ground: Ground, worker: subprocess.Popen[bytes]
) -> None:
    ground.set(ground.topics.input, "message.timestamp.after.max.ms", str(2**62))  # by default a broker refuses them
    producer = Producer({"bootstrap.servers": ground.bootstrap})
    moments_ms = [1, 1_000, 10**12, 4 * 10**12, 253_402_300_799_000]
    for number in range(ground.produced, ground.produced + 400):
        producer.produce(
            ground.topics.input,
            record(number),
            b"k%d" % (number % 40),
            number % 4,
            timestamp=moments_ms[number % len(moments_ms)],
            headers=[("correlation-id", b"c%d" % number)],
        )
    assert producer.flush(30) == 0
    ground.produced += 400
    ground.wait_until_done()
    ground.promote(2)  # and retention by time, which these timestamps upset, has nothing to do with it
    ground.wait_for_state("live", sequence=2)
    faultless(ground)
    wait_until(lambda: ground.state().get("lag") == [0, 0, 0, 0], 20, "there is a lag left")
