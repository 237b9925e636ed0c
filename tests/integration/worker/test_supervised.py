"""Supervised workers on a real broker: they come and go, are killed and hang, and no record is lost or doubled."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer

from local.ports import free_ports
from scoring.cli import group
from tests.support.arena import end_offsets, wait_until
from tests.support.bundles import score_of
from tests.support.ground import Ground, record
from tests.support.oracle import examine

MakeName = Callable[[str], str]
pytestmark = [pytest.mark.integration, pytest.mark.timeout(360)]


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Supervised:
    """A supervisor and its workers, as its log names them."""

    def __init__(self, ground: Ground, processes: int, slot: int = 0, module: str = "scoring") -> None:
        self.ground = ground
        self.slot = slot
        self.processes = processes
        words = [module, "worker"] if module == "scoring" else [module]
        environment = {**ground.environment(slot), "BATON_PROCESSES": str(processes)}
        with (ground.folder / f"worker-{slot}.log").open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", *words], env=environment, stdout=log, stderr=log)
        ground.workers.append(self.process)

    def events(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.ground.events(self.slot) if event["event"] == name]

    def pid(self, slot: int) -> int:
        """The newest process of a slot."""
        return int([event for event in self.events("slot.started") if event["slot"] == slot][-1]["pid"])

    def wait_until_live(self, *slots: int) -> None:
        wanted = slots or range(self.slot, self.slot + self.processes)

        def all_live() -> bool:
            return all(self.ground.state(slot).get("state") == "live" for slot in wanted)

        wait_until(all_live, 60, f"not all are live\n{self.ground.log_of(self.slot)[-3000:]}", every_s=0.3)

    def wait_for(self, name: str, slot: int, *, timeout_s: float = 60.0) -> dict[str, Any]:
        def found() -> list[dict[str, Any]]:
            return [event for event in self.events(name) if event["slot"] == slot]

        wait_until(lambda: bool(found()), timeout_s, f"{name} was never said of slot {slot}", every_s=0.1)
        return found()[-1]


def owned(ground: Ground) -> dict[int, int]:
    """By slot, how many partitions its newest heartbeat names."""
    found = {}
    for beat in ground.heartbeats():
        positions = beat["models"][ground.model].get("positions", [])  # type: ignore[index]
        found[int(str(beat["worker"]).rpartition("/")[2])] = 0 if beat["left"] else len(positions)
    return found


def counted(ground: Ground) -> int:
    """How many records the newest heartbeats of both workers tell of."""
    return sum(int(str(ground.state(slot).get("records", 0))) for slot in (0, 1))


def test_workers_share_the_partitions_and_end_together_when_they_are_told_to(ground: Ground) -> None:
    ground.promote(1)
    supervised = Supervised(ground, 2)
    supervised.wait_until_live()
    ground.feed(2_000)
    ground.wait_until_done()
    wait_until(lambda: owned(ground) == {0: 2, 1: 2}, 60, "the partitions are not shared", every_s=0.3)
    pids = [supervised.pid(slot) for slot in (0, 1)]
    assert ground.stop(supervised.process) == 0
    assert not any(map(alive, pids))
    assert {str(beat["worker"]).rpartition("/")[2] for beat in ground.heartbeats() if beat["left"]} == {"0", "1"}
    assert examine(ground, score_of).faultless


def test_one_is_killed_one_leaves_and_one_joins_while_records_go_on(ground: Ground) -> None:
    ground.promote(1)
    supervised = Supervised(ground, 3)
    supervised.wait_until_live()
    ground.feed_until_progress(3_000)

    os.kill(supervised.pid(1), signal.SIGKILL)
    ground.feed(3_000)
    ended = supervised.wait_for("slot.ended", 1)
    assert ended["status"] == "SIGKILL"
    wait_until(lambda: len(supervised.events("slot.started")) == 4, 60, "slot 1 was not started again")

    joining = ground.start(slot=7)
    ground.feed(3_000)
    ground.wait_for_state("live", slot=7, sequence=1)
    ground.promote(2)
    ground.feed(3_000)
    assert ground.stop(joining) == 0
    ground.feed(3_000)
    ground.wait_until_done()
    report = examine(ground, score_of)
    assert report.inputs == 15_000
    assert report.faultless, report
    assert ground.stop(supervised.process) == 0


def test_with_its_supervisor_killed_no_worker_stays(ground: Ground) -> None:
    ground.promote(1)
    supervised = Supervised(ground, 2)
    supervised.wait_until_live()
    pids = [supervised.pid(slot) for slot in (0, 1)]
    supervised.process.kill()
    wait_until(lambda: not any(map(alive, pids)), 60, "a worker stays")


@pytest.mark.parametrize(("how", "status"), [("released", "70"), ("held", "SIGKILL")])
def test_a_scorer_that_hangs_is_noticed_and_its_worker_replaced(ground: Ground, how: str, status: str) -> None:
    hang = ground.folder / "hang"
    ground.variables |= {"HANG": str(hang), "BATON_HANG_LIMIT_S": "15"}
    ground.promote(1)
    supervised = Supervised(ground, 1, module="tests.support.hanging_child")
    supervised.wait_until_live()
    hang.write_text(how)
    ground.feed(1_000)
    assert supervised.wait_for("slot.ended", 0)["status"] == status
    assert len(supervised.events("slot.hung")) == (how == "held")
    ground.wait_until_done()
    report = examine(ground, score_of)
    assert report.faultless, report
    assert ground.stop(supervised.process) == 0


def test_a_wrong_setting_ends_it_with_every_mistake_and_is_not_tried_again(ground: Ground) -> None:
    ground.variables |= {
        "BATON_KAFKA_OPTIONS": '{"sasl.mechanizm": "PLAIN", "acks": "perhaps", "linger.ms": "x"}',
        "BATON_SIGNING_KEYS_FILE": str(ground.folder / "nowhere.json"),
        "BATON_METRICS_PORT": "9564",
        "BATON_METRICS_ADDRESS": "0.0.0.0",
    }
    for processes in (0, 2):
        supervised = Supervised(ground, processes, slot=processes)
        assert supervised.process.wait(60) == 2
        said = ground.log_of(processes)
        for part in (
            "sasl.mechanizm",
            "acks: Invalid",
            "linger.ms: Invalid",
            "BATON_SIGNING_KEYS_FILE: cannot read",
            "BATON_METRICS_TOKEN_FILE",
        ):
            assert part in said, said
        assert "Traceback" not in said


def test_a_second_worker_of_a_slot_on_this_host_is_refused(ground: Ground) -> None:
    ground.promote(1)
    first = ground.start()
    ground.wait_for_state("live")
    second = ground.start()
    assert second.wait(60) == 2
    assert f"slot {ground.deployment}/0 is taken on this host by process {first.pid}" in ground.log_of(0)
    ground.feed(100)
    ground.wait_until_done()
    assert ground.stop(first) == 0


# --- what others see ----------------------------------------------------------------------------------------------


def get(port: int, path: str) -> tuple[int, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return int(error.code), error.read().decode()
    except OSError:
        return 0, ""


def test_probes_and_metrics_tell_how_each_worker_stands(ground: Ground) -> None:
    (port,) = free_ports(1)
    patient = {"BATON_SESSION_TIMEOUT_MS": "30000", "BATON_TRANSACTION_TIMEOUT_MS": "10000"}  # no batch is done twice
    ground.variables |= {"BATON_METRICS_PORT": str(port), **patient}
    worker = ground.start()
    wait_until(lambda: get(port, "/livez")[0] == 200, 60, "the worker is not alive")
    status, body = get(port, "/readyz")
    assert (status, json.loads(body)["why_not"]) == (503, [f"{ground.model}: waiting"])
    ground.promote(1)
    ground.feed(1_000)
    for _ in range(5):
        ground.feed_raw(None)
    ground.wait_until_done()
    wait_until(lambda: get(port, "/readyz")[0] == 200, 60, f"it is not ready: {get(port, '/readyz')}")

    def scraped() -> dict[str, float]:
        lines = [line for line in get(port, "/metrics")[1].splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    own = f'{{model="{ground.model}"}}'

    def all_are_counted() -> bool:
        """A commit is timed only after its records are counted."""
        told = scraped()
        commits = told.get('baton_worker_stage_seconds_count{stage="commit"}', 0)
        all_of_them = told.get(f"baton_worker_records_total{own}") == 1_005
        return all_of_them and commits >= told["baton_worker_batch_records_count"]

    wait_until(all_are_counted, 60, "not all records are counted")
    found = scraped()
    assert found[f'baton_worker_dead_letters_total{{model="{ground.model}",reason="null-value"}}'] == 5
    assert found[f"baton_worker_partitions{own}"] == 4
    assert found[f'baton_worker_model_info{{model="{ground.model}",sequence="1",version="1"}}'] == 1
    batches = found["baton_worker_batch_records_count"]
    assert batches > 0
    for stage in ("consume", "decode", "look_up", "encode", "score", "emit", "produce"):
        assert found[f'baton_worker_stage_seconds_count{{stage="{stage}"}}'] == batches, stage
    for stage in ("flush", "commit"):
        assert found[f'baton_worker_stage_seconds_count{{stage="{stage}"}}'] >= batches
    assert found["baton_worker_swap_pause_seconds_count"] == 1
    assert found["baton_worker_cache_bundles"] == 1
    lags = [value for name, value in found.items() if name.startswith("baton_worker_lag_seconds{")]
    assert len(lags) == 4
    assert ground.stop(worker) == 0


def test_markers_of_the_producers_transactions_are_no_records_that_wait(ground: Ground, unique_name: MakeName) -> None:
    ground.promote(1)
    worker = ground.start()
    ground.wait_for_state("live")
    producer = Producer({"bootstrap.servers": ground.bootstrap, "transactional.id": unique_name("sender")})
    producer.init_transactions(20)
    for _ in range(3):
        producer.begin_transaction()
        for number in range(ground.produced, ground.produced + 8):
            producer.produce(ground.topics.input, record(number), b"k", number % 4)
        producer.commit_transaction(20)
        ground.produced += 8
    ground.wait_until_done()
    ground.wait_for_heartbeats(1)  # one of before the records says the same
    ground.wait_for_status(lambda status: (status.get("lag"), status.get("lag_s")) == ([0] * 4, [0.0] * 4))
    assert end_offsets(ground.bootstrap, ground.topics.input) == [9, 9, 9, 9]  # with the markers
    assert ground.stop(worker) == 0


def test_top_shows_every_worker_and_what_became_of_its_records(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    ground.promote(1)
    supervised = Supervised(ground, 2)
    supervised.wait_until_live()
    ground.feed(400)
    for _ in range(3):
        ground.feed_raw(None, partition=1)
    ground.wait_until_done()
    for slot in (0, 1):
        ground.wait_for_heartbeats(1, slot=slot)
    wait_until(lambda: counted(ground) == 403, 60, "the heartbeats do not tell of all records", every_s=0.3)
    for name, value in ground.environment(0).items():
        if name.startswith("BATON_"):
            monkeypatch.setenv(name, value)
    found = CliRunner().invoke(group, ["top", "--once", "--json", "--deployment", ground.deployment])
    assert found.exit_code == 0, found.output
    rows = json.loads(found.stdout)
    assert [(row["worker"], row["presence"], row["state"], row["sequence"]) for row in rows] == [
        (f"{ground.deployment}/{slot}", "live", "live", 1) for slot in (0, 1)
    ]
    assert sum(row["records"] for row in rows) == 403
    assert sum(row["dead_letters"].get("null-value", 0) for row in rows) == 3
    assert sorted(partition for row in rows for partition in row["partitions"]) == [0, 1, 2, 3]
    assert all(row["records_per_s"] is not None for row in rows)

    told = CliRunner().invoke(group, ["top", "--once", "--listen", "3", "--deployment", ground.deployment]).stdout
    assert "dead letters: null-value 3" in told
    assert told.count(" live ") == 2
    assert ground.stop(supervised.process) == 0
    nobody = CliRunner().invoke(group, ["top", "--once", "--listen", "0.5", "--deployment", "nobody"])
    assert nobody.exit_code == 1
    assert "no worker was heard" in nobody.stderr


def test_a_worker_that_waits_for_its_broker_is_alive_and_not_ready(ground: Ground) -> None:
    port, nobody = free_ports(2)
    ground.variables |= {"BATON_METRICS_PORT": str(port), "BATON_KAFKA_BOOTSTRAP": f"127.0.0.1:{nobody}"}
    worker = ground.start()
    ground.wait_for_log("broker.waiting", timeout_s=60)
    wait_until(lambda: get(port, "/livez")[0] == 200, 60, "nobody tells that it is alive")
    assert get(port, "/readyz")[0] == 503
    assert "baton_worker_ready 0.0" in get(port, "/metrics")[1]
    assert ground.stop(worker) == 0
