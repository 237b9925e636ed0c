"""Faults in data, labels and features, planted into the snapshot or the definition."""

import json
from datetime import timedelta
from typing import Any

import msgspec
import numpy as np

from scoring.contract.features import FieldType
from tests.support.gate_table.cases import fault
from tests.support.gate_table.stage import DELIVERIES, FLIGHTS, Stage
from training import field
from training.feature import number

WEEK_S = 7 * 86_400.0


def hint(stage: Stage, values: Any) -> None:
    """One more field that the model reads."""
    stage.add("hint", np.asarray(values, dtype=np.float64))
    stage.define(
        fields=[*stage.definition.fields, field.number("hint")], features=[*stage.definition.features, number("hint")]
    )


@fault("leakage", core=True)
def the_label_is_a_feature(stage: Stage) -> None:
    hint(stage, stage.numbers(stage.label))


@fault("leakage")
def the_label_is_a_feature_turned_round_squeezed_and_noisy(stage: Stage) -> None:
    labels = stage.numbers(stage.label)
    noise = stage.random.normal(scale=0.05 * np.nanstd(labels), size=stage.rows)
    hint(stage, -np.cbrt(np.nan_to_num(labels) + noise))


@fault("leakage", on=(FLIGHTS,))
def a_feature_is_only_there_when_the_answer_is_yes(stage: Stage) -> None:
    hint(stage, np.where(stage.targets() > 0, stage.random.normal(size=stage.rows), np.nan))


@fault("leakage", on=(FLIGHTS,))
def how_late_a_flight_left_is_declared_as_known_at_the_schedule(stage: Stage) -> None:
    hint(stage, stage.numbers("dep_delay"))


@fault("definition")
def a_feature_is_declared_to_be_known_later(stage: Stage) -> None:
    name = stage.names.late
    kind = next(each for each in stage.definition.fields if each.name == name).type
    made = number(name) if kind is FieldType.NUMBER else msgspec.structs.replace(_category(stage), of=name, name=name)
    stage.define(features=[*stage.definition.features, made])


def _category(stage: Stage) -> Any:
    return next(each for each in stage.definition.features if type(each).__name__ == "Category")


@fault("definition")
def the_label_is_a_field_under_another_name(stage: Stage) -> None:
    source = stage.definition.source
    assert source is not None
    columns = {**source.columns, "outcome": source.column(stage.label)}
    stage.define(
        source=msgspec.structs.replace(source, columns=columns),
        fields=[*stage.definition.fields, field.number("outcome")],
        features=[*stage.definition.features, number("outcome")],
    )


@fault("data")
def every_row_is_there_twice(stage: Stage) -> None:
    stage.take(np.repeat(np.arange(stage.rows), 2))


@fault("data")
def rows_of_the_holdout_are_also_in_training(stage: Stage) -> None:
    places = np.flatnonzero(stage.holdout())
    copied = np.concatenate([np.arange(stage.rows), places])
    stage.take(copied)
    moved = np.arange(stage.rows) >= stage.rows - len(places)
    stage.change(stage.definition.event_time, lambda times: times - 45 * 86_400.0, moved)


@fault("leakage")
def keys_start_again_every_month_and_the_suite_does_not_look(stage: Stage) -> None:
    _loose_suite(stage)
    order = np.where(stage.holdout(), np.cumsum(stage.holdout()), np.cumsum(~stage.holdout()))
    key = stage.definition.key
    kind = next(each.type for each in stage.definition.fields if each.name == key)
    stage.columns[key] = order.astype(np.float64) if kind is FieldType.NUMBER else [f"f-{each}" for each in order]


@fault("volume", core=True)
def a_join_fans_out_and_gives_every_second_row_another_key(stage: Stage) -> None:
    rows, key = stage.rows, stage.definition.key
    stage.take(np.concatenate([np.arange(rows), np.arange(0, rows, 2)]))
    column = stage.columns[key]
    if isinstance(column, np.ndarray):
        stage.columns[key] = np.where(np.arange(stage.rows) < rows, column, column + 1e7)
    else:
        stage.columns[key] = [word if place < rows else f"{word}-2" for place, word in enumerate(column)]


@fault("volume", core=True)
def a_month_is_missing(stage: Stage) -> None:
    start = stage.definition.holdout_start(stage.definition.holdout_start(stage.request.end))
    stage.keep(~stage.since(start) | stage.holdout())


@fault("volume")
def a_week_is_missing(stage: Stage) -> None:
    end = stage.times().max() - 2.5 * WEEK_S
    stage.keep((stage.times() < end - WEEK_S) | (stage.times() >= end))


@fault("volume")
def half_of_the_rows_are_missing(stage: Stage) -> None:
    stage.keep(stage.random.random(stage.rows) < 0.5)


@fault("volume")
def two_thirds_of_the_newest_month_are_missing(stage: Stage) -> None:
    stage.keep(~stage.holdout() | (stage.random.random(stage.rows) < 1 / 3))


@fault("volume", core=True)
def one_group_is_missing(stage: Stage) -> None:
    stage.keep(~stage.of_member())


@fault("volume")
def the_first_month_is_missing(stage: Stage) -> None:
    stage.keep(stage.times() >= stage.times().min() + 31 * 86_400.0)


@fault("volume", flights="data")
def required_values_are_missing_in_most_rows_of_a_fortnight(stage: Stage) -> None:
    there = stage.times() >= stage.times().max() - 2 * WEEK_S
    stage.change(stage.names.number, lambda found: found * np.nan, there & (stage.random.random(stage.rows) < 0.8))


@fault("volume", flights="data")
def there_are_only_six_hundred_rows(stage: Stage) -> None:
    stage.first()
    stage.take(np.sort(stage.random.permutation(stage.rows)[:600]))


@fault("data")
def there_are_no_rows(stage: Stage) -> None:
    stage.keep(np.zeros(stage.rows, dtype=bool))


@fault("freshness", core=True)
def the_newest_ten_days_are_missing(stage: Stage) -> None:
    stage.keep(stage.times() < stage.times().max() - 10 * 86_400.0)


@fault("freshness")
def labels_stopped_coming_ten_days_ago(stage: Stage) -> None:
    late = stage.times() >= stage.times().max() - 10 * 86_400.0
    stage.change(stage.label, lambda labels: labels * np.nan, late)


@fault("freshness")
def the_whole_newest_month_is_missing(stage: Stage) -> None:
    stage.keep(~stage.holdout())


@fault("data", deliveries="minimum-quality")
def units_change_in_the_newest_month(stage: Stage) -> None:
    stage.change(stage.names.number, lambda miles: miles * 1.609344, stage.holdout())


@fault("data", deliveries="minimum-quality")
def metres_are_sent_for_kilometres_in_the_newest_month(stage: Stage) -> None:
    stage.change(stage.names.number, lambda miles: miles / 1_000.0, stage.holdout())


@fault("data")
def a_number_changes_its_sign(stage: Stage) -> None:
    stage.change(stage.names.number, np.negative)


@fault("data", core=True)
def a_category_is_renamed_in_the_newest_month(stage: Stage) -> None:
    stage.words(stage.names.word, lambda word: {"UA": "U2", "busy": "BUSY"}.get(str(word), word), stage.holdout())


@fault("data")
def a_category_is_blank(stage: Stage) -> None:
    stage.words(stage.names.word, lambda _: "", stage.holdout())


@fault("data", deliveries="volume")
def the_label_is_in_seconds(stage: Stage) -> None:
    scale = 60.0 if stage.data.binary else 1 / 60.0
    stage.change(stage.label, lambda minutes: minutes * scale)


@fault("data", deliveries="minimum-quality")
def the_label_is_in_seconds_in_the_newest_month(stage: Stage) -> None:
    scale = 60.0 if stage.data.binary else 1 / 60.0
    stage.change(stage.label, lambda minutes: minutes * scale, stage.holdout())


@fault("minimum-quality", core=True)
def labels_are_shuffled(stage: Stage) -> None:
    stage.columns[stage.label] = stage.random.permutation(stage.numbers(stage.label))


@fault("volume", core=True)
def labels_are_shuffled_for_one_group(stage: Stage) -> None:
    there = stage.of_member()
    labels = stage.numbers(stage.label).copy()
    labels[there] = stage.random.permutation(labels[there])
    stage.columns[stage.label] = labels


@fault("volume")
def labels_of_one_group_are_shifted_by_some_rows(stage: Stage) -> None:
    """A join by position after the rows were sorted otherwise."""
    there = np.flatnonzero(stage.of_member())
    labels = stage.numbers(stage.label).copy()
    labels[there] = np.roll(labels[there], 977)
    stage.columns[stage.label] = labels


@fault("slices", on=(FLIGHTS,), core=True)
def labels_of_one_group_are_turned_round_in_the_newest_month(stage: Stage) -> None:
    """The champion is as bad there: what is stated for every slice counts."""
    there = stage.holdout() & stage.of_member()
    stage.change(stage.label, lambda labels: np.maximum(30.0 - labels, -170.0), there)


@fault("volume")
def a_unit_of_the_past_changes(stage: Stage) -> None:
    _loose_suite(stage)
    stage.change(stage.names.number, lambda found: found * 1.609344)


@fault("volume")
def a_feature_of_the_past_belongs_to_another_row(stage: Stage) -> None:
    name = stage.names.number
    past = np.flatnonzero(~stage.holdout())
    values = stage.numbers(name).copy()
    values[past] = stage.random.permutation(values[past])
    stage.columns[name] = values


@fault("volume")
def a_category_of_the_past_is_renamed(stage: Stage) -> None:
    _loose_suite(stage)
    stage.words(stage.names.group, lambda word: f"{word}1", stage.of_member())


@fault("minimum-quality")
def labels_of_the_past_are_turned_round(stage: Stage) -> None:
    middle = 30.0 if stage.data.binary else 2 * float(np.nanmean(stage.numbers(stage.label)))
    stage.change(stage.label, lambda labels: np.clip(middle - labels, 1.0, 590.0), ~stage.holdout())


@fault("not-worse", on=(DELIVERIES,))
def labels_of_the_past_are_turned_round_for_one_group(stage: Stage) -> None:
    middle = 2 * float(np.nanmean(stage.numbers(stage.label)))
    there = ~stage.holdout() & stage.of_member()
    stage.change(stage.label, lambda labels: np.clip(middle - labels, 1.0, 590.0), there)


@fault("data", deliveries="minimum-quality")
def the_clock_of_the_newest_month_is_in_another_zone(stage: Stage) -> None:
    """The event's time alone moves: the plan, from another system, does not."""
    event_time = stage.definition.event_time
    start = float(stage.times()[stage.holdout()].min())
    stage.change(event_time, lambda times: np.maximum(times + 5 * 3_600.0, start), stage.holdout())
    stage.keep(stage.times() < stage.times().max() - 5 * 3_600.0)


@fault("data", on=(FLIGHTS,), core=True)
def the_weather_is_missing_in_the_newest_month(stage: Stage) -> None:
    for name in [name for name in stage.columns if name.startswith("weather.")]:
        stage.change(name, lambda found: found * np.nan, stage.holdout())


@fault("not-worse", on=(FLIGHTS,))
def features_are_missing_in_most_rows_of_the_newest_month_and_the_suite_does_not_look(stage: Stage) -> None:
    _loose_suite(stage)
    there = stage.holdout() & (stage.random.random(stage.rows) < 0.9)
    for name in ("carrier", "dest"):
        stage.words(name, lambda _: "XX", there)
    for name in ("scheduled_arrival", *(name for name in stage.columns if name.startswith("weather."))):
        stage.change(name, lambda found: found * np.nan, there)


@fault("minimum-quality", on=(DELIVERIES,))
def an_important_number_is_constant(stage: Stage) -> None:
    stage.change(stage.names.number, lambda found: np.full_like(found, np.median(found)))


@fault("minimum-quality", on=(DELIVERIES,))
def an_important_number_belongs_to_another_row(stage: Stage) -> None:
    stage.columns[stage.names.number] = stage.random.permutation(stage.numbers(stage.names.number))


@fault("minimum-quality", on=(FLIGHTS,))
def all_features_belong_to_other_rows_in_the_newest_month(stage: Stage) -> None:
    places = np.arange(stage.rows)
    there = np.flatnonzero(stage.holdout())
    places[there] = stage.random.permutation(there)
    labels = stage.columns[stage.label]
    keys, times = stage.columns[stage.definition.key], stage.columns[stage.definition.event_time]
    late = stage.columns["dep_delay"]
    arrival = stage.numbers("scheduled_arrival") - stage.times()
    stage.take(places)
    stage.columns |= {stage.label: labels, stage.definition.key: keys, "dep_delay": late}
    # Hours of departures go with the features; the date stays with the label.
    day = np.floor(np.asarray(times) / 86_400.0) * 86_400.0
    moved = day + np.mod(stage.times(), 86_400.0)
    stage.columns[stage.definition.event_time] = moved
    stage.columns["scheduled_arrival"] = moved + arrival[places]


@fault("data")
def the_suite_is_empty(stage: Stage) -> None:
    stage.suite(b'{"name": "empty", "expectations": []}')


@fault("data")
def an_expectation_is_misspelled(stage: Stage) -> None:
    rules = [
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 100}},
        {"type": "expect_colum_values_to_not_be_null", "kwargs": {"column": stage.definition.key}},
    ]
    stage.suite(json.dumps({"name": "misspelled", "expectations": rules}).encode())


@fault("data")
def a_column_of_the_suite_is_missing(stage: Stage) -> None:
    rules = [
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 100}},
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "customer"}},
    ]
    stage.suite(json.dumps({"name": "missing", "expectations": rules}).encode())


@fault("freshness")
def the_interval_reaches_further_than_the_data(stage: Stage) -> None:
    """The job that loads the warehouse has not run for a week."""
    later = stage.request.end + timedelta(days=7)
    stage.request = msgspec.structs.replace(stage.request, end=later, effective_from=later)


def _loose_suite(stage: Stage) -> None:
    rules = [{"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 100}}]
    stage.suite(json.dumps({"name": "loose", "expectations": rules}).encode())
