"""Explaining a prediction: the same score again, and the cause where it is not; every fault that is planted is told."""

import json
import math
import time
from html import escape
from pathlib import Path

import msgspec
import numpy as np
import pytest

from scoring.contract.acknowledgement import Position
from scoring.contract.asof import FOREVER_S, Rows
from scoring.contract.encoder import Column, Columns
from scoring.contract.errors import Unavailable
from scoring.contract.features import FeatureSchema, FrozenLookup, LookupField, TableLookup
from scoring.contract.frozen import encode_table, file_of
from scoring.contract.lookup import OnMiss
from scoring.contract.records import ORDINARY, Answer, RecordRules
from scoring.contract.replay import Replayed
from scoring.explain.explaining import Evidence, explain
from scoring.explain.explanation import Explanation, Verdict
from scoring.explain.judging import Judge, Raw
from scoring.explain.page import page
from scoring.explain.telling import lines, shown
from scoring.kafka import RecordHeaders
from scoring.scorer.bundle import open_bundle
from scoring.scorer.scorer import Scorer
from tests.support.bundles import make_bundle, score_of, small_record, small_schema
from tests.support.classes import bundle_of_classes, probabilities
from tests.support.explaining import Given, entry_of, evidence, swapped

WEATHER = TableLookup(
    name="weather",
    connection="warehouse",
    table="weather",
    match=(("station", "color"),),
    valid_at="observed_at",
    fields=(LookupField(name="wind"),),
)


class Away:
    """A source of looked-up values that cannot be reached."""

    def resolve(self, schema: FeatureSchema, columns: Columns, rows: int) -> dict[str, Column]:  # noqa: ARG002
        raise Unavailable("it is away")


def record(number: int, **changes: object) -> bytes:
    return msgspec.json.encode({**small_record(number), **changes})


@pytest.fixture
def scorer(tmp_path: Path) -> Scorer:
    make_bundle(tmp_path / "1", 1)
    return Scorer(open_bundle(tmp_path / "1"))


@pytest.fixture
def windy(tmp_path: Path) -> Scorer:
    make_bundle(tmp_path / "windy", 1, schema=small_schema((WEATHER,)))
    return Scorer(open_bundle(tmp_path / "windy"))


def changed(found: Evidence, **changes: object) -> Explanation:
    return explain(msgspec.structs.replace(found, **changes))


def verdict(found: Explanation) -> Verdict:
    assert found.rescored is not None
    return found.rescored.verdict


def causes(found: Explanation) -> str:
    assert found.rescored is not None
    return "; ".join(found.rescored.causes)


# --- the score again ----------------------------------------------------------------------------------------------


def test_the_score_comes_out_the_same_in_every_bit(scorer: Scorer) -> None:
    found = explain(evidence(scorer, record(7)))
    assert found.rescored is not None
    assert (verdict(found), found.rescored.score, found.rescored.causes) == (Verdict.IDENTICAL, score_of(1, 7), ())
    assert found.rescored.decision is True
    assert found.threshold == 1.5
    assert found.sound


def test_of_several_classes_label_and_every_probability_have_to_be_the_same(tmp_path: Path) -> None:
    scorer = Scorer(bundle_of_classes(tmp_path / "classes"))
    given = evidence(scorer, record(2))
    found = explain(given)
    assert found.rescored is not None
    assert verdict(found) is Verdict.IDENTICAL
    assert tuple((found.rescored.probabilities or {}).values()) == probabilities(2)
    assert given.prediction is not None
    other = {name: math.nextafter(value, 1) for name, value in (given.prediction.probabilities or {}).items()}
    moved = changed(given, prediction=msgspec.structs.replace(given.prediction, probabilities=other))
    assert verdict(moved) is Verdict.DIFFERENT
    assert "the probabilities of early" in causes(moved)


@pytest.mark.parametrize("other", [math.nextafter(1.75, 2), -1.75, 1.75 + 1e-9])
def test_a_score_that_differs_in_one_bit_is_different_and_the_golden_rows_say_where_to_look(
    scorer: Scorer, other: float
) -> None:
    given = evidence(scorer, record(7))
    assert given.prediction is not None
    found = changed(given, prediction=msgspec.structs.replace(given.prediction, score=other))
    assert verdict(found) is Verdict.DIFFERENT
    assert f"the score is 1.75, it was {other!r}" in causes(found)
    assert "the bundle's golden rows score here as they did" in causes(found)
    assert not found.sound


def test_another_versions_bundle_is_told_and_nothing_is_scored_with_it(scorer: Scorer, tmp_path: Path) -> None:
    make_bundle(tmp_path / "2", 2)
    found = changed(evidence(scorer, record(7)), scorer=Scorer(open_bundle(tmp_path / "2")))
    assert verdict(found) is Verdict.IMPOSSIBLE
    assert "this is another bundle" in causes(found)
    assert found.features == ()
    assert not found.sound


def test_looked_up_values_that_the_prediction_carries_are_what_it_is_scored_with(windy: Scorer) -> None:
    found = explain(evidence(windy, record(7), looked_up={"weather.wind": 2.5}))
    assert verdict(found) is Verdict.IDENTICAL
    (wind,) = found.enrichment
    assert (wind.lookup, wind.field, wind.value, wind.source) == ("weather", "wind", 2.5, "prediction")
    assert next(each for each in found.features if each.name == "weather_wind").exact == "2.5"


def test_values_that_are_frozen_into_the_bundle_are_told_from_there(tmp_path: Path) -> None:
    town = FrozenLookup(
        name="town", connection="x", table="t", match=(("color", "color"),), fields=(LookupField(name="size"),)
    )
    rows = Rows(keys=[("red",)], valid_at=np.full(1, FOREVER_S), known_at=None, values={"size": np.array([1.5])})
    files = {file_of("town"): encode_table(town, rows)}
    make_bundle(tmp_path / "frozen", 1, schema=small_schema((town,)), frozen=files)
    found = explain(evidence(Scorer(open_bundle(tmp_path / "frozen")), record(2)))
    (size,) = found.enrichment
    assert (size.lookup, size.field, size.value, size.source) == ("town", "size", 1.5, "bundle")
    assert verdict(found) is Verdict.IDENTICAL


def test_a_prediction_that_lacks_its_looked_up_values_is_told(windy: Scorer) -> None:
    given = evidence(windy, record(7), looked_up={"weather.wind": 2.5})
    assert given.prediction is not None
    found = changed(given, prediction=msgspec.structs.replace(given.prediction, lookups={}))
    assert [each.source for each in found.enrichment] == ["missing"]
    assert "the prediction carries no wind of lookup 'weather'" in "; ".join(found.missing)


def test_a_record_that_is_not_the_one_that_was_scored_is_told(scorer: Scorer) -> None:
    given = evidence(scorer, record(7))
    assert given.record is not None
    other = changed(given, record=msgspec.structs.replace(given.record, value=record(9)))
    assert verdict(other) is Verdict.DIFFERENT  # it has the same score
    assert "the record's id is another one" in causes(other)
    assert "the record's event time is another one" in causes(other)
    broken = changed(given, record=msgspec.structs.replace(given.record, value=b"{"))
    assert verdict(broken) is Verdict.IMPOSSIBLE
    assert "the record cannot be decoded: malformed-json" in causes(broken)


def test_what_is_gone_is_told_and_the_rest_is_explained(scorer: Scorer) -> None:
    given = evidence(scorer, record(7))
    found = changed(given, record=None, scorer=None, entries=None, acknowledgements=None, missing=("it is gone",))
    assert verdict(found) is Verdict.IMPOSSIBLE
    assert causes(found) == "the record is gone; the bundle cannot be had"
    assert found.prediction == given.prediction
    assert found.missing == ("it is gone",)
    assert found.why is not None
    assert found.why.problems == ()  # nobody knows
    assert "it is gone" in "\n".join(lines(found))


# --- features -----------------------------------------------------------------------------------------------------


def test_features_are_told_exactly_and_with_how_they_come_about(scorer: Scorer) -> None:
    found = explain(evidence(scorer, record(3, x=0.1 + 0.2, color=None)))
    x, color, hour = found.features
    assert (x.name, x.value, x.exact, x.how, dict(x.of)) == (
        "x",
        0.1 + 0.2,
        "0.30000000000000004",
        "x",
        {"x": 0.1 + 0.2},
    )
    assert (color.value, color.exact, dict(color.of)) == (None, "nan", {"color": None})
    assert color.how == "place of color among 3 known words, from 0"
    assert hour.how == "hours since midnight of at, UTC"
    assert hour.value == pytest.approx(12.5008333)
    assert dict(hour.of) == {"at": "2026-03-01T12:30:03Z"}
    assert [(each.name, each.type) for each in found.fields][:2] == [("id", "string"), ("at", "time")]


# --- why ----------------------------------------------------------------------------------------------------------


def test_the_swap_that_made_the_sequence_live_and_the_one_that_ended_it_are_found(scorer: Scorer) -> None:
    said = (
        swapped(1, 0),
        swapped(2, 40),
        swapped(2, 11, partition=1),
        swapped(3, 60),
        swapped(3, 62, worker="d/1"),
    )
    found = explain(evidence(scorer, record(7), offset=58, sequence=2, acknowledgements=said))
    assert found.why is not None
    assert found.why.swap is not None
    assert found.why.next_swap is not None
    assert (found.why.swap.offset, found.why.swap.records, found.why.swap.worker) == (40, 18, "d/0")
    assert (found.why.next_swap.offset, found.why.next_swap.records) == (60, -2)
    assert found.why.nearest == found.why.next_swap
    assert found.why.problems == ()


@pytest.mark.parametrize("offset", [39, 40])
def test_right_before_and_at_a_swap_the_border_is_exact(scorer: Scorer, offset: int) -> None:
    sequence = 1 if offset < 40 else 2
    given = evidence(
        scorer, record(7), offset=offset, sequence=sequence, acknowledgements=(swapped(1, 0), swapped(2, 40))
    )
    found = explain(given)
    assert found.why is not None
    assert found.why.nearest is not None
    assert (found.why.nearest.sequence, found.why.nearest.records) == (2, offset - 40)
    assert found.sound


def test_a_sequence_that_scored_behind_the_swap_to_the_next_one_does_not_fit(scorer: Scorer) -> None:
    said = (swapped(1, 0), swapped(2, 40))
    found = explain(evidence(scorer, record(7), offset=41, sequence=1, acknowledgements=said))
    assert found.why is not None
    assert "had swapped to sequence 2 at offset 40" in "; ".join(found.why.problems)
    assert not found.sound


def test_a_ledger_that_names_another_bundle_or_no_such_sequence_does_not_fit(scorer: Scorer) -> None:
    given = evidence(scorer, record(7))
    other = msgspec.structs.replace(entry_of(scorer), manifest_digest="0" * 64)
    for entries, told in (([other], "is version 1 with the manifest 000000"), ([], "has no sequence 1")):
        found = changed(given, entries=entries)
        assert found.why is not None
        assert told in "; ".join(found.why.problems)
        assert not found.sound


# --- dead letters -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "reason", "field"),
    [
        (None, "null-value", None),
        (b"{", "malformed-json", None),
        (record(1, x="seven"), "wrong-type", "x"),
        (b'{"id":"a","at":"2026-03-01T00:00:00Z"}', "missing-field", "x"),
    ],
)
def test_a_dead_letter_says_which_field_is_to_blame_and_what_would_have_to_change(
    scorer: Scorer, value: bytes | None, reason: str, field: str | None
) -> None:
    found = explain(evidence(scorer, value))
    assert found.letter is not None
    assert (found.letter.told.reason.value, found.letter.field) == (reason, field)
    assert found.letter.then is not None
    assert (found.letter.then.scored, found.letter.then.reason) == (False, reason)
    assert found.letter.then.detail == found.letter.told.detail
    assert found.letter.remedy
    assert found.sound


@pytest.mark.parametrize(
    ("value", "reason", "field"),
    [
        (record(1, more=1), "unknown-field", "more"),
        (record(1).replace(b"{", b'{"x":1,', 1), "repeated-key", "x"),
        (record(1, color="\0"), "null-character", "color"),
        (record(1, color="r" * 101), "too-large", "color"),
    ],
)
def test_where_the_sentence_names_no_field_the_record_judged_again_does(
    tmp_path: Path, value: bytes, reason: str, field: str
) -> None:
    rules = msgspec.structs.replace(ORDINARY, unknown_fields=Answer.DEAD_LETTER, maximum_text_characters=100)
    make_bundle(tmp_path / "ruled", 1, schema=msgspec.structs.replace(small_schema(), records=rules))
    given = evidence(Scorer(open_bundle(tmp_path / "ruled")), value)
    found = explain(given).letter
    assert found is not None
    assert (found.told.reason.value, found.field) == (reason, field)
    gone = changed(given, then=None).letter
    assert gone is not None
    assert gone.field is None


def test_what_stands_around_the_value_is_judged_as_a_worker_does(tmp_path: Path) -> None:
    rules = RecordRules(maximum_headers=0, ahead_s=60.0)
    make_bundle(tmp_path / "ruled", 1, schema=msgspec.structs.replace(small_schema(), records=rules))
    scorer = Scorer(open_bundle(tmp_path / "ruled"))
    given = evidence(scorer, record(1))
    one: RecordHeaders = [("h", b"1")]
    for timestamp_ms, headers, reason in ((-1, one, "too-large"), (0, [], "clock-off"), (-1, [], None)):
        raw = Raw(key=b"k", value=record(1), headers=headers, timestamp_ms=timestamp_ms)
        found = changed(given, record=raw).letter
        assert found is not None
        assert found.then is not None
        assert found.then.reason == reason
        assert found.then.scored is (reason is None)


def test_a_lookup_that_has_no_row_now_and_one_that_cannot_be_asked_are_told(tmp_path: Path) -> None:
    strict = msgspec.structs.replace(WEATHER, on_miss=OnMiss.DEAD_LETTER)
    make_bundle(tmp_path / "strict", 1, schema=small_schema((strict,)))
    scorer = Scorer(open_bundle(tmp_path / "strict"))
    given = evidence(scorer, record(1), looked_up={"weather.wind": 1.0, "weather.": 0.0})
    found = explain(given).letter
    assert found is not None
    assert (found.told.reason.value, found.field) == ("lookup-miss", "weather")
    assert found.then is not None
    assert found.then.reason == "lookup-miss"
    filled = Judge(scorer, version="1", sequence=1, lookups=Given({"weather.wind": 1.0, "weather.": 1.0}))
    unasked = Judge(scorer, version="1", sequence=1)
    away = Judge(scorer, version="1", sequence=1, lookups=Away())
    for judge, told in ((filled, ()), (unasked, ("weather: nobody was asked",)), (away, ("weather: it is away",))):
        again = changed(given, today=judge).letter
        assert again is not None
        assert again.today is not None
        assert again.today.scored
        assert [said.partition(";")[0] for said in again.today.unasked] == list(told)


def test_what_was_read_of_a_record_is_told_where_no_features_tell_of_it(scorer: Scorer) -> None:
    found = explain(evidence(scorer, record(7)))
    assert found.fields
    assert "fields as they were read:" not in "\n".join(lines(found))
    without = msgspec.structs.replace(found, features=())
    told = "\n".join(lines(without))
    for field in found.fields:
        line = f"{field.name} = {shown(field.value)} ({field.type})"
        assert f"  {line}" in told
        assert escape(line) in page(without)


def test_a_dead_letter_that_todays_champion_would_score_says_so(scorer: Scorer, windy: Scorer) -> None:
    given = evidence(scorer, record(1, x="seven"))
    assert given.record is not None
    mended = changed(given, record=msgspec.structs.replace(given.record, value=record(1)))
    assert mended.letter is not None
    assert mended.letter.today is not None
    assert (mended.letter.today.scored, mended.letter.today.score) == (True, score_of(1, 1))


def test_a_record_that_is_a_replay_says_which_dead_letter_it_was(scorer: Scorer) -> None:
    given = evidence(scorer, record(7))
    letter = Position(topic="small.dead-letters", topic_id="dl", partition=2, offset=5)
    headers: RecordHeaders = [*Replayed(letter=letter, number=2).headers()]
    found = changed(given, record=Raw(key=b"k", value=record(7), headers=headers))
    assert found.input is not None
    assert found.input.replayed == Replayed(letter=letter, number=2)
    assert "it is replay 2 of the dead letter small.dead-letters 2:5" in "\n".join(lines(found))


# --- forms --------------------------------------------------------------------------------------------------------


def test_an_explanation_is_json_and_a_page_that_needs_no_network(windy: Scorer) -> None:
    evil = record(7, id="<script>alert(1)</script>", color=None)
    for value in (evil, b"{", None):
        found = explain(evidence(windy, value, looked_up={"weather.wind": 2.5}, acknowledgements=(swapped(1, 0),)))
        again = json.loads(msgspec.json.encode(found))
        assert again["place"]["offset"] == 7
        text = page(found)
        assert "<script" not in text
        assert "http" not in text
        assert "\n".join(lines(found))


def test_a_thousand_explanations_take_no_time_to_speak_of(scorer: Scorer) -> None:
    given = [evidence(scorer, record(number), offset=number) for number in range(1_000)]
    started = time.process_time()
    assert all(explain(each).sound for each in given)
    assert time.process_time() - started < 30
