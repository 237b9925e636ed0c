"""Chunks: their borders come from the period and the ledger alone."""

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from scoring.backfill.asked import asked_for, name_of
from scoring.backfill.lookahead import Span
from scoring.backfill.plan import A_DAY_S, FITTING_RECORDS, MAXIMUM_CHUNKS, Offsets, Plan, decode_plan, fitting_s
from scoring.contract.errors import ConfigurationError
from tests.support.decisions import JANUARY, digest_for

DAY = timedelta(days=1)


def span(start: float, end: float, version: str = "1") -> Span:
    return Span(
        start=JANUARY + start * DAY,
        end=JANUARY + end * DAY,
        version=version,
        sequence=int(version),
        manifest_digest=digest_for(version),
        lookahead=False,
    )


def plan(*spans: Span, **more: Any) -> Plan:
    return Plan(asked=asked_for("small", spans[0].start, spans[-1].end), spans=spans, **more)


def lengths(found: Plan) -> list[tuple[int, float, float, str]]:
    return [
        (each.number, (each.start - JANUARY) / DAY, (each.end - JANUARY) / DAY, each.span.version)
        for each in found.chunks()
    ]


def test_a_span_is_cut_at_midnight_wherever_it_begins() -> None:
    assert lengths(plan(span(0.25, 2.5))) == [(0, 0.25, 1, "1"), (1, 1, 2, "1"), (2, 2, 2.5, "1")]


def test_no_chunk_is_of_two_versions() -> None:
    found = lengths(plan(span(0, 0.5), span(0.5, 1.5, "2")))
    assert found == [(0, 0, 0.5, "1"), (1, 0.5, 1, "2"), (2, 1, 1.5, "2")]


def test_chunks_of_hours_begin_on_the_hour() -> None:
    found = lengths(plan(span(0.01, 0.1), chunk_s=3600))
    assert found == [(0, 0.01, 1 / 24, "1"), (1, 1 / 24, 2 / 24, "1"), (2, 2 / 24, 0.1, "1")]


def test_more_chunks_than_any_process_could_hold_are_refused_at_once_and_the_remedy_is_named() -> None:
    forever = msgspec.structs.replace(span(0, 1), end=JANUARY.replace(year=9999))
    with pytest.raises(ConfigurationError, match=r"makes 25\d,\d{3},\d{3},\d{3} chunks.*longer --chunk"):
        plan(forever, chunk_s=1).chunks()
    with pytest.raises(ConfigurationError, match="250,001 chunks"):
        plan(span(0, (MAXIMUM_CHUNKS + 1) / 86_400), chunk_s=1).chunks()
    parts = (Offsets(partition=0, first=0, end=10),) * (MAXIMUM_CHUNKS // 2 + 1)
    with pytest.raises(ConfigurationError, match="--version"):
        plan(span(0, 1), span(1, 2, "2"), topic_id="t", offsets=parts).chunks()


def test_the_last_chunk_that_a_calendar_has_ends_with_its_span() -> None:
    end = JANUARY.replace(year=9999, month=12, day=31, hour=12)
    last = msgspec.structs.replace(span(0, 1), start=end - DAY, end=end)
    assert [each.end.day for each in plan(last).chunks()] == [31, 31]


def test_borders_before_1970_are_cut_alike() -> None:
    early = msgspec.structs.replace(span(0, 1), start=JANUARY.replace(year=1969), end=JANUARY.replace(year=1969, day=3))
    assert [(each.start.day, each.start.hour) for each in plan(early).chunks()] == [(1, 0), (2, 0)]


def test_each_part_of_a_partition_is_read_once_for_each_span() -> None:
    parts = (Offsets(partition=0, first=0, end=10), Offsets(partition=1, first=5, end=9))
    found = msgspec.structs.replace(plan(span(0, 1), span(1, 2, "2")), topic_id="t", offsets=parts).chunks()
    told = [(each.number, each.offsets and each.offsets.partition, each.span.version) for each in found]
    assert told == [(0, 0, "1"), (1, 0, "2"), (2, 1, "1"), (3, 1, "2")]


def test_a_plan_survives_its_text() -> None:
    found = plan(span(0, 1), span(1, 2, "2"))
    assert decode_plan(found.encode()) == found


def test_equal_questions_have_one_name_whatever_the_time_zone_they_are_asked_in() -> None:
    end = JANUARY + DAY
    there = JANUARY.astimezone(ZoneInfo("Asia/Tokyo"))
    first, same = asked_for("small", JANUARY, end), asked_for("small", there, end)
    assert name_of(first, None) == name_of(same, None)
    assert name_of(first, None) != name_of(asked_for("small", JANUARY, end, version="1"), None)
    assert name_of(first, None) != name_of(asked_for("small", JANUARY, end, allow_lookahead=True), None)
    assert name_of(first, "april_13") == "april_13"


@pytest.mark.parametrize("name", ["", "April", "a-b", "x" * 32, "a;b"])
def test_a_name_that_cannot_be_part_of_a_tables_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="lower-case"):
        name_of(asked_for("small", JANUARY, JANUARY + DAY), name)


def test_all_mistakes_of_what_is_asked_are_told_together() -> None:
    with pytest.raises(ConfigurationError) as told:
        asked_for("Small", JANUARY, JANUARY, chunk_s=0)
    assert all(word in str(told.value) for word in ("'Small'", "is empty", "too short"))


@pytest.mark.parametrize(
    ("records", "days", "length_s"),
    [
        (None, 90, A_DAY_S),
        (0, 90, 364 * A_DAY_S),
        (60_000, 365, 84 * A_DAY_S),
        (240_000, 365, 28 * A_DAY_S),
        (FITTING_RECORDS, 90, 364 * A_DAY_S),
        (336_000, 365, 7 * A_DAY_S),
        (1_000_000, 90, A_DAY_S),
        (90 * FITTING_RECORDS, 90, A_DAY_S),
        (90 * FITTING_RECORDS + 90, 90, 21_600),
        (90 * 172_800_000, 90, 1),
    ],
)
def test_a_chunk_is_as_long_as_some_records_take(records: int | None, days: int, length_s: int) -> None:
    assert fitting_s(records, days * A_DAY_S) == length_s
