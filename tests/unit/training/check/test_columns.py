"""What the values of a sample say, each with the column's name and the line that declares it."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import msgspec
import numpy as np

from scoring.contract.clock import epoch_s
from scoring.contract.encoder import Column
from tests.support.training import END, START, classification, definition
from training import field
from training.check.columns import Rows, column_findings, lookup_findings, rows_of
from training.check.findings import Finding, Level
from training.check.outline import Outline, read_outline
from training.check.parts import early_label, skew_findings, split_findings
from training.definition import Label, ModelDefinition, days, table_lookup
from training.feature import category, hour_of_day, number

ROWS = 900
SOURCE = """fare = ModelDefinition(
    name="fare",
    fields=[
        field.number("miles"),
        field.string("zone"),
    ],
    holdout=months(1),
)"""


def outline() -> Outline:
    return read_outline("fare.py", SOURCE, "fare")


def fares(**changes: Any) -> ModelDefinition:
    fields = [
        field.string("trip_id", required=True),
        field.time("pickup", required=True),
        field.number("miles"),
        field.string("zone"),
    ]
    return definition(**{"fields": fields, "features": [number("miles"), category("zone")], **changes})


def columns() -> dict[str, Column]:
    random = np.random.default_rng(4)
    return {
        "trip_id": [f"t{number}" for number in range(ROWS)],
        "pickup": np.linspace(epoch_s(START) + 30, epoch_s(END) - 30, ROWS),
        "miles": random.gamma(2.0, 3.0, ROWS),
        "zone": [str(word) for word in random.choice(["a", "b", "c"], ROWS)],
        "fare": random.gamma(2.0, 3.0, ROWS),
    }


def rows(model: ModelDefinition | None = None, **changes: Column) -> Rows:
    model = model or fares()
    return rows_of(
        model,
        outline(),
        {**columns(), **changes},
        holdout_start_s=epoch_s(model.holdout_start(END)),
        every=1,
        now_s=epoch_s(END),
    )


Look = Callable[[Rows], Iterator[Finding]]


def the_one(look: Look, found: Rows) -> Finding:
    (finding,) = list(look(found))
    return finding


def late(found: Rows) -> np.typing.NDArray[np.bool_]:
    return found.holdout


def test_sound_columns_say_nothing() -> None:
    for look in (column_findings, skew_findings, split_findings, lookup_findings):
        assert list(look(rows())) == []


def test_a_column_that_goes_missing_in_the_holdout_is_told_with_both_shares() -> None:
    miles = np.where(late(rows()), np.nan, np.asarray(columns()["miles"]))
    found = list(skew_findings(rows(miles=miles)))
    assert found[0].about == "miles"
    assert found[0].line == 4
    assert "0% of the rows before the holdout and in 100% within it" in found[0].sentence


def test_a_counter_lies_beyond_all_that_was_seen_before() -> None:
    found = the_one(skew_findings, rows(miles=np.arange(ROWS, dtype=np.float64)))
    assert found.level is Level.WARNING
    assert "100% of the holdout's 'miles' lie beyond" in found.sentence


def test_another_unit_within_the_old_range_is_another_distribution() -> None:
    miles = np.asarray(columns()["miles"])
    found = the_one(skew_findings, rows(miles=np.where(late(rows()), miles * 0.3, miles)))
    assert "distributed otherwise" in found.sentence


def test_values_that_never_came_before_the_holdout_are_told_with_an_example() -> None:
    zone = ["new" if there else word for word, there in zip(columns()["zone"], late(rows()).tolist(), strict=True)]
    found = the_one(skew_findings, rows(zone=zone))
    assert (found.about, found.line) == ("zone", 5)
    assert "'new'" in found.remedy


def test_required_fields_that_are_missing_become_dead_letters_and_most_of_them_are_a_mistake() -> None:
    needed = fares(
        fields=[*fares().fields[:2], field.number("miles", required=True), field.string("zone")],
    )
    miles = np.asarray(columns()["miles"])
    some = the_one(column_findings, rows(needed, miles=np.where(np.arange(ROWS) % 10 == 0, np.nan, miles)))
    most = the_one(column_findings, rows(needed, miles=np.where(np.arange(ROWS) % 10 != 0, np.nan, miles)))
    assert (some.level, most.level) == (Level.WARNING, Level.ERROR)
    assert "10.0%" in some.sentence
    assert "dead letters" in some.remedy


def test_constant_and_empty_columns_and_ids_tell_nothing() -> None:
    constant = the_one(column_findings, rows(miles=np.full(ROWS, 3.0)))
    empty = the_one(column_findings, rows(miles=np.full(ROWS, np.nan)))
    ids = the_one(column_findings, rows(zone=[f"zone {number}" for number in range(ROWS)]))
    assert "the same value in every row" in constant.sentence
    assert "no value in any row" in empty.sentence
    assert (constant.level, empty.level) == (Level.WARNING, Level.ERROR)
    assert ids.sentence == "category 'zone' has 900 different values in 900 rows"


def test_event_times_that_are_dates_are_told_and_so_is_their_hour() -> None:
    model = fares(features=[number("miles"), hour_of_day("pickup")])
    pickup = np.floor(np.asarray(columns()["pickup"]) / 86_400) * 86_400
    found = list(column_findings(rows(model, pickup=pickup)))
    assert [each.about for each in found] == ["pickup", "pickup_hour_of_day"]


def test_a_holdout_that_is_longer_than_the_data_is_told_with_one_that_is_not() -> None:
    model = fares(holdout=days(100))
    found = next(split_findings(rows(model)))
    assert "longer than the data, which span 91.0 days" in found.sentence
    assert (found.line, found.remedy) == (7, "such as holdout=days(18)")


def test_a_short_holdout_and_a_label_that_is_known_at_once_are_told() -> None:
    model = fares(holdout=days(7), label=Label("fare", known_after=timedelta(0)))
    found = [each.sentence for each in split_findings(rows(model))]
    assert "the holdout has 70 rows with a label: too few to tell models apart" in found
    assert "the label 'fare' is declared as known at the event, when it is predicted" in found


def test_a_class_that_is_missing_is_a_mistake_where_nothing_can_be_learnt_of_it() -> None:
    model = classification(fields=fares().fields, features=fares().features)
    words = np.random.default_rng(1).choice(["cash", "card", "voucher"], ROWS).tolist()
    held = rows(model, payment=words).holdout.tolist()
    gone = [None if word == "voucher" and here else word for word, here in zip(words, held, strict=True)]
    never = [None if word == "voucher" else word for word in words]
    judged = the_one(split_findings, rows(model, payment=gone))
    learnt = list(split_findings(rows(model, payment=never)))
    assert (judged.sentence, judged.level) == ("there is no row of class 'voucher' in the holdout", Level.WARNING)
    assert learnt[0].level is Level.ERROR


def test_labels_that_come_later_than_known_after_says_are_told() -> None:
    model = fares(label=Label("fare", known_after=timedelta(days=7)))
    age_days = (epoch_s(END) - np.asarray(columns()["pickup"])) / 86_400
    slow = np.where(age_days < 10, np.nan, np.asarray(columns()["fare"]))
    found = next(each for each in split_findings(rows(model, fare=slow)) if each.about == "fare")
    assert "42% of the events that are just older than known_after lack the label, 0% of older ones" in found.sentence


def test_labels_that_are_there_before_they_could_be_known_are_noted() -> None:
    (found,) = early_label(rows(), 12)
    assert found.level is Level.NOTE
    assert "12 rows have a label although" in found.sentence
    assert list(early_label(rows(), 0)) == []


def test_a_label_that_nobody_knows_is_told_alone() -> None:
    found = the_one(split_findings, rows(fare=np.full(ROWS, np.nan)))
    assert found.sentence == "no row has a known label 'fare'"


def test_lookups_that_answer_nothing_are_a_mistake_and_those_that_seldom_do_a_warning() -> None:
    lookup = table_lookup(
        "traffic", connection="warehouse", table="traffic", match={"zone": "zone"}, valid_at="at", fields=["jam"]
    )
    model = fares(lookups=[lookup])
    silent = the_one(lookup_findings, rows(model, **{"traffic.jam": np.full(ROWS, np.nan)}))
    some = np.where(np.arange(ROWS) % 4 == 0, 1.0, np.nan)
    seldom = the_one(lookup_findings, rows(model, **{"traffic.jam": some}))
    assert (silent.level, seldom.level) == (Level.ERROR, Level.WARNING)
    assert seldom.sentence == "the lookup 'traffic' answers for 25.0% of the records"
    assert "zone = zone" in silent.remedy


def test_findings_say_their_place_as_editors_open_it() -> None:
    found = the_one(column_findings, rows(miles=np.full(ROWS, 3.0)))
    assert found.place == "fare.py:4"
    assert msgspec.structs.replace(found, line=None).place == "fare.py"
