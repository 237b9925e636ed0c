"""Scoring a batch: exactly one output per record, in order; what cannot be scored fails alone."""

import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec
import numpy as np
import pytest
from confluent_kafka import Message

from scoring.contract.dead_letter import DeadLetter, Reason
from scoring.contract.encoder import Column, Columns, Floats
from scoring.contract.errors import ConfigurationError, Unavailable
from scoring.contract.features import FeatureSchema
from scoring.contract.prediction import decode_prediction
from scoring.contract.topics import OUTPUT_MAXIMUM_BYTES
from scoring.scorer.scorer import Scorer
from scoring.worker.emit import Emitter, Output
from scoring.worker.models import Active
from scoring.worker.scoring_step import outputs_of
from tests.support.bundles import score_of, small_bundle, small_record
from tests.support.classes import CLASSES, bundle_of_classes, probabilities
from tests.support.simulated_kafka import message

MOMENT = datetime(2026, 3, 1, tzinfo=UTC)


class Lookups:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.calls = 0

    def resolve(self, schema: FeatureSchema, columns: Columns, rows: int) -> dict[str, Column]:
        assert schema.key in columns
        assert rows == len(columns[schema.key])
        self.calls += 1
        if self.error is not None:
            raise self.error
        return {}


@pytest.fixture
def active(tmp_path: Path) -> Active:
    bundle = small_bundle(tmp_path / "bundle")
    emitter = Emitter(bundle.manifest, version="1", sequence=1, digest=bundle.digest)
    return Active("small", UUID(int=7), 1, "1", bundle.digest, MOMENT, Scorer(bundle), emitter)


def good(number: int) -> bytes:
    return msgspec.json.encode(small_record(number))


def outputs(active: Active, values: list[bytes | None], lookups: Lookups | None = None) -> list[Output]:
    messages = [message(value, offset=offset, key=b"%d" % offset) for offset, value in enumerate(values)]
    return outputs_of(active, messages, "id", lookups or Lookups(), MOMENT)


def reasons(found: list[Output]) -> list[Reason | None]:
    return [
        DeadLetter.from_headers(output.headers or []).reason if output.topic == "small.dead-letters" else None
        for output in found
    ]


def test_predictions_and_dead_letters_stand_in_the_order_of_their_records(active: Active) -> None:
    values: list[bytes | None] = [good(0), None, good(2), b"{", good(4), b'{"id":1}']
    found = outputs(active, values)
    assert reasons(found) == [None, Reason.NULL_VALUE, None, Reason.MALFORMED_JSON, None, Reason.WRONG_TYPE]
    assert [output.key for output in found] == [b"%d" % offset for offset in range(6)]
    scores = [json.loads(output.value or b"")["score"] for output in found if output.topic == "small.predictions"]
    assert scores == [score_of(1, number) for number in (0, 2, 4)]


def test_a_batch_of_nothing_but_rubbish_is_nothing_but_dead_letters(active: Active) -> None:
    assert set(reasons(outputs(active, [None, b"", b"[]"]))) == {
        Reason.NULL_VALUE,
        Reason.MALFORMED_JSON,
        Reason.WRONG_TYPE,
    }


def test_a_record_that_makes_the_model_fail_is_found_and_its_neighbours_are_scored(
    active: Active, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = active.scorer.score

    def fails_on_one(columns: Columns, rows: int) -> Floats:
        if "r-00000005" in list(columns["id"]):
            raise RuntimeError("secret content r-00000005")
        return score(columns, rows)

    monkeypatch.setattr(active.scorer, "score", fails_on_one)
    found = outputs(active, [good(number) for number in range(9)])
    assert reasons(found) == [None] * 5 + [Reason.UNSCORABLE] + [None] * 3
    detail = DeadLetter.from_headers(found[5].headers or []).detail
    assert detail == "the model failed on it: RuntimeError"
    assert [output.key for output in found] == [b"%d" % number for number in range(9)]


@pytest.mark.parametrize("culprits", [[0], [255], [3, 4], [0, 64, 128, 192], list(range(16))])
def test_every_culprit_is_found_by_halving_and_the_model_is_called_no_more_than_that_takes(
    culprits: list[int], active: Active, monkeypatch: pytest.MonkeyPatch
) -> None:
    score, calls = active.scorer.score, [0]
    wanted = {f"r-{number:08d}" for number in culprits}

    def fails_on_some(columns: Columns, rows: int) -> Floats:
        calls[0] += 1
        if wanted & {*map(str, columns["id"])}:
            raise ValueError("a planted fault")
        return score(columns, rows)

    monkeypatch.setattr(active.scorer, "score", fails_on_some)
    found = outputs(active, [good(number) for number in range(256)])
    assert [place for place, reason in enumerate(reasons(found)) if reason is Reason.UNSCORABLE] == culprits
    assert reasons(found).count(None) == 256 - len(culprits)
    assert 1 < calls[0] <= 1 + 2 * 8 * len(culprits)  # 256 records are halved eight times


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_no_prediction(
    active: Active, monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    monkeypatch.setattr(active.scorer, "score", lambda _columns, _rows: np.array([1.0, wrong, 2.0]))
    found = outputs(active, [good(number) for number in range(3)])
    assert reasons(found) == [None, Reason.UNSCORABLE, None]


def test_a_prediction_that_would_not_fit_becomes_a_dead_letter(active: Active) -> None:
    large = msgspec.json.encode({**small_record(1), "id": "x" * OUTPUT_MAXIMUM_BYTES})
    found = outputs(active, [good(0), large, good(2)])
    assert reasons(found) == [None, Reason.TOO_LARGE, None]
    assert len(found[1].value or b"") < 1_000  # by reference


@pytest.mark.parametrize("error", [Unavailable("away"), ConfigurationError("no such table")])
def test_a_lookup_that_fails_condemns_no_record(active: Active, error: Exception) -> None:
    lookups = Lookups(error)
    with pytest.raises(type(error)):
        outputs(active, [good(number) for number in range(64)], lookups)
    assert lookups.calls == 1


@pytest.mark.parametrize("error", [MemoryError("no room"), OSError(24, "Too many open files")])
def test_the_distress_of_the_host_condemns_no_record(
    active: Active, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def failing(*_: object) -> Floats:
        raise error

    monkeypatch.setattr(active.scorer, "score", failing)
    with pytest.raises(Unavailable, match=type(error).__name__):
        outputs(active, [good(0), good(1)])


def test_no_records_make_no_outputs(active: Active) -> None:
    assert outputs(active, []) == []


def test_one_record_scores_as_in_a_batch(active: Active) -> None:
    values: list[bytes | None] = [good(number) for number in range(10)]
    alone: list[Message] = [message(value, offset=offset, key=b"%d" % offset) for offset, value in enumerate(values)]
    assert [outputs_of(active, [one], "id", Lookups(), MOMENT)[0] for one in alone] == outputs(active, values)


# --- several classes ----------------------------------------------------------------------------------------------


def of_classes(folder: Path) -> Active:
    bundle = bundle_of_classes(folder)
    emitter = Emitter(bundle.manifest, version="1", sequence=1, digest=bundle.digest)
    return Active("small", UUID(int=7), 1, "1", bundle.digest, MOMENT, Scorer(bundle), emitter)


def test_predictions_of_classes_name_the_most_probable_one_and_all_probabilities(tmp_path: Path) -> None:
    found = outputs(of_classes(tmp_path / "bundle"), [good(0), b"{", good(9)])
    assert reasons(found) == [None, Reason.MALFORMED_JSON, None]
    for output, number, label in ((found[0], 0, "on time"), (found[2], 9, "early")):
        prediction = decode_prediction(output.value or b"")
        assert prediction.probabilities == dict(zip(CLASSES, probabilities(number), strict=True))
        assert (prediction.label, prediction.decision) == (label, None)
        assert prediction.score == max(probabilities(number))


def test_a_batch_of_classes_that_is_nothing_but_rubbish_is_nothing_but_dead_letters(tmp_path: Path) -> None:
    assert set(reasons(outputs(of_classes(tmp_path / "bundle"), [None, b""]))) == {
        Reason.NULL_VALUE,
        Reason.MALFORMED_JSON,
    }


def test_a_record_one_of_whose_probabilities_is_no_number_is_unscorable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    active = of_classes(tmp_path / "bundle")
    score = active.scorer.score

    def spoiled(columns: Columns, rows: int) -> Floats:
        scores = score(columns, rows)
        scores[1, 2], scores[2, 0] = np.nan, np.inf
        return scores

    monkeypatch.setattr(active.scorer, "score", spoiled)
    found = outputs(active, [good(number) for number in range(4)])
    assert reasons(found) == [None, Reason.UNSCORABLE, Reason.UNSCORABLE, None]
