"""Manifest, dead letter, progress, clock, golden rows and topics: what they read back, and what they refuse."""

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.contract.acknowledgement import Position
from scoring.contract.clock import epoch_ms, epoch_s, from_epoch_ms, from_epoch_s, rfc3339
from scoring.contract.dead_letter import (
    MARGIN_BYTES,
    MAXIMUM_DETAIL_CHARACTERS,
    DeadLetter,
    Reason,
    record_size_bytes,
    refer,
)
from scoring.contract.digest import digest_of
from scoring.contract.errors import BundleRejected
from scoring.contract.golden import MAXIMUM_ROWS, GoldenRow, decode_golden, encode_golden
from scoring.contract.manifest import MANIFEST_FILE, Topics, decode_manifest
from scoring.contract.progress import Progress
from scoring.contract.topics import (
    INPUT_MAXIMUM_BYTES,
    OUTPUT_MAXIMUM_BYTES,
    control_topics,
    model_topics,
    pipeline_topics,
)
from tests.support.bundles import small_bundle

MOMENT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
ORIGIN = Position(topic="small.input", topic_id="abc", partition=2, offset=41)


@pytest.fixture
def manifest(tmp_path: Path) -> bytes:
    return (small_bundle(tmp_path / "bundle").folder / MANIFEST_FILE).read_bytes()


def changed(manifest: bytes, **changes: object) -> bytes:
    return json.dumps({**json.loads(manifest), **changes}).encode()


# --- manifest -----------------------------------------------------------------------------------------------------


def test_a_manifest_survives_its_file(manifest: bytes) -> None:
    assert decode_manifest(manifest).encode() == manifest


@pytest.mark.parametrize("number", [0, 3, -1, 10**30, "1", None, 1.5, True])
def test_an_unknown_format_is_refused_before_anything_else_is_read(manifest: bytes, number: object) -> None:
    with pytest.raises(BundleRejected, match="manifest"):
        decode_manifest(changed(manifest, format=number, schema="of the future"))


def test_the_refusal_of_a_newer_format_says_what_to_do(manifest: bytes) -> None:
    with pytest.raises(BundleRejected, match=r"format 3 is unknown here .*upgrade this worker"):
        decode_manifest(changed(manifest, format=3))


def test_a_schema_that_contradicts_itself_is_a_refused_bundle_not_a_wrong_setting(manifest: bytes) -> None:
    schema = {**json.loads(manifest)["schema"], "key": "nowhere"}
    with pytest.raises(BundleRejected, match="the key 'nowhere' is not a field"):
        decode_manifest(changed(manifest, schema=schema))


@pytest.mark.parametrize(
    "content", [b"", b"null", b"[]", b"\xff", b"{", b'{"format":1}', b'{"format":1e400}', b"[" * 99_999]
)
def test_what_is_no_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(BundleRejected):
        decode_manifest(content)


@pytest.mark.parametrize("field", ["schema", "output", "topics", "snapshot", "files", "model", "created_at"])
@pytest.mark.parametrize("content", [None, 1, "Some Text", [], {"x": 1}])
def test_every_part_is_typed(manifest: bytes, field: str, content: object) -> None:
    with pytest.raises(BundleRejected):
        decode_manifest(changed(manifest, **{field: content}))


@given(st.binary(max_size=100))
def test_no_bytes_make_anything_but_a_refusal(content: bytes) -> None:
    with pytest.raises(BundleRejected):
        decode_manifest(content)


@pytest.mark.parametrize(
    ("part", "change", "reason"),
    [
        ("topics", {"predictions": "baton.notices"}, "'baton.notices' is not a model's topic"),
        ("topics", {"dead_letters": "__consumer_offsets"}, "is not a model's topic"),
        ("topics", {"predictions": "small.input"}, "'small.input' is there twice"),
        ("topics", {"input": "a b"}, "'a b' is not the name of a topic"),
        ("output", {"tolerance": -1.0}, "lets anything pass"),
        ("output", {"task": "binary"}, "the threshold 1.5 is no probability"),
        ("snapshot", {"end": "2020-01-01T00:00:00Z"}, "the holdout does not begin between start and end"),
        ("snapshot", {"start": "2026-03-01T12:30:00"}, "Invalid RFC3339|RFC3339|timezone"),
        ("files", {"../x": {"sha256": "0" * 64, "size_bytes": 1}}, "is not the name of a file in a bundle"),
        ("files", {"MODEL.onnx": {"sha256": "0" * 64, "size_bytes": 1}}, "'model.onnx' is there twice"),
        ("files", {"Manifest.json": {"sha256": "0" * 64, "size_bytes": 1}}, "'manifest.json' is there twice"),
        ("files", {"w.bin": {"sha256": "0" * 64, "size_bytes": 2**40}}, "bytes, at most"),
    ],
)
def test_what_a_manifest_may_not_say_is_named(
    manifest: bytes, part: str, change: dict[str, object], reason: str
) -> None:
    known = json.loads(manifest)[part]
    with pytest.raises(BundleRejected, match=reason):
        decode_manifest(changed(manifest, **{part: {**known, **change}}))


CLASSES: dict[str, object] = {"task": "multiclass", "classes": ["a", "b", "c"], "threshold": None, "column": 0}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"classes": []}, "there are 0 classes, 3 to 100 are allowed"),
        ({"classes": ["a", "b"]}, "there are 2 classes"),
        ({"classes": [str(number) for number in range(101)]}, "there are 101 classes"),
        ({"classes": ["a", "b", "a"]}, "the class 'a' is there twice"),
        ({"classes": ["a", "b", " "]}, "the class ' ' must have 1 to 200 characters"),
        ({"classes": ["a", "b", "c" * 201]}, "must have 1 to 200 characters"),
        ({"threshold": 0.5}, "a multiclass model has no threshold"),
        ({"column": 1}, "column 1 is named, but of a multiclass model all columns are read"),
        ({"link": "sigmoid"}, "a multiclass model has no sigmoid"),
        ({"tolerance": 0.02, "exact": False}, "a tolerance of 0.02 lets anything pass"),
        ({"task": "regression"}, "a regression model has no classes"),
        ({"task": "regression", "classes": [], "link": "softmax"}, "a regression model has no softmax"),
        ({"task": "binary", "classes": [], "link": "ordered-softmax"}, "a binary model has no ordered-softmax"),
        ({"classes": [1, 2, 3]}, "Expected `str`"),
    ],
)
def test_what_a_manifest_may_not_say_of_classes_is_named(
    manifest: bytes, change: dict[str, object], reason: str
) -> None:
    known = {**json.loads(manifest)["output"], **CLASSES}
    for link in ("identity", "softmax", "ordered-softmax"):
        found = decode_manifest(changed(manifest, output={**known, "link": link}))
        assert found.output.classes == ("a", "b", "c")
    with pytest.raises(BundleRejected, match=re.escape(reason)):
        decode_manifest(changed(manifest, output={**known, **change}))


def test_all_mistakes_of_a_manifest_are_told_together(manifest: bytes) -> None:
    topics = {"input": "x y", "predictions": "x", "dead_letters": "x"}
    with pytest.raises(
        BundleRejected, match=r"'x y' is not.*'x' is there twice.*'nowhere' is not.*'id' is there twice"
    ):
        decode_manifest(changed(manifest, topics=topics, pass_through=["nowhere", "id", "id"]))


def test_a_manifest_with_a_key_twice_is_refused(manifest: bytes) -> None:
    with pytest.raises(BundleRejected, match="the key 'model' is there twice"):
        decode_manifest(manifest.replace(b'"model"', b'"model": "small", "model"', 1))


FINITE = st.floats(allow_nan=False, allow_infinity=False)

# --- golden rows --------------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.builds(
            GoldenRow,
            message=st.binary(max_size=50),
            estimator=st.one_of(FINITE, st.lists(FINITE, max_size=4).map(tuple)),
            compiled=st.one_of(FINITE, st.lists(FINITE, max_size=4).map(tuple)),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_golden_rows_keep_every_bit(rows: list[GoldenRow]) -> None:
    assert decode_golden(encode_golden(tuple(rows))) == tuple(rows)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"[1]", b'[{"message":"%","estimator":1,"compiled":1}]', b"\xff"]
)
def test_wrong_golden_rows_are_refused(content: bytes) -> None:
    with pytest.raises(BundleRejected, match="golden rows"):
        decode_golden(content)


def test_too_many_golden_rows_are_refused() -> None:
    rows = (GoldenRow(message=b"{}", estimator=1.0, compiled=1.0),) * (MAXIMUM_ROWS + 1)
    assert len(decode_golden(encode_golden(rows[1:]))) == MAXIMUM_ROWS
    with pytest.raises(BundleRejected, match="4097 of them"):
        decode_golden(encode_golden(rows))


# --- dead letters -------------------------------------------------------------------------------------------------


def letter(**changes: object) -> DeadLetter:
    made = DeadLetter(
        reason=Reason.WRONG_TYPE,
        detail="Expected `float`",
        origin=ORIGIN,
        at=MOMENT,
        model="small",
        version="3",
        sequence=4,
    )
    return msgspec.structs.replace(made, **changes)


def test_a_dead_letter_survives_its_headers() -> None:
    assert DeadLetter.from_headers(letter().headers()) == letter()


def test_the_newest_headers_count_where_a_dead_letter_died_again() -> None:
    older = letter(version="1", origin=msgspec.structs.replace(ORIGIN, topic="other.input"))
    assert DeadLetter.from_headers([("mine", b"x"), *older.headers(), *letter().headers()]) == letter()


@given(st.text(), st.text())
def test_whatever_the_detail_is_it_fits_into_the_margin(detail: str, version: str) -> None:
    headers = letter(detail=detail * 500, version=version[:100]).headers()
    assert record_size_bytes(None, None, headers) < MARGIN_BYTES
    assert len(DeadLetter.from_headers(headers).detail) <= MAXIMUM_DETAIL_CHARACTERS


def test_a_lone_surrogate_in_the_detail_does_no_harm() -> None:
    assert DeadLetter.from_headers(letter(detail="a\ud800b").headers()).detail == "a?b"


@pytest.mark.parametrize("index", range(10))
def test_a_missing_header_is_named(index: int) -> None:
    headers = letter().headers()
    name, _ = headers.pop(index)
    with pytest.raises(ValueError, match=f"there is no header {name}"):
        DeadLetter.from_headers(headers)


@pytest.mark.parametrize("name", ["reason", "partition", "offset", "at", "sequence"])
@pytest.mark.parametrize("content", [b"nonsense", b"\xff", None])
def test_a_malformed_header_is_a_value_error(name: str, content: bytes | None) -> None:
    headers = [(n, content if n.endswith(f"-{name}") else c) for n, c in letter().headers()]
    with pytest.raises(ValueError, match=r"."):
        DeadLetter.from_headers(headers)


def test_a_reference_names_the_record_and_the_digest_of_its_value() -> None:
    found = json.loads(refer(ORIGIN, b"large"))
    assert found["sha256"] == digest_of(b"large")
    assert (found["size_bytes"], found["origin"]["offset"]) == (5, 41)
    assert json.loads(refer(ORIGIN, None))["size_bytes"] == 0


# --- progress -----------------------------------------------------------------------------------------------------


@given(st.uuids(), st.integers(0, 2**63))
def test_progress_survives_the_metadata_of_an_offset(ledger: UUID, sequence: int) -> None:
    assert Progress.decode(Progress(ledger, sequence).encode()) == Progress(ledger, sequence)


@pytest.mark.parametrize(
    "metadata", [None, "", " ", "baton1", "baton1 x 1", f"baton1 {uuid4()} x", f"other {uuid4()} 3", "a b c d", "\0"]
)
def test_anything_else_is_no_progress(metadata: str | None) -> None:
    assert Progress.decode(metadata) == Progress()


@given(st.text())
def test_no_metadata_raises(metadata: str) -> None:
    assert Progress.decode(metadata).sequence >= 0 or metadata.startswith("baton1 ")


def test_no_progress_is_empty_metadata() -> None:
    assert Progress().encode() == ""


# --- clock --------------------------------------------------------------------------------------------------------


@given(st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis
def test_seconds_and_back_is_exact_to_the_microsecond(moment: datetime) -> None:
    assert from_epoch_s(epoch_s(moment)) == moment
    assert timedelta() <= moment - from_epoch_ms(epoch_ms(moment)) < timedelta(milliseconds=1)


def test_time_zones_do_not_matter() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert epoch_s(MOMENT.astimezone(tokyo)) == epoch_s(MOMENT)
    assert rfc3339(MOMENT.astimezone(tokyo)) == "2026-03-01T12:30:00Z"
    assert rfc3339(MOMENT.replace(microsecond=120)) == "2026-03-01T12:30:00.000120Z"


def test_a_naive_datetime_is_refused() -> None:
    naive = MOMENT.replace(tzinfo=None)
    for function in (epoch_s, rfc3339):
        with pytest.raises(ValueError, match="no time zone"):
            function(naive)


# --- topics -------------------------------------------------------------------------------------------------------


def test_what_stands_in_the_dead_letter_topic_has_room_for_the_largest_input_and_the_margin() -> None:
    specs = {spec.name: spec for spec in model_topics(Topics.of("small"), 4)}
    room = {name: int(spec.settings["max.message.bytes"]) for name, spec in specs.items()}
    assert room["small.input"] == INPUT_MAXIMUM_BYTES
    assert room["small.dead-letters"] >= INPUT_MAXIMUM_BYTES + MARGIN_BYTES
    assert room["small.predictions"] == OUTPUT_MAXIMUM_BYTES
    assert {spec.partitions for spec in specs.values()} == {4}


def test_notices_and_workers_are_compacted_and_acknowledgements_are_not() -> None:
    policies = {spec.name: spec.settings["cleanup.policy"] for spec in control_topics()}
    assert policies == {"baton.notices": "compact", "baton.workers": "compact", "baton.acknowledgements": "delete"}
    assert {spec.partitions for spec in control_topics()} == {1}


def test_requests_for_retrains_are_kept_for_less_time_than_brokers_keep_the_offsets_of_a_group() -> None:
    specs = {spec.name: spec.settings for spec in pipeline_topics()}
    assert set(specs) == {"baton.retrains", "baton.retrains.dead-letters", "baton.alerts", "baton.replays"}
    kept_ms = int(specs["baton.retrains"]["retention.ms"]) + int(specs["baton.retrains"]["segment.ms"])
    assert kept_ms < 7 * 86_400_000
