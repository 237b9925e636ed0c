"""Faults and harmless changes written after the limits were fixed, and held against them once: none is tuned."""

from datetime import timedelta
from typing import Any

import msgspec
import numpy as np

from scoring.contract.encoder import Encoder, Floats
from scoring.contract.features import FieldType
from tests.support.gate_table.cases import unseen, unseen_harmless
from tests.support.gate_table.data_faults import hint
from tests.support.gate_table.model_faults import _compiled_encoder, _ensemble, _estimator, _fit, _split
from tests.support.gate_table.stage import DELIVERIES, FLIGHTS, MACHINES, Mask, Stage
from training import bundle, field, train
from training.definition import Estimator
from training.feature import category, day_of_week, elapsed, hour_of_day
from training.golden import golden_rows
from training.rows import Split, at

DAY_S = 86_400.0
TREES = (FLIGHTS, MACHINES)


def _newest(stage: Stage, days: float) -> Mask:
    return np.asarray(stage.times() >= stage.times().max() - days * DAY_S)


def _labels_spread(stage: Stage) -> float:
    return float(np.nanstd(stage.numbers(stage.label)))


# --- what nobody can know at the event --------------------------------------------------------------------------------


@unseen("leakage")
def a_noisy_form_of_the_answer_is_a_feature(stage: Stage) -> None:
    answer = stage.targets()
    hint(stage, answer + stage.random.normal(scale=0.4 * float(np.nanstd(answer)), size=stage.rows))


@unseen("leakage", missed={DELIVERIES: "four steps of the answer explain less of it than the limit of 0.85"})
def a_word_tells_the_answer(stage: Stage) -> None:
    answer = stage.targets()
    limits = np.nanquantile(answer, (0.25, 0.5, 0.75)) if not stage.data.binary else np.array([0.5])
    words = ["low" if place == 0 else f"level {place}" for place in np.searchsorted(limits, answer).tolist()]
    stage.add("grade", words, FieldType.STRING)
    stage.define(
        fields=[*stage.definition.fields, field.string("grade")],
        features=[*stage.definition.features, category("grade")],
    )


@unseen("leakage", on=(FLIGHTS, DELIVERIES))
def the_time_of_the_end_is_a_field(stage: Stage) -> None:
    event_time = stage.definition.event_time
    stage.add("ended_at", stage.times() + 60.0 * np.nan_to_num(stage.numbers(stage.label), nan=30.0), FieldType.TIME)
    stage.define(
        fields=[*stage.definition.fields, field.time("ended_at")],
        features=[*stage.definition.features, elapsed("ended_at", since=event_time, name="took")],
    )


@unseen("leakage", missed={DELIVERIES: "above or below the middle explains less of a number than the limit of 0.85"})
def a_value_is_only_missing_where_the_answer_is_not(stage: Stage) -> None:
    """A join with a table that is filled after the event."""
    answer = stage.targets()
    hint(stage, np.where(answer > np.nanmedian(answer), 1.0, np.nan))


@unseen("leakage")
def training_takes_the_first_days_of_the_holdout(stage: Stage) -> None:
    def longer(found: Split, definition: Any, columns: Any, start: Any) -> Split:
        times = np.asarray(columns[definition.event_time], dtype=np.float64)
        early = found.holdout & (times < start.timestamp() + 5 * DAY_S)
        return Split(found.training | early, found.holdout, found.without_label, found.unscorable, found.in_gap)

    _split(stage, longer)


@unseen("leakage")
def every_fifth_day_judges_and_the_others_teach(stage: Stage) -> None:
    def by_day(found: Split, definition: Any, columns: Any, _: Any) -> Split:
        days = np.floor(np.asarray(columns[definition.event_time], dtype=np.float64) / DAY_S)
        usable = found.training | found.holdout | found.in_gap
        chosen = np.mod(days, 5) == 0
        return Split(usable & ~chosen, usable & chosen, found.without_label, found.unscorable, usable & False)

    _split(stage, by_day)


# --- data -------------------------------------------------------------------------------------------------------------


@unseen("volume")
def two_of_three_rows_of_the_newest_ten_days_are_missing(stage: Stage) -> None:
    stage.keep(~_newest(stage, 10) | (stage.random.random(stage.rows) < 1 / 3))


@unseen("volume")
def one_in_six_rows_of_the_past_is_lost(stage: Stage) -> None:
    stage.keep(stage.holdout() | (stage.random.random(stage.rows) > 1 / 6))


@unseen("volume")
def a_quarter_of_the_past_comes_twice_under_other_keys(stage: Stage) -> None:
    past = np.flatnonzero(~stage.holdout() & (stage.random.random(stage.rows) < 0.25))
    rows, key = stage.rows, stage.definition.key
    stage.take(np.concatenate([np.arange(rows), past]))
    column = stage.columns[key]
    if isinstance(column, np.ndarray):
        stage.columns[key] = np.where(np.arange(stage.rows) < rows, column, column + 5e6)
    else:
        stage.columns[key] = [word if place < rows else f"{word}+" for place, word in enumerate(column)]


@unseen("volume")
def labels_of_the_past_slip_by_one_row(stage: Stage) -> None:
    past, labels = np.flatnonzero(~stage.holdout()), stage.numbers(stage.label).copy()
    labels[past] = np.roll(labels[past], 1)
    stage.columns[stage.label] = labels


@unseen("volume")
def three_months_of_labels_are_typed_in_anew(stage: Stage) -> None:
    """Four of ten answers of the past are another row's."""
    labels = stage.numbers(stage.label).copy()
    chosen = np.flatnonzero(~stage.holdout() & (stage.random.random(stage.rows) < 0.4))
    labels[chosen] = stage.random.permutation(labels[chosen])
    stage.columns[stage.label] = labels


@unseen("freshness")
def the_newest_five_days_have_no_answers_yet(stage: Stage) -> None:
    stage.change(stage.label, lambda labels: labels * np.nan, _newest(stage, 5))


@unseen("freshness")
def a_job_stamps_the_newest_month_with_its_own_start(stage: Stage) -> None:
    event_time, there = stage.definition.event_time, stage.holdout()
    first = float(stage.times()[there].min())
    stage.change(event_time, lambda times: np.full_like(times, first), there)


@unseen("training", deliveries="minimum-quality")
def every_answer_of_the_newest_month_is_the_same(stage: Stage) -> None:
    stage.change(stage.label, lambda labels: np.full_like(labels, np.nanmin(labels)), stage.holdout())


@unseen("data")
def an_important_number_is_sent_as_minus_one_where_it_is_unknown(stage: Stage) -> None:
    there = stage.holdout() & (stage.random.random(stage.rows) < 0.4)
    stage.change(stage.names.number, lambda found: np.full_like(found, -1.0), there)


@unseen("data")
def an_important_number_comes_times_a_hundred(stage: Stage) -> None:
    stage.change(stage.names.number, lambda found: found * 100.0, stage.holdout())


@unseen("data")
def the_file_of_the_suite_is_missing(stage: Stage) -> None:
    stage.define(suite=str(stage.folder / "nowhere.json"))


@unseen("data")
def the_file_of_the_suite_is_cut_off(stage: Stage) -> None:
    stage.suite(b'{"name": "cut", "expectations": [{"type": "expect_table_row_count_to')


# --- training ---------------------------------------------------------------------------------------------------------


@unseen("minimum-quality", machines="not-worse")
def steps_are_so_long_that_learning_diverges(stage: Stage) -> None:
    if stage.data.name == DELIVERIES:
        _last_step(stage, Estimator("sklearn.linear_model.Ridge", alpha=1e9))
    else:
        _estimator(stage, learning_rate=60.0)


def _last_step(stage: Stage, last: Estimator) -> None:
    known = stage.definition.estimator
    stage.define(estimator=Estimator(known.path, *known.parts[:-1], last))


@unseen("minimum-quality", on=(DELIVERIES,))
def the_logarithm_is_learnt_and_never_taken_back(stage: Stage) -> None:
    _fit(stage, lambda wanted, _: np.log1p(wanted))


@unseen("calibration", on=TREES)
def every_yes_is_counted_ten_times(stage: Stage) -> None:
    stage.first()
    _estimator(stage, class_weight={0: 1.0, 1: 10.0})


@unseen("not-worse", missed={DELIVERIES: "a straight line learns from a fortnight all that there is"})
def only_the_oldest_fortnight_is_learnt(stage: Stage) -> None:
    _learn_only(stage, lambda columns, definition: _old(columns[definition.event_time]))


def _old(times: Any) -> Mask:
    seconds = np.asarray(times, dtype=np.float64)
    return np.asarray(seconds < seconds.min() + 14 * DAY_S)


@unseen("not-worse")
def only_one_row_in_fifty_is_learnt(stage: Stage) -> None:
    _learn_only(stage, lambda columns, definition: np.arange(len(columns[definition.event_time])) % 50 == 0)


def _learn_only(stage: Stage, chosen: Any) -> None:
    fit = train.fit

    def less(definition: Any, columns: Any, training: Any, wanted: Floats) -> Any:
        return fit(definition, columns, training & chosen(columns, definition), wanted)

    stage.patch(train, "fit", less)


@unseen("minimum-quality")
def two_features_change_places_between_training_and_scoring(stage: Stage) -> None:
    """The conversion and the judge agree with each other: both read what the stream will hold."""
    whole = Encoder

    class Swapped(whole):  # type: ignore[valid-type, misc]
        def encode(self, columns: Any, count: int) -> Floats:
            found: Floats = super().encode(columns, count)
            return np.ascontiguousarray(found[:, ::-1])

    stage.patch(train, "Encoder", Swapped)


# --- conversion and environment ---------------------------------------------------------------------------------------


@unseen("parity", on=TREES)
def thresholds_are_rounded_in_the_export(stage: Stage) -> None:
    _ensemble(stage, lambda found: {**found, "nodes_splits": np.round(found["nodes_splits"], 2).tolist()})


@unseen("parity", on=TREES)
def the_weights_of_one_leaf_in_twenty_are_doubled(stage: Stage) -> None:
    def doubled(found: dict[str, Any]) -> dict[str, Any]:
        weights = np.array(found["leaf_weights"], dtype=np.float64)
        weights[::20] *= 2.0
        return {**found, "leaf_weights": weights.tolist()}

    _ensemble(stage, doubled)


@unseen("parity")
def two_columns_change_places_in_the_compiled_model(stage: Stage) -> None:
    first = 0 if stage.data.name == DELIVERIES else 1
    _compiled_encoder(stage, lambda matrix: _swapped(matrix, first, first + 2))


def _swapped(matrix: Floats, one: int, other: int) -> Floats:
    found = matrix.copy()
    found[:, [one, other]] = matrix[:, [other, one]]
    return found


@unseen("load")
def the_golden_rows_are_another_candidate_s(stage: Stage) -> None:
    def others(schema: Any, columns: Any, *scores: Floats) -> Any:
        return golden_rows(schema, columns, *(each[::-1] for each in scores))

    stage.patch(bundle, "golden_rows", others)


@unseen("definition", on=(DELIVERIES,))
def the_model_compares_each_record_with_all_that_it_was_trained_on(stage: Stage) -> None:
    """Slow for real, if it came so far: its graph has a loop, which no bundle may have."""
    stage.probe = None
    _last_step(stage, Estimator("sklearn.neighbors.KNeighborsRegressor", n_neighbors=25, algorithm="brute"))


# --- no harm ----------------------------------------------------------------------------------------------------------


@unseen_harmless()
def rows_are_sorted_by_their_keys(stage: Stage) -> None:
    key = stage.columns[stage.definition.key]
    stage.take(np.argsort(np.asarray(key), kind="stable"))


@unseen_harmless()
def numbers_come_with_the_last_bits_of_another_database(stage: Stage) -> None:
    stage.change(stage.names.number, lambda found: found * (1.0 + 1e-12))


@unseen_harmless()
def times_are_rounded_to_the_second(stage: Stage) -> None:
    stage.change(stage.definition.event_time, np.floor)


@unseen_harmless()
def a_few_answers_of_the_past_are_corrected(stage: Stage) -> None:
    labels = stage.numbers(stage.label).copy()
    chosen = np.flatnonzero(~stage.holdout() & (stage.random.random(stage.rows) < 0.01))
    labels[chosen] = stage.random.permutation(labels[chosen])
    stage.columns[stage.label] = labels


@unseen_harmless()
def three_quiet_days_have_half_their_rows(stage: Stage) -> None:
    end = stage.times().max() - 9 * DAY_S
    quiet = (stage.times() >= end - 3 * DAY_S) & (stage.times() < end)
    stage.keep(~quiet | (stage.random.random(stage.rows) < 0.5))


@unseen_harmless()
def one_row_in_fifty_of_the_newest_month_lacks_its_answer(stage: Stage) -> None:
    there = stage.holdout() & (stage.random.random(stage.rows) < 0.02)
    stage.change(stage.label, lambda labels: labels * np.nan, there)


@unseen_harmless()
def the_hour_is_read_in_another_zone(stage: Stage) -> None:
    event_time = stage.definition.event_time
    others = [each for each in stage.definition.features if type(each).__name__ != "HourOfDay"]
    stage.define(features=[*others, hour_of_day(event_time, zone="Asia/Tokyo", name="hour")])


@unseen_harmless()
def the_weekday_is_added(stage: Stage) -> None:
    more = day_of_week(stage.definition.event_time, name="weekday_in_utc")
    stage.define(features=[*stage.definition.features, more])


@unseen_harmless()
def another_seed_and_smaller_leaves(stage: Stage) -> None:
    if stage.data.binary:
        _estimator(stage, random_state=99, min_samples_leaf=40)
    else:
        _last_step(stage, Estimator("sklearn.linear_model.Ridge", alpha=0.7))


@unseen_harmless()
def the_margin_is_asked_at_another_confidence(stage: Stage) -> None:
    stage.define(gates=msgspec.structs.replace(stage.definition.gates, confidence=0.9))


@unseen_harmless()
def the_champion_s_window_is_a_week_shorter(stage: Stage) -> None:
    stage.keep(stage.times() >= stage.times().min() + 7 * DAY_S)
    start = stage.request.start + timedelta(days=7)
    stage.request = msgspec.structs.replace(stage.request, start=start)


@unseen_harmless()
def the_words_come_in_the_order_of_another_server(stage: Stage) -> None:
    order = np.lexsort((stage.random.random(stage.rows), np.asarray(stage.columns[stage.names.group])))
    stage.columns = {name: at(column, order) for name, column in stage.columns.items()}
