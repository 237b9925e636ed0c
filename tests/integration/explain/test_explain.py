"""Explanations of what a real worker scored, through swaps: each record scores the same again, bit for bit."""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import TopicPartition

from local.kafka.broker import Broker
from scoring.explain.explaining import explain
from scoring.explain.explanation import Explanation, Verdict
from tests.support.arena import Record, read_all
from tests.support.command_line import baton
from tests.support.explain_stage import Stage
from tests.support.ground import record

pytestmark = pytest.mark.integration
SHORT, LONG = 60, 1_000


@pytest.fixture
def stage(broker: Broker, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(broker.bootstrap, tmp_path)
    yield made
    made.close()


def chosen(stage: Stage, count: int, seed: int) -> list[Record]:
    """Some predictions at random, and those right before and after every swap on every partition."""
    found = read_all(stage.bootstrap, stage.topics.predictions)
    firsts = {
        (position["partition"], position["offset"])
        for said in stage.acknowledgements()
        for position in said["positions"]  # type: ignore[attr-defined]
    }
    at = {(each["partition"], each["offset"]): r for r in found for each in [json.loads(r.value or b"")["input"]]}
    around = [at[p, o + d] for p, o in firsts for d in (-1, 0) if (p, o + d) in at]
    assert len(around) >= 16
    return [*around, *random.Random(seed).sample(found, count)]


def check(stage: Stage, count: int, seed: int = 7) -> None:
    with stage.acknowledged() as acknowledged, stage.collector(acknowledged) as collector:
        sequences = set()
        for each in chosen(stage, count, seed):
            found = explain(collector.collect(stage.topics.predictions, each.partition, each.offset))
            assert found.rescored is not None
            assert found.rescored.verdict is Verdict.IDENTICAL, found.rescored
            assert found.sound, found.why
            around_it(found)
            assert found.prediction is not None
            sequences.add(found.prediction.sequence)
    assert sequences == {1, 2, 3, 4, 5}


def around_it(found: Explanation) -> None:
    """The swap that made the sequence live is at or before the record, the next one behind it."""
    assert found.prediction is not None
    assert found.why is not None
    assert found.why.entry is not None
    assert (found.why.entry.sequence, found.why.entry.version) == (found.prediction.sequence, found.prediction.version)
    assert found.why.swap is not None
    assert found.why.swap.sequence == found.prediction.sequence
    assert found.why.swap.records >= 0
    if found.prediction.sequence < 5:
        assert found.why.next_swap is not None
        assert found.why.next_swap.sequence == found.prediction.sequence + 1
        assert found.why.next_swap.records < 0


def test_predictions_of_a_run_with_swaps_score_the_same_again(stage: Stage) -> None:
    stage.run(200)
    check(stage, SHORT)
    found_by_its_input(stage)
    planted_bugs(stage)


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [7, 8, 9])
def test_a_thousand_predictions_of_a_run_with_swaps_score_the_same_again(stage: Stage, seed: int) -> None:
    stage.run(2_000)
    check(stage, LONG, seed)


def found_by_its_input(stage: Stage) -> None:
    """The other way round, without being told where the prediction stands."""
    found = read_all(stage.bootstrap, stage.topics.predictions)
    with stage.acknowledged() as acknowledged, stage.collector(acknowledged) as collector:
        for each in random.Random(8).sample(found, 20):
            place = json.loads(each.value or b"")["input"]
            evidence = collector.collect(stage.topics.input, place["partition"], place["offset"])
            assert evidence.prediction_place is not None
            assert (evidence.prediction_place.partition, evidence.prediction_place.offset) == (
                each.partition,
                each.offset,
            )


def planted_bugs(stage: Stage) -> None:
    """Looked-up values left out, and another version's bundle: both come out."""
    found = read_all(stage.bootstrap, stage.topics.predictions)
    windy = next(r for r in found if _wind(r) == 0.25)  # without it the tree goes the other way
    with stage.acknowledged() as acknowledged, stage.collector(acknowledged) as collector:
        evidence = collector.collect(stage.topics.predictions, windy.partition, windy.offset)
        assert evidence.prediction is not None
        without = msgspec.structs.replace(evidence.prediction, lookups={})
        told = explain(msgspec.structs.replace(evidence, prediction=without))
        assert told.rescored is not None
        assert told.rescored.verdict is Verdict.DIFFERENT
        assert "carries no wind" in "; ".join(told.rescored.causes)
    registry = stage.copy_of_registry()
    shutil.rmtree(registry / stage.model / "1")
    shutil.copytree(registry / stage.model / "3", registry / stage.model / "1")
    with stage.acknowledged() as acknowledged, stage.collector(acknowledged, registry) as collector:
        told = explain(collector.collect(stage.topics.predictions, windy.partition, windy.offset))
        assert told.rescored is not None
        assert told.rescored.verdict is Verdict.IMPOSSIBLE
        assert "the manifest's digest is" in "; ".join(told.missing)


def _wind(found: Record) -> object:
    """What version 1 looked up."""
    prediction = json.loads(found.value or b"")
    return prediction["lookups"]["weather"]["wind"] if prediction["version"] == "1" else None


# --- the command --------------------------------------------------------------------------------------------------


def call(stage: Stage, *arguments: str, **variables: str) -> tuple[int, str, str]:
    return baton({**stage.environment(0), **variables}, "explain", *arguments)


def answer(stage: Stage, *arguments: str, status: int = 0) -> Any:
    code, output, errors = call(stage, *arguments, "--json")
    assert code == status, f"{output}\n{errors}"
    return json.loads(output)


def test_the_command_explains_predictions_dead_letters_and_what_is_gone(stage: Stage, tmp_path: Path) -> None:
    stage.decide(1)
    stage.feed(40)
    stage.feed_raw(record(1, x="seven"), partition=0)
    stage.start()  # only now: no marker of a transaction stands between the predictions of a partition
    stage.wait_until_done()
    topics = stage.topics

    found = answer(stage, topics.input, "0", "3", "--html", str(tmp_path / "why.html"))
    assert found["rescored"]["verdict"] == "identical"
    assert found["prediction"]["input"]["offset"] == 3
    assert {each["source"] for each in found["enrichment"]} == {"prediction"}
    assert found["why"]["entry"]["sequence"] == 1
    assert sum(part["value"] for part in found["contributions"]["parts"]) + found["contributions"]["base"] == (
        pytest.approx(found["contributions"]["raw"])
    )
    assert "Scored again" in (tmp_path / "why.html").read_text()
    code, text, _ = call(stage, topics.input, "0", "3")
    assert (code, "identical, bit for bit" in text, "gate quality: pass" in text) == (0, True, True)

    letter = answer(stage, topics.input, "0", "10")["letter"]
    assert (letter["told"]["reason"], letter["field"]) == ("wrong-type", "x")
    assert (letter["then"]["scored"], letter["today"]["scored"]) == (False, False)
    assert answer(stage, topics.dead_letters, "0", "0")["place"]["offset"] == 10

    code, _, told = call(stage, topics.input, "0", "999")
    assert (code, "there is nothing" in told) == (2, True)
    code, _, told = call(stage, "elsewhere", "0", "0")
    assert (code, "--model" in told) == (2, True)

    for future in stage.admin.delete_records([TopicPartition(topics.input, 0, 4)]).values():
        future.result(20)
    gone = answer(stage, topics.predictions, "0", "3", status=1)
    assert gone["rescored"]["verdict"] == "impossible"
    assert "the record is gone" in gone["missing"][0]
    without = call(stage, topics.predictions, "0", "5", BATON_LEDGER_URL="")
    assert "the ledger cannot be had" in without[1]
