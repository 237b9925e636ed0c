"""Around the loop: stopping, names, settings of the clients, and the process that fetches."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from scoring.contract.errors import BundleRejected, Unavailable
from scoring.contract.topics import OUTPUT_MAXIMUM_BYTES
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


def script(monkeypatch: pytest.MonkeyPatch, code: str) -> FetchProcess:
    monkeypatch.setattr(fetch_process, "fetch_command", lambda *_: [sys.executable, "-c", code])
    return FetchProcess(timeout_s=20.0)


def test_a_process_that_is_done_is_done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script(monkeypatch, 'print(\'{"outcome": "done"}\')').fetch("small", "1", tmp_path)


def test_a_refusal_is_a_rejected_bundle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fetching = script(monkeypatch, 'import sys; print(\'{"outcome": "refused", "reason": "no bundle"}\'); sys.exit(1)')
    with pytest.raises(BundleRejected, match="no bundle"):
        fetching.fetch("small", "1", tmp_path)


@pytest.mark.parametrize(
    "code", ["raise SystemExit(75)", "raise SystemExit(1)", "import nowhere", "import os; os.abort()"]
)
def test_any_other_end_is_temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str) -> None:
    with pytest.raises(Unavailable):
        script(monkeypatch, code).fetch("small", "1", tmp_path)


def test_a_registry_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        fetch_process, "fetch_command", lambda *_: [sys.executable, "-c", "import time; time.sleep(60)"]
    )
    with pytest.raises(Unavailable, match="did not deliver small 1 in 0 s"):
        FetchProcess(timeout_s=0.1).fetch("small", "1", tmp_path)


def test_closing_ends_what_is_being_fetched_and_fetches_nothing_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fetching = script(monkeypatch, "import time; time.sleep(60)")
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
