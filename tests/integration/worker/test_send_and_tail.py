"""Trying things out from a shell: records sent by one command come back by another one, scored or not."""

import json

import msgspec
import pytest
from click.testing import CliRunner, Result

from scoring import cli
from tests.support.bundles import score_of, small_record
from tests.support.ground import Ground

pytestmark = pytest.mark.integration


def encoded(number: int) -> str:
    return msgspec.json.encode(small_record(number)).decode()


def run(ground: Ground, *arguments: str, stdin: str | None = None) -> Result:
    return CliRunner(env=ground.environment(0)).invoke(cli.group, list(arguments), input=stdin)


def test_what_is_sent_is_scored_and_shown_and_what_cannot_be_scored_too(ground: Ground) -> None:
    ground.promote(1)
    ground.start()
    ground.wait_for_state("live")
    lines = [encoded(number) for number in range(30)]
    sent = run(ground, "send", ground.model, "--key", "id", stdin="\n".join([*lines, "not json", ""]))
    assert (sent.exit_code, sent.stdout) == (0, "")
    assert "31 records sent" in sent.stderr
    ground.produced += 31
    ground.wait_until_done()

    shown = [json.loads(line) for line in run(ground, "tail", ground.model, "--last", "30").stdout.splitlines()]
    assert len(shown) == 30
    assert {document["score"] for document in shown} == {score_of(1, number) for number in range(30)}
    assert len(run(ground, "tail", ground.model).stdout.splitlines()) == 10
    (letter,) = run(ground, "tail", ground.model, "--dead-letters").stdout.splitlines()
    found = json.loads(letter)
    assert (found["reason"], found["value"], found["key"]) == ("malformed-json", "not json", None)


def test_a_key_that_no_record_has_and_a_model_without_topics_are_said(ground: Ground) -> None:
    sent = run(ground, "send", ground.model, "--key", "ident", stdin=encoded(1))
    assert "--key ident: a record has no such field" in str(sent.exception)
    shown = run(ground, "tail", "nobody")
    assert "baton topics create" in str(shown.exception)
