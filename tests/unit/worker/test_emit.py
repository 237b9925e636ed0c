"""Predictions and dead letters: what is written is read back exactly, whatever the numbers and texts are."""

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.contract.acknowledgement import Position
from scoring.contract.clock import epoch_s, from_epoch_s
from scoring.contract.dead_letter import REFERENCE_HEADER, DeadLetter, Reason, record_size_bytes
from scoring.contract.digest import digest_of
from scoring.contract.features import FeatureSchema, Field, FieldType, LookupField, Number, TableLookup
from scoring.contract.manifest import Manifest, Task
from scoring.contract.prediction import Prediction, decode_prediction
from scoring.contract.topics import OUTPUT_MAXIMUM_BYTES
from scoring.kafka import UNREADABLE, headers_of
from scoring.scorer.bundle import open_bundle
from scoring.worker import json_columns
from scoring.worker.emit import Emitter, Origin, Output, repeated
from tests.support.bundles import make_bundle
from tests.support.classes import CLASSES
from tests.support.simulated_kafka import message

MOMENT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
SCHEMA = FeatureSchema(
    key="id",
    event_time="at",
    fields=(
        Field(name="id", type=FieldType.STRING, required=True),
        Field(name="at", type=FieldType.TIME, required=True),
        Field(name="x", type=FieldType.NUMBER, required=True),
        Field(name="color", type=FieldType.STRING),
        Field(name="flag", type=FieldType.BOOLEAN),
        Field(name="until", type=FieldType.TIME),
    ),
    lookups=(
        TableLookup(
            name="weather",
            connection="warehouse",
            table="weather",
            match=(("station", "id"),),
            valid_at="at",
            fields=(LookupField(name="wind"), LookupField(name="sky", type=FieldType.STRING)),
        ),
    ),
    features=(Number(name="x", of="x"),),
)
POSITION = Position(topic="small.input", topic_id="id", partition=3, offset=17)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder: Path = tmp_path_factory.mktemp("bundle") / "small"
    make_bundle(folder, 1, schema=SCHEMA)
    return msgspec.structs.replace(open_bundle(folder).manifest, pass_through=("id", "x", "color", "flag", "until"))


@pytest.fixture(scope="module")
def emitter(manifest: Manifest) -> Emitter:
    return Emitter(manifest, version="v-1", sequence=4, digest="ab" * 32)


def predicted(
    emitter: Emitter, records: Sequence[dict[str, Any]], scores: Sequence[float], decisions: list[bool] | None = None
) -> list[Prediction]:
    numbers = ("at", "x", "flag", "until", "weather.wind")
    columns = {name: np.array([r.get(name, math.nan) for r in records], dtype=np.float64) for name in numbers}
    words = {name: [r.get(name) for r in records] for name in ("id", "color", "weather.sky")}
    rows = list(range(len(records)))
    origin = Origin("small.input", "id", [3] * len(rows), [17 + row for row in rows])
    found = emitter.predictions(
        {**columns, **words}, np.array(scores, dtype=np.float64), decisions, origin, rows, MOMENT
    )
    return [decode_prediction(value) for value in found]


def one(emitter: Emitter, score: float = 0.5, **record: Any) -> Prediction:
    (found,) = predicted(emitter, [{"id": "a", "at": epoch_s(MOMENT), "x": 1.5, **record}], [score])
    return found


def letter(emitter: Emitter, key: bytes | None, value: bytes | None, headers: Any = None) -> Output:
    return emitter.dead_letter(message(value, key=key, headers=headers), POSITION, Reason.WRONG_TYPE, "why", MOMENT)


def test_a_prediction_carries_its_lineage(emitter: Emitter) -> None:
    weather: dict[str, Any] = {"weather.wind": 2.5, "weather.sky": "clear"}
    found = one(emitter, color="red", flag=1.0, until=epoch_s(MOMENT), **weather)
    assert found == Prediction(
        model="small",
        version="v-1",
        sequence=4,
        manifest_digest="ab" * 32,
        score=0.5,
        decision=None,
        event_time=MOMENT,
        scored_at=MOMENT,
        input=POSITION,
        pass_through={"id": "a", "x": 1.5, "color": "red", "flag": True, "until": "2026-03-01T12:30:00Z"},
        lookups={"weather": {"wind": 2.5, "sky": "clear"}},
    )


def test_missing_values_are_null(emitter: Emitter) -> None:
    found = one(emitter)
    assert found.pass_through == {"id": "a", "x": 1.5, "color": None, "flag": None, "until": None}
    assert found.lookups == {"weather": {"wind": None, "sky": None}}


def test_the_bytes_are_what_any_json_reader_reads(emitter: Emitter) -> None:
    origin = Origin("small.input", "id", [0], [0])
    columns: dict[str, Any] = {
        **{name: np.array([0.0]) for name in ("at", "x", "flag", "until", "weather.wind")},
        **{name: ['ä\u2028"\\\x00'] for name in ("id", "color", "weather.sky")},
    }
    (value,) = emitter.predictions(columns, np.array([0.1]), [True], origin, [0], MOMENT)
    document = json.loads(value)
    assert document["decision"] is True
    assert document["pass_through"]["id"] == 'ä\u2028"\\\x00'
    assert list(document)[:4] == ["model", "version", "sequence", "manifest_digest"]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_score_keeps_every_bit(emitter: Emitter, score: float) -> None:
    found = one(emitter, score).score
    assert found == score
    assert math.copysign(1.0, found) == math.copysign(1.0, score)


@given(
    st.text(), st.one_of(st.none(), st.text()), st.floats(allow_nan=False, allow_infinity=False), st.floats(-1e6, 1e6)
)
def test_passed_through_and_looked_up_values_are_kept(
    emitter: Emitter, name: str, sky: str | None, number: float, wind: float
) -> None:
    weather: dict[str, Any] = {"weather.sky": sky, "weather.wind": wind}
    found = one(emitter, id=name, x=number, **weather)
    assert found.pass_through["id"] == name
    assert found.pass_through["x"] == number
    assert found.lookups["weather"] == {"sky": sky, "wind": wind}


@given(st.lists(st.tuples(st.text(max_size=5), st.floats(-1e9, 1e9), st.booleans()), max_size=6))
def test_every_record_of_a_batch_has_its_own(emitter: Emitter, records: list[tuple[str, float, bool]]) -> None:
    documents = [{"id": name, "at": epoch_s(MOMENT) + place, "x": 0.0} for place, (name, _, _) in enumerate(records)]
    scores, decisions = [score for _, score, _ in records], [decision for _, _, decision in records]
    found = predicted(emitter, documents, scores, decisions)
    assert [(p.pass_through["id"], p.score, p.decision) for p in found] == records
    assert [p.input.offset for p in found] == [17 + place for place in range(len(records))]
    assert [epoch_s(p.event_time) - epoch_s(MOMENT) for p in found] == list(range(len(records)))


def test_only_the_records_that_decoded_are_predicted_each_with_its_own_offset(emitter: Emitter) -> None:
    origin = Origin("small.input", "id", [0, 1, 2], [10, 20, 30])
    columns: dict[str, Any] = {
        **{name: np.zeros(2) for name in ("at", "x", "flag", "until", "weather.wind")},
        **{name: ["a", "b"] for name in ("id", "color", "weather.sky")},
    }
    found = emitter.predictions(columns, np.array([0.1, 0.2]), None, origin, [0, 2], MOMENT)
    assert [(p.input.partition, p.input.offset) for p in map(decode_prediction, found)] == [(0, 10), (2, 30)]


@given(st.lists(st.floats(epoch_s(datetime(1, 1, 1, tzinfo=UTC)), epoch_s(datetime(9999, 12, 31, tzinfo=UTC)))))
def test_times_are_written_as_their_datetimes_are(moments: list[float]) -> None:
    written = json_columns.times(np.array(moments)).splitlines()
    assert [msgspec.json.decode(token, type=datetime) for token in written] == list(map(from_epoch_s, moments))


def test_a_time_just_before_a_second_s_end_is_rounded_into_the_next_one_and_a_missing_one_is_null() -> None:
    moments = np.array([-0.0000001, 0.9999996, 86_399.9999999, math.nan, -1.5])
    assert json_columns.times(moments).splitlines() == [
        b'"1970-01-01T00:00:00Z"',
        b'"1970-01-01T00:00:01Z"',
        b'"1970-01-02T00:00:00Z"',
        b"null",
        b'"1969-12-31T23:59:58.500000Z"',
    ]


@given(st.lists(st.floats()))
def test_numbers_are_written_as_the_same_numbers(found: list[float]) -> None:
    read = [json.loads(token) for token in json_columns.numbers(np.array(found)).splitlines()]
    assert read == [number if math.isfinite(number) else None for number in found]


def test_whole_numbers_have_no_fraction() -> None:
    assert json_columns.numbers(np.array([1545.0, 0.5, -3.0, 10.05])).splitlines() == [b"1545", b"0.5", b"-3", b"10.05"]


# --- headers ------------------------------------------------------------------------------------------------------


def test_correlation_headers_are_repeated_whatever_their_case_and_others_are_not() -> None:
    headers = [("Correlation-ID", b"1"), ("traceparent", None), ("mine", b"x"), ("correlation-id", b"2")]
    assert repeated(headers) == [
        ("Correlation-ID", b"1"),
        ("traceparent", None),
        ("correlation-id", b"2"),
    ]
    assert repeated([("mine", b"x")]) is None


class Unreadable:
    """A message whose headers the client cannot decode: reading them twice would end the process."""

    def __init__(self) -> None:
        self.readings = 0
        self.replaced: Any = None

    def key(self) -> bytes:
        return b"key"

    def value(self) -> bytes:
        return b"{}"

    def headers(self) -> Any:
        if self.replaced is not None:
            return self.replaced
        self.readings += 1
        raise SystemError

    def set_headers(self, headers: Any) -> None:
        self.replaced = headers


def test_headers_that_cannot_be_read_are_read_once(emitter: Emitter) -> None:
    record: Any = Unreadable()
    assert headers_of(record) == headers_of(record) == [UNREADABLE]
    assert record.readings == 1
    (found,) = emitter.records([record], [3], [b"{}"])
    assert found is not None
    assert found.headers is None


def test_a_dead_letter_whose_headers_cannot_be_kept_goes_by_reference(emitter: Emitter) -> None:
    record: Any = Unreadable()
    found = emitter.dead_letter(record, POSITION, Reason.MALFORMED_JSON, "why", MOMENT)
    assert json.loads(found.value or b"")["sha256"] == digest_of(b"{}")
    assert found.headers is not None
    assert dict(found.headers)[REFERENCE_HEADER] == b"1"


# --- dead letters -------------------------------------------------------------------------------------------------


@given(
    st.none() | st.binary(max_size=20),
    st.none() | st.binary(max_size=50),
    st.lists(st.tuples(st.text(min_size=1, max_size=8), st.none() | st.binary(max_size=8)), max_size=4),
)
def test_a_dead_letter_keeps_key_value_and_headers(
    emitter: Emitter, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    found = letter(emitter, key, value, headers)
    assert (found.topic, found.partition, found.key, found.value) == ("small.dead-letters", 3, key, value)
    assert found.headers is not None
    assert found.headers[: len(headers)] == headers
    assert DeadLetter.from_headers(found.headers) == DeadLetter(
        reason=Reason.WRONG_TYPE,
        detail="why",
        origin=POSITION,
        at=MOMENT,
        model="small",
        version="v-1",
        sequence=4,
    )


@pytest.mark.parametrize("where", ["key", "value", "headers"])
def test_a_dead_letter_that_does_not_fit_is_stored_by_reference(emitter: Emitter, where: str) -> None:
    large = b"x" * OUTPUT_MAXIMUM_BYTES
    found = letter(
        emitter,
        large if where == "key" else b"key",
        large if where == "value" else b"value",
        [("h", large)] if where == "headers" else None,
    )
    reference = json.loads(found.value or b"")
    assert reference["form"] == "reference"
    assert reference["sha256"] == digest_of(large if where == "value" else b"value")
    assert reference["origin"] == msgspec.to_builtins(POSITION)
    assert found.headers is not None
    assert (REFERENCE_HEADER, b"1") in found.headers
    assert DeadLetter.from_headers(found.headers).origin == POSITION
    assert record_size_bytes(found.key, found.value, found.headers) < 10_000


def test_a_prediction_that_does_not_fit_is_none(emitter: Emitter) -> None:
    large = b"x" * (OUTPUT_MAXIMUM_BYTES - 100)
    messages = [message(b""), message(b"", key=b"k" * 600_000), message(b"")]
    found = emitter.records(messages, [0, 0, 0], [large, large[:600_000], large[:600_000]])
    assert [output is None for output in found] == [True, True, False]


@pytest.mark.parametrize("size", [0, 500_000, OUTPUT_MAXIMUM_BYTES // 2, OUTPUT_MAXIMUM_BYTES // 2 + 1, 900_000])
@pytest.mark.parametrize("where", ["key", "headers"])
def test_no_prediction_is_larger_than_the_producer_takes(emitter: Emitter, size: int, where: str) -> None:
    for rest in (0, OUTPUT_MAXIMUM_BYTES - size - 400, OUTPUT_MAXIMUM_BYTES - size, 1_048_000):
        large = b"x" * rest
        record = message(
            b"", key=large if where == "key" else b"", headers=[("baggage", large)] if where == "headers" else None
        )
        (found,) = emitter.records([record], [0], [b"v" * size])
        size_bytes = 0 if found is None else record_size_bytes(found.key, found.value, found.headers or ())
        assert size_bytes <= OUTPUT_MAXIMUM_BYTES


# --- several classes ----------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=6))
def test_probabilities_are_written_exactly_and_the_first_of_equals_is_the_label(
    manifest: Manifest, rows: list[list[float]]
) -> None:
    output = msgspec.structs.replace(manifest.output, task=Task.MULTICLASS, classes=CLASSES)
    emitter = Emitter(msgspec.structs.replace(manifest, output=output), version="v", sequence=1, digest="ab" * 32)
    found = predicted(emitter, [{"id": "a", "at": 0.0, "x": 1.0}] * len(rows), rows)  # type: ignore[arg-type]
    assert [prediction.probabilities for prediction in found] == [dict(zip(CLASSES, row, strict=True)) for row in rows]
    assert [prediction.label for prediction in found] == [CLASSES[row.index(max(row))] for row in rows]
    assert [prediction.score for prediction in found] == [max(row) for row in rows]


def test_a_prediction_without_classes_has_not_one_byte_more_than_before(emitter: Emitter) -> None:
    origin = Origin("small.input", "id", [0], [0])
    columns: dict[str, Any] = {name: np.array([0.0]) for name in ("at", "x", "flag", "until", "weather.wind")}
    words: dict[str, Any] = {name: ["a"] for name in ("id", "color", "weather.sky")}
    (found,) = emitter.predictions({**columns, **words}, np.array([0.5]), None, origin, [0], MOMENT)
    assert found == (
        b'{"model":"small","version":"v-1","sequence":4,"manifest_digest":"' + b"ab" * 32 + b'",'
        b'"scored_at":"2026-03-01T12:30:00Z","score":0.5,"decision":null,"event_time":"1970-01-01T00:00:00Z",'
        b'"input":{"topic":"small.input","topic_id":"id","partition":0,"offset":0},'
        b'"pass_through":{"id":"a","x":0,"color":"a","flag":false,"until":"1970-01-01T00:00:00Z"},'
        b'"lookups":{"weather":{"wind":0.0,"sky":"a"}}}'
    )
