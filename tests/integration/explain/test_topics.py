"""A definition that names topics of its own: commands look there, as the champion's manifest says."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.kafka.broker import Broker
from scoring.contract.manifest import Topics
from scoring.topics import ensure_topics
from tests.support.bundles import make_bundle, small_schema
from tests.support.command_line import baton
from tests.support.explain_stage import Stage
from tests.support.ground import record

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


@pytest.fixture
def stage(broker: Broker, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(broker.bootstrap, tmp_path)
    yield made
    made.close()


def call(stage: Stage, *arguments: str, **variables: str) -> tuple[int, str, str]:
    return baton({**stage.environment(0), **variables}, *arguments)


def answer(stage: Stage, *arguments: str, **variables: str) -> Any:
    code, output, errors = call(stage, *arguments, "--json", **variables)
    assert code == 0, f"{output}\n{errors}"
    return json.loads(output)


def test_topics_are_those_that_the_champions_manifest_names(stage: Stage) -> None:
    model = stage.model
    own = Topics(input=f"{model}-in", predictions=f"{model}-out", dead_letters=f"{model}-bad")
    stage.create_model_topics(own)
    ensure_topics({"bootstrap.servers": stage.bootstrap}, [], replication=1)
    stage.topics = own
    folder = stage.folder / "registry" / model / "1"
    stage.digests[1] = make_bundle(folder, 1, model=model, topics=own, schema=small_schema())
    stage.decide(1)
    stage.start()
    stage.feed(8)
    stage.feed_raw(record(1, x="seven"), partition=0)
    stage.wait_until_done()

    (letter,) = answer(stage, "dead-letters", "list", model)
    assert letter["place"]["topic"] == own.dead_letters
    assert answer(stage, "dead-letters", "replay", model, "--all", "--why", "again", "--dry-run")["replayed"] == 1
    found = answer(stage, "explain", own.input, "0", "1", "--model", model)
    assert (found["sound"], found["rescored"]["verdict"]) == (True, "identical")
    assert answer(stage, "explain", own.dead_letters, "0", "0", "--model", model)["letter"]["field"] == "x"

    lines = stage.folder / "records.jsonl"
    lines.write_bytes(record(20) + b"\n")
    code, _, told = call(stage, "send", model, str(lines))
    assert (code, f"1 records sent to {own.input}" in told) == (0, True)
    stage.produced += 1
    stage.wait_until_done()
    code, shown, _ = call(stage, "tail", model)
    assert (code, len(shown.splitlines())) == (0, 9)

    code, _, told = call(stage, "explain", own.input, "0", "1")
    assert (code, f"the ledger knows {model}" in told, "--model" in told) == (2, True, True)
    code, _, told = call(stage, "explain", "elsewhere", "0", "1", "--model", model)
    assert (code, own.predictions in told, "--topics" in told) == (2, True, True)

    named = ("--topics", f"{own.input},{own.predictions},{own.dead_letters}")
    assert len(answer(stage, "dead-letters", "list", model, *named, BATON_LEDGER_URL="")) == 1
    code, _, told = call(stage, "dead-letters", "list", model, BATON_REGISTRY_URI="")
    assert (code, "standard names" in told) == (0, True)
    assert call(stage, "dead-letters", "list", model, "--topics", "one,two")[0] == 2
