"""What is refused of the records of the topics, in words; that the rest comes back is shown on the databases."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from scoring.contract.dead_letter import REFERENCE_HEADER, refer
from scoring.contract.errors import ContractError
from scoring.predictions import tables
from scoring.predictions.rows import (
    DeadLetterRow,
    PredictionRow,
    UnreadableRow,
    dead_letter_row,
    prediction_row,
    unreadable_row,
)
from tests.support.predictions import INPUT, LETTERS, MOMENT, letter, lettered, moved, predicted, prediction, record

EARLY = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5)))


@pytest.mark.parametrize(
    ("row", "table"),
    [
        (PredictionRow, tables.predictions),
        (PredictionRow, tables.latest),
        (DeadLetterRow, tables.dead_letters),
        (UnreadableRow, tables.unreadable),
    ],
)
def test_a_row_has_the_columns_of_its_table_in_their_order(row: type[msgspec.Struct], table: Any) -> None:
    assert row.__struct_fields__ == tuple(table.columns.keys())


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "the value is null"),
        (b"", "not a prediction"),
        (b"\xff", "not a prediction"),
        (b"[" * 100_000, "not a prediction"),
        (b'{"model": "small"}', "missing required field"),
        (msgspec.json.encode(prediction(model="No Model")), "model"),
        (msgspec.json.encode(prediction()).replace(b"0.5", b"1e999"), "not a prediction"),
        (msgspec.json.encode(prediction(event_time=MOMENT.replace(tzinfo=None))), "event_time .* no time zone"),
        (msgspec.json.encode(prediction(scored_at=EARLY)), "scored_at .* UTC"),
        (msgspec.json.encode(prediction(label="a\0b")), "NUL"),
        (msgspec.json.encode(prediction(version="a\0b")), "NUL"),
        (msgspec.json.encode(prediction(input=moved(INPUT, topic="a\0b"))), "NUL"),
    ],
)
def test_what_is_no_prediction_is_refused_with_its_reason(value: bytes | None, why: str) -> None:
    with pytest.raises(ContractError, match=why):
        prediction_row(record(value))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model": "No Model"}, "model"),
        ({"sequence": 0}, "sequence"),
        ({"sequence": 2**31}, "sequence"),
        ({"origin": moved(INPUT, partition=-1)}, "origin.partition"),
        ({"origin": moved(INPUT, offset=2**63)}, "origin.offset"),
        ({"detail": "a\0b"}, "NUL"),
    ],
)
def test_what_is_no_dead_letter_is_refused_with_its_reason(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ContractError, match=why):
        dead_letter_row(lettered(**changes))


def test_a_record_without_the_headers_of_a_dead_letter_is_refused() -> None:
    with pytest.raises(ContractError, match="not a dead letter: there is no header"):
        dead_letter_row(record(b"{}", LETTERS))


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("reason", b"tired", "not a dead letter: Invalid enum value 'tired'"),
        ("at", b"2026-03-01T12:30:00", "not a dead letter: .*timezone"),
        ("offset", b"x", "not a dead letter"),
        ("detail", b"\xff", "not a dead letter"),
    ],
)
def test_a_header_that_says_something_else_is_refused(name: str, content: bytes, why: str) -> None:
    foreign = (*letter().headers(), (f"baton-dead-letter-{name}", content))
    with pytest.raises(ContractError, match=why):
        dead_letter_row(record(b"{}", LETTERS, headers=foreign))


def test_times_of_other_zones_become_utc() -> None:
    tokyo = timezone(timedelta(hours=9))
    row = prediction_row(predicted(event_time=MOMENT.astimezone(tokyo)))
    assert (row.event_time, row.event_time.tzinfo) == (MOMENT, UTC)


def test_the_headers_of_a_dead_letters_input_are_told_from_what_was_added_last() -> None:
    own = (("trace", b"1"), *letter(detail="an earlier one").headers(), ("baton-dead-letter-own", None))
    row = dead_letter_row(lettered(own=own, detail="this one"))
    assert row.detail == "this one"
    assert row.headers is not None
    assert [name for name, _ in msgspec.json.decode(row.headers)] == [name for name, _ in own]
    assert not row.by_reference


def test_headers_of_an_input_that_only_look_like_batons_are_its_own() -> None:
    own = ((REFERENCE_HEADER, b"1"), ("baton-dead-letter-detail", b"\xff"), ("baton-dead-letter-at", None))
    row = dead_letter_row(lettered(own=own))
    assert not row.by_reference
    assert row.headers is not None
    assert [name for name, _ in msgspec.json.decode(row.headers)] == [name for name, _ in own]


def test_a_dead_letter_by_reference_says_so() -> None:
    headers = (*letter().headers(), (REFERENCE_HEADER, b"1"))
    row = dead_letter_row(record(refer(INPUT, b"x"), LETTERS, key=None, headers=headers))
    assert (row.by_reference, row.record_key, row.headers) == (True, None, None)


def test_the_reason_of_an_unreadable_record_can_be_kept_whatever_it_quotes() -> None:
    row = unreadable_row(record(b"\0", headers=(("x", b"\xff"),)), "a\0b\udcff" + "x" * 5_000)
    assert row.reason.startswith("a\\0b")
    assert len(row.reason) < 1_100
    assert row.value == b"\0"
