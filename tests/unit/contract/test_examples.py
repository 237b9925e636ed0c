"""The examples that ship with the contracts: when code and example part, one of the two has to be mended."""

import json
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any
from uuid import UUID

import msgspec
import pytest

from scoring.contract.acknowledgement import (
    Acknowledgement,
    Outcome,
    Position,
    seal_acknowledgement,
    unseal_acknowledgement,
)
from scoring.contract.alert import Alert, AlertKind, seal_alert, unseal_alert
from scoring.contract.dead_letter import DeadLetter, Reason, refer
from scoring.contract.digest import digest_of
from scoring.contract.envelope import Keyring, Sealed
from scoring.contract.features import (
    Category,
    DayOfWeek,
    DayOfYear,
    Difference,
    Elapsed,
    FeatureSchema,
    Field,
    FieldType,
    HourOfDay,
    IsMissing,
    Log,
    LookupField,
    MonthOfYear,
    Number,
    Ratio,
    TableLookup,
)
from scoring.contract.golden import GoldenRow, decode_golden, encode_golden
from scoring.contract.heartbeat import Heartbeat, ModelStatus, State, seal_heartbeat, unseal_heartbeat
from scoring.contract.manifest import File, Link, Manifest, Output, Snapshot, Source, Task, Topics, decode_manifest
from scoring.contract.notice import Kind, Notice, seal_notice, unseal_notice
from scoring.contract.prediction import Prediction, decode_prediction
from scoring.contract.progress import Progress
from scoring.contract.retrain import Asked, RetrainRequest, seal_retrain, unseal_retrain
from scoring.contract.source import Api, ApiLimits, Cursor, Files, Join
from scoring.contract.verdict import Judgement, Verdict

EXAMPLES = files("scoring.contract") / "examples"
MOMENT = datetime(2026, 4, 1, 6, 0, tzinfo=UTC)
LEDGER = UUID("5f0c6c0e-6c1b-4d5f-9f57-0d6c1f1b3f0e")
TOPIC_ID = "m3nGCVZpTNKcGy0z3V6bYQ"
# Everybody knows this key: it signs nothing but these examples.
KEYRING = Keyring("example", {"example": b"baton-example-key-baton-example-"})
DIGEST = digest_of(b"the manifest of version 2")
INPUT = Position(topic="flight_delay.input", topic_id=TOPIC_ID, partition=3, offset=48_213)

NOTICE = Notice(
    ledger=LEDGER,
    model="flight_delay",
    sequence=2,
    kind=Kind.PROMOTE,
    version="2",
    manifest_digest=DIGEST,
    decided_at=MOMENT,
    effective_from=MOMENT,
)
ACKNOWLEDGEMENT = Acknowledgement(
    ledger=LEDGER,
    model="flight_delay",
    sequence=2,
    version="2",
    worker="default/0",
    instance="9f1c2d3e4b5a69788796a5b4c3d2e1f0",
    outcome=Outcome.LIVE,
    noticed_at=MOMENT,
    at=MOMENT + timedelta(seconds=1.25),
    positions=(INPUT,),
)
HEARTBEAT = Heartbeat(
    worker="default/0",
    instance="9f1c2d3e4b5a69788796a5b4c3d2e1f0",
    counter=731,
    at=MOMENT + timedelta(seconds=2),
    ledger=LEDGER,
    models={
        "flight_delay": ModelStatus(
            state=State.FETCHING,
            sequence=2,
            version="2",
            pending=3,
            reason="attempt 1",
            positions=(INPUT,),
            lag=(17,),
            lag_s=(0.25,),
            paused={"lookup": 1},
            records=48_213,
            dead_letters={"malformed-json": 3},
            delay_s=0.004,
            swap_pause_s=0.0002,
        ),
        "upsell": ModelStatus(state=State.WAITING),
    },
    rejected={"bad-signature": 2, "unsigned": 5},
)
RETRAIN = RetrainRequest(model="flight_delay", reason="accuracy fell below 0.6 on Tuesday", by="ada")
ALERT = Alert(
    kind=AlertKind.REFUSED,
    model="flight_delay",
    dag_id="train_flight_delay",
    run_id="scheduled__2026-04-01T00:00:00+00:00",
    task_id="refused",
    sentence="refused: auc 0.60 is below the champion's 0.67",
    refusals=("not-worse",),
    at=MOMENT,
)
SCHEMA = FeatureSchema(
    key="flight_id",
    event_time="scheduled_departure",
    fields=(
        Field(name="flight_id", type=FieldType.STRING, required=True),
        Field(name="scheduled_departure", type=FieldType.TIME, required=True),
        Field(name="scheduled_arrival", type=FieldType.TIME),
        Field(name="origin", type=FieldType.STRING, required=True),
        Field(name="distance", type=FieldType.NUMBER),
        Field(name="seats", type=FieldType.NUMBER, known_after_s=0.0),
        Field(name="holiday", type=FieldType.BOOLEAN),
    ),
    lookups=(
        TableLookup(
            name="weather",
            connection="warehouse",
            table="weather",
            match=(("origin", "origin"),),
            valid_at="observed_at",
            known_at="published_at",
            lag_s=3600.0,
            max_age_s=21_600.0,
            resolution_s=3600.0,
            fields=(LookupField(name="wind"), LookupField(name="sky", type=FieldType.STRING)),
        ),
    ),
    features=(
        Number(name="distance", of="distance"),
        Category(name="origin", of="origin", vocabulary=("EWR", "JFK", "LGA")),
        HourOfDay(name="hour", of="scheduled_departure", zone="America/New_York"),
        DayOfWeek(name="weekday", of="scheduled_departure", zone="America/New_York"),
        DayOfYear(name="day", of="scheduled_departure", zone="America/New_York"),
        MonthOfYear(name="month", of="scheduled_departure", zone="America/New_York"),
        Elapsed(name="duration_s", of="scheduled_arrival", since="scheduled_departure"),
        Ratio(name="distance_per_seat", of="distance", by="seats"),
        Difference(name="wind_over_holiday", of="weather.wind", minus="holiday"),
        Log(name="log_distance", of="distance"),
        IsMissing(name="no_weather", of="weather.sky"),
    ),
)
MANIFEST = Manifest(
    format=2,
    model="flight_delay",
    created_at=MOMENT,
    schema=SCHEMA,
    output=Output(task=Task.BINARY, link=Link.SIGMOID, threshold=0.3, exact=True),
    topics=Topics.of("flight_delay"),
    sources=(Source(connection="warehouse", table="flights", columns=(("flight_id", "id"),)),),
    pass_through=("flight_id",),
    snapshot=Snapshot(
        sha256=digest_of(b"the snapshot"),
        start=datetime(2026, 1, 1, tzinfo=UTC),
        end=datetime(2026, 4, 1, tzinfo=UTC),
        holdout_start=datetime(2026, 3, 15, tzinfo=UTC),
        training_rows=60_000,
        holdout_rows=13_000,
        known_by=datetime(2026, 4, 1, 6, 0, tzinfo=UTC),
    ),
    estimator="HistGradientBoostingClassifier(max_iter=100)",
    metrics={"auc": 0.671, "base_rate": 0.233},
    verdicts=(
        Verdict(gate="quality", judgement=Judgement.PASS, sentence="AUC .671, at least .6", value=0.671, limit=0.6),
    ),
    environment={"scikit-learn": "1.9.1"},
    code_revision="0003f1b52a5527542e1d7989d19ba575acd75844",
    files={
        "golden.json": File(sha256=digest_of(b"golden"), size_bytes=6),
        "model.onnx": File(sha256=digest_of(b"model"), size_bytes=5),
    },
)
# Of a manifest's sources: records in files, with what an API knew at their event and the outcome of another system.
SOURCES = (
    Source(
        connection="lake",
        table="",
        columns=(("flight_id", "id"), ("scheduled_departure", "departure"), ("origin", "origin")),
        name="flights",
        origin=Files(url="s3://lake/flights/*.parquet"),
    ),
    Source(
        connection="observations",
        table="",
        columns=(("wind", "wind.speed"),),
        origin=Api(
            path="v1/observations",
            parameters=(("from", "{start}"), ("to", "{end}")),
            items="data.items",
            paging=Cursor(path="data.next", parameter="after"),
            limits=ApiLimits(requests_per_s=2.0),
        ),
        join=Join(match=(("station", "origin"),), valid_at="at", known_at="published", lag_s=3600.0),
        timeout_s=600.0,
    ),
    Source(
        connection="billing",
        table="public.refunds",
        columns=(("refund", "amount"),),
        join=Join(match=(("flight", "flight_id"),)),
    ),
)
PREDICTION = Prediction(
    model="flight_delay",
    version="2",
    sequence=2,
    manifest_digest=DIGEST,
    score=0.2718281828459045,
    decision=False,
    event_time=datetime(2026, 5, 1, 17, 30, tzinfo=UTC),
    scored_at=MOMENT + timedelta(seconds=3),
    input=INPUT,
    pass_through={"flight_id": "2026-05-01 UA 1545"},
    lookups={"weather": {"wind": 12.65858, "sky": None}},
)
PREDICTION_OF_CLASSES = msgspec.structs.replace(
    PREDICTION,
    score=0.625,
    decision=None,
    label="on time",
    probabilities={"early": 0.125, "on time": 0.625, "late": 0.25},
)
DEAD_LETTER = DeadLetter(
    reason=Reason.MISSING_FIELD,
    detail="Object missing required field `origin`",
    origin=INPUT,
    at=MOMENT,
    model="flight_delay",
    version="2",
    sequence=2,
)
GOLDEN = (
    GoldenRow(
        message=b'{"flight_id":"2026-03-20 UA 1545","scheduled_departure":"2026-03-20T09:30:00Z","origin":"EWR"}',
        lookups={"weather": {"wind": 12.65858, "sky": None}},
        estimator=0.2718281828459045,
        compiled=0.2718281828459045,
    ),
)


def example(name: str) -> bytes:
    return (EXAMPLES / name).read_bytes()


def as_message(sealed: Sealed) -> dict[str, Any]:
    headers = {name: content.decode() for name, content in sealed.headers}
    return {"key": sealed.key.decode(), "headers": headers, "value": json.loads(sealed.value)}


def shown(prediction: Prediction) -> dict[str, Any]:
    """A prediction as it is sent: what only models of several classes have is there for those alone."""
    document: dict[str, Any] = json.loads(msgspec.json.encode(prediction))
    return {key: value for key, value in document.items() if key == "decision" or value is not None}


def received(name: str) -> tuple[bytes, bytes, list[tuple[str, bytes | None]]]:
    """The example as it would come from Kafka: the value's bytes are compact JSON in the example's order."""
    message = json.loads(example(name))
    headers: list[tuple[str, bytes | None]] = [(key, text.encode()) for key, text in message["headers"].items()]
    return message["key"].encode(), msgspec.json.encode(message["value"]), headers


DOCUMENTS: dict[str, Any] = {
    "notice.json": as_message(
        seal_notice(NOTICE, source="baton/publisher", event_id="e-1", time=MOMENT, keyring=KEYRING)
    ),
    "acknowledgement.json": as_message(seal_acknowledgement(ACKNOWLEDGEMENT, event_id="e-2", keyring=KEYRING)),
    "heartbeat.json": as_message(seal_heartbeat(HEARTBEAT, event_id="e-3", keyring=KEYRING)),
    "retrain.json": as_message(
        seal_retrain(RETRAIN, source="baton/command", event_id="e-4", time=MOMENT, keyring=KEYRING)
    ),
    "alert.json": as_message(seal_alert(ALERT, source="baton/airflow", event_id="e-5", time=MOMENT, keyring=KEYRING)),
    "manifest.json": json.loads(MANIFEST.encode()),
    "sources.json": json.loads(msgspec.json.encode(SOURCES)),
    "golden.json": json.loads(encode_golden(GOLDEN)),
    "prediction.json": shown(PREDICTION),
    "prediction-of-classes.json": shown(PREDICTION_OF_CLASSES),
    "dead-letter.json": {
        "headers": {name: content.decode() for name, content in DEAD_LETTER.headers()},
        "value by reference": json.loads(refer(INPUT, b"a very large record")),
    },
    "committed-offset.json": {"offset": 48_214, "metadata": Progress(LEDGER, 2).encode()},
}


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_the_code_writes_what_the_example_shows(name: str) -> None:
    assert json.loads(example(name)) == DOCUMENTS[name]


def test_every_document_has_its_example_and_there_is_no_other() -> None:
    assert sorted(path.name for path in EXAMPLES.iterdir()) == sorted(DOCUMENTS)


def test_the_code_reads_the_notice() -> None:
    assert unseal_notice(*received("notice.json"), KEYRING) == NOTICE


def test_the_code_reads_the_acknowledgement() -> None:
    assert unseal_acknowledgement(*received("acknowledgement.json"), KEYRING) == ACKNOWLEDGEMENT


def test_the_code_reads_the_heartbeat() -> None:
    assert unseal_heartbeat(*received("heartbeat.json"), KEYRING) == HEARTBEAT


def test_the_code_reads_the_request_for_a_retrain() -> None:
    asked = Asked(request=RETRAIN, event_id="e-4", at=MOMENT)
    assert unseal_retrain(*received("retrain.json"), KEYRING) == asked


def test_the_code_reads_the_alert() -> None:
    assert unseal_alert(*received("alert.json"), KEYRING) == ALERT


def test_the_code_reads_the_manifest() -> None:
    assert decode_manifest(example("manifest.json")) == MANIFEST


def test_the_code_reads_the_sources() -> None:
    assert msgspec.json.decode(example("sources.json"), type=tuple[Source, ...]) == SOURCES


def test_the_code_reads_the_golden_rows() -> None:
    assert decode_golden(example("golden.json")) == GOLDEN


def test_the_code_reads_the_prediction() -> None:
    assert decode_prediction(example("prediction.json")) == PREDICTION
    assert decode_prediction(example("prediction-of-classes.json")) == PREDICTION_OF_CLASSES


def test_the_code_reads_the_headers_of_the_dead_letter() -> None:
    headers = json.loads(example("dead-letter.json"))["headers"]
    assert DeadLetter.from_headers([(name, text.encode()) for name, text in headers.items()]) == DEAD_LETTER


def test_the_code_reads_the_metadata_of_the_committed_offset() -> None:
    metadata = json.loads(example("committed-offset.json"))["metadata"]
    assert Progress.decode(metadata) == Progress(LEDGER, 2)
