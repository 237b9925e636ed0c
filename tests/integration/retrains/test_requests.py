"""What waits for a run, on a real broker: by the mark that moves after the run was handed over."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner

from scoring import cli
from scoring.contract.errors import ConfigurationError
from scoring.contract.retrain import RetrainRequest
from scoring.settings import read_settings
from tests.support.retrains import Inbox
from tests.support.training import definition
from training.requests import Requests
from training.wake import Covered, Step
from training.waking import Found, cover, look

NOW = datetime(2026, 4, 1, 6, 0, tzinfo=UTC)
COOL_DOWN = timedelta(minutes=10)


def looked(inbox: Inbox, after: timedelta = timedelta(0), *, active: bool = False) -> Found:
    return look(definition(name=inbox.model, cool_down=COOL_DOWN), read_settings(), active=active, now=NOW + after)


def begun(found: Found) -> dict[str, Any]:
    assert found.step is Step.START
    start: dict[str, Any] = found.start
    return start


def test_nothing_waits_before_somebody_asks_and_bad_messages_are_not_requests(inbox: Inbox) -> None:
    assert looked(inbox).step is Step.NOTHING
    inbox.ask_badly(10)
    assert looked(inbox).step is Step.NOTHING


def test_the_command_asks_for_a_retrain_and_says_so(inbox: Inbox) -> None:
    ran = CliRunner().invoke(cli.group, ["retrain", inbox.model, "--reason", "drift", "--actor", "ada"])
    assert (ran.exit_code, ran.output) == (0, f"{inbox.model}: a retrain is asked for, by ada: drift\n")
    (asked,) = inbox.pending().asked
    assert asked.request == RetrainRequest(model=inbox.model, reason="drift", by="ada")
    with pytest.raises(ConfigurationError, match="this cannot be asked for"):
        CliRunner().invoke(cli.group, ["retrain", "No Model", "--reason", "drift"], catch_exceptions=False)


def test_all_that_waits_goes_into_one_run_and_what_comes_before_the_mark_moves_into_the_next(inbox: Inbox) -> None:
    inbox.ask(200)
    start = begun(looked(inbox))
    assert start["woken"]["messages"] == 200
    inbox.ask(3, reason="during the run")
    cover(inbox.model, read_settings(), start)
    assert [asked.request.reason for asked in inbox.pending().asked] == ["during the run"] * 3
    waiting = looked(inbox, COOL_DOWN / 2)
    assert (waiting.step, waiting.again_at) == (Step.WAIT, NOW + COOL_DOWN)
    assert looked(inbox, COOL_DOWN, active=True).step is Step.WAIT
    second = begun(looked(inbox, COOL_DOWN))
    assert (second["woken"]["messages"], second["run_id"] != start["run_id"]) == (3, True)
    cover(inbox.model, read_settings(), second)
    assert looked(inbox, 2 * COOL_DOWN).step is Step.NOTHING


def test_a_kill_before_the_mark_moves_makes_the_same_run_again_and_loses_nothing(inbox: Inbox) -> None:
    inbox.ask(2)
    first = begun(looked(inbox))
    again = begun(looked(inbox, timedelta(seconds=9)))
    assert again["run_id"] == first["run_id"]
    cover(inbox.model, read_settings(), first)
    cover(inbox.model, read_settings(), first)
    assert looked(inbox).step is Step.NOTHING


def test_a_look_that_finds_nothing_keeps_the_mark_and_its_cool_down(inbox: Inbox) -> None:
    inbox.ask(1)
    cover(inbox.model, read_settings(), begun(looked(inbox)))
    before = inbox.pending()
    looked(inbox)
    assert inbox.pending() == before
    assert isinstance(before.covered, Covered)


def test_another_models_requests_are_not_this_ones(inbox: Inbox) -> None:
    inbox.ask(1)
    with Requests(inbox.kafka, inbox.keyring, f"{inbox.model}_b") as other:
        assert other.pending().asked == ()


def test_a_topic_that_is_missing_is_named_with_the_command_that_makes_it(inbox: Inbox) -> None:
    with pytest.raises(ConfigurationError, match="baton topics create"):
        Requests(inbox.kafka, inbox.keyring, inbox.model, topic="no.such.topic")
