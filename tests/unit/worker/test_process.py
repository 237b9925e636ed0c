"""Around the loop: stopping, names, settings of the clients, and the process that fetches."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scoring.contract.errors import BundleRejected, ConfigurationError, Unavailable
from scoring.contract.topics import OUTPUT_MAXIMUM_BYTES
from scoring.service.options import check_options
from scoring.settings import Settings
from scoring.worker import fetch_process
from scoring.worker.clients import (
    consumer_settings,
    follower_settings,
    heartbeat_settings,
    producer_settings,
    worker_id,
)
from scoring.worker.fetch_process import FetchProcess
from scoring.worker.process import STOP_PATIENCE_S, Stop, stop_on_signals


def settings(**changes: object) -> Settings:
    made: dict[str, object] = {"kafka_bootstrap": "broker:9092", "deployment": "upsell", "slot": 3, **changes}
    return Settings.model_validate(made)


# --- stopping -----------------------------------------------------------------------------------------------------


def test_nobody_told_it_to_stop() -> None:
    stop = Stop()
    assert not stop.requested()
    assert not stop.overdue()
    assert not stop.wait(0.0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_and_the_handlers_are_put_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    stop = Stop()
    with stop_on_signals(stop):
        os.kill(os.getpid(), number)
        assert stop.wait(5.0)
    assert signal.getsignal(number) is before
    assert stop.requested()


def test_it_is_overdue_counted_from_the_first_request() -> None:
    now = [100.0]
    stop = Stop(lambda: now[0])
    stop.request()
    now[0] += STOP_PATIENCE_S - 1
    stop.request()
    assert not stop.overdue()
    now[0] += 2
    assert stop.overdue()


def test_a_signal_while_it_waits_does_not_lock_it_up() -> None:
    stop = Stop()
    with stop_on_signals(stop):
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
        started = time.monotonic()
        assert stop.wait(30.0)
    assert time.monotonic() - started < 10


# --- clients ------------------------------------------------------------------------------------------------------


def test_a_worker_is_named_by_its_deployment_and_slot() -> None:
    assert worker_id(settings()) == "upsell/3"


def test_the_names_of_the_clients_are_those_of_the_slot_for_ever() -> None:
    made = settings()
    consumer = consumer_settings(made)
    assert (consumer["group.id"], consumer["group.instance.id"]) == ("baton-upsell", "upsell-3")
    assert [producer_settings(made, turn)["transactional.id"] for turn in (0, 1)] == [
        "baton-upsell-3-0",
        "baton-upsell-3-1",
    ]


def test_different_slots_and_deployments_never_share_a_name() -> None:
    made = [settings(deployment=d, slot=s) for d in ("a", "a-1", "a-1-0", "a_1") for s in (0, 1, 10, 11)]
    ids = [producer_settings(one, turn)["transactional.id"] for one in made for turn in (0, 1)]
    assert len(set(ids)) == len(ids)
    members = [(consumer_settings(one)["group.id"], consumer_settings(one)["group.instance.id"]) for one in made]
    assert len(set(members)) == len(members)


def test_what_exactly_once_rests_on_cannot_be_set_otherwise() -> None:
    made = settings(
        kafka_options={
            "enable.auto.commit": True,
            "isolation.level": "read_uncommitted",
            "transactional.id": "mine",
            "transaction.timeout.ms": 900_000,
            "auto.offset.reset": "latest",
            "partition.assignment.strategy": "range",
        }
    )
    consumer, producer = consumer_settings(made), producer_settings(made, 0)
    assert consumer["enable.auto.commit"] is False
    assert consumer["enable.auto.offset.store"] is False
    assert consumer["isolation.level"] == "read_committed"
    assert consumer["auto.offset.reset"] == "error"
    assert consumer["partition.assignment.strategy"] == "cooperative-sticky"
    assert producer["transactional.id"] == "baton-upsell-3-0"
    assert producer["transaction.timeout.ms"] <= 10_000
    assert producer["message.max.bytes"] == OUTPUT_MAXIMUM_BYTES
    assert follower_settings(made)["enable.auto.commit"] is False


def test_options_that_reach_the_broker_are_those_of_every_client() -> None:
    made = settings(kafka_options={"security.protocol": "SSL"})
    for options in (
        consumer_settings(made),
        producer_settings(made, 0),
        heartbeat_settings(made),
        follower_settings(made),
    ):
        assert options["security.protocol"] == "SSL"
        assert options["bootstrap.servers"] == "broker:9092"


# --- the process that fetches -------------------------------------------------------------------------------------


Script = Callable[..., FetchProcess]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Script:
    """Makes what is run instead of the process that fetches."""

    def write(code: str, timeout_s: float = 20.0) -> FetchProcess:
        (tmp_path / "stand_in.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(fetch_process, "fetch_command", lambda *_: [sys.executable, "-m", "stand_in"])
        return FetchProcess(timeout_s=timeout_s)

    return write


def test_a_process_that_is_done_is_done(script: Script, tmp_path: Path) -> None:
    script('print(\'{"outcome": "done"}\')').fetch("small", "1", tmp_path)


def test_a_refusal_is_a_rejected_bundle(script: Script, tmp_path: Path) -> None:
    fetching = script('import sys; print(\'{"outcome": "refused", "reason": "no bundle"}\'); sys.exit(1)')
    with pytest.raises(BundleRejected, match="no bundle"):
        fetching.fetch("small", "1", tmp_path)


@pytest.mark.parametrize(
    "code", ["raise SystemExit(75)", "raise SystemExit(1)", "import nowhere", "import os; os.abort()"]
)
def test_any_other_end_is_temporary(script: Script, tmp_path: Path, code: str) -> None:
    with pytest.raises(Unavailable):
        script(code).fetch("small", "1", tmp_path)


def test_a_registry_that_hangs_is_given_up(script: Script, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="did not deliver small 1 in 0 s"):
        script("import time; time.sleep(60)", timeout_s=0.1).fetch("small", "1", tmp_path)


def test_what_fetches_ends_with_the_worker_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "stand_in.py").write_text("import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)")
    parent = (
        "import os, subprocess, sys, time\n"
        "from scoring.worker.attended import attended\n"
        "subprocess.Popen(attended([sys.executable, '-m', 'stand_in'], os.getpid()))\n"
        "while not (os.path.exists('pid') and open('pid').read()): time.sleep(0.01)\n"
        "os.abort()\n"
    )
    subprocess.run([sys.executable, "-c", parent], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, check=False)
    pid = int((tmp_path / "pid").read_text())
    deadline_s = time.monotonic() + 10
    while running(pid):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def running(pid: int) -> bool:
    """Whether the process is there, and no zombie that nobody waits for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_trial_sees_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "stand_in.py").write_text(
        "import json, os; print(json.dumps({'refused': ' '.join(sorted(name for name in os.environ))}))"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("BATON_KEYS", "k1:secret")
    monkeypatch.setattr(fetch_process, "trial_command", lambda *_: [sys.executable, "-m", "stand_in"])
    with pytest.raises(BundleRejected) as refused:
        FetchProcess().try_bundle("small", "d" * 64, tmp_path)
    assert "PYTHONPATH" in str(refused.value)
    assert "BATON" not in str(refused.value)


def test_closing_ends_what_is_being_fetched_and_fetches_nothing_more(script: Script, tmp_path: Path) -> None:
    fetching = script("import time; time.sleep(60)")
    ended: list[Exception] = []

    def fetch() -> None:
        try:
            fetching.fetch("small", "1", tmp_path)
        except Unavailable as error:
            ended.append(error)

    thread = threading.Thread(target=fetch)
    thread.start()
    while fetching._running is None:
        threading.Event().wait(0.001)
    fetching.close()
    thread.join(10)
    assert len(ended) == 1
    with pytest.raises(Unavailable, match="stopping"):
        fetching.fetch("small", "1", tmp_path)


def test_every_option_that_the_client_refuses_is_named() -> None:
    options = {"max.poll.interval.ms": 2_000, "linger": "soon", "securty.protocol": "SSL"}
    with pytest.raises(ConfigurationError) as caught:
        check_options(settings(kafka_options=options))
    said = str(caught.value)
    assert "linger" in said
    assert "securty.protocol" in said
    assert "max.poll.interval.ms: 2000 is less than BATON_SESSION_TIMEOUT_MS (10000)" in said
    check_options(settings(kafka_options={"max.poll.interval.ms": 10_000}))
