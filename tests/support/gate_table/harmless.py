"""Changes that do no harm: no gate may refuse one."""

from datetime import timedelta

import msgspec
import numpy as np

from scoring.contract.features import FieldType
from tests.support.gate_table.cases import harmless
from tests.support.gate_table.data_faults import hint
from tests.support.gate_table.stage import Stage
from training import field
from training.definition import Estimator
from training.feature import day_of_week, log


@harmless(core=True)
def nothing_changes(stage: Stage) -> None:
    assert stage.rows > 4_000


@harmless()
def rows_come_in_another_order(stage: Stage) -> None:
    stage.take(stage.random.permutation(stage.rows))


@harmless()
def the_table_has_a_column_that_nobody_reads(stage: Stage) -> None:
    stage.add("remark", ["fine"] * stage.rows, FieldType.STRING)
    stage.define(fields=[*stage.definition.fields, field.string("remark")])


@harmless()
def two_of_a_hundred_rows_are_missing(stage: Stage) -> None:
    stage.keep(stage.random.random(stage.rows) < 0.98)


@harmless()
def three_of_a_hundred_rows_of_the_past_came_late(stage: Stage) -> None:
    """They were not in the champion's snapshot, which is what this one is held against."""
    extra = np.flatnonzero(~stage.holdout() & (stage.random.random(stage.rows) < 0.03))
    rows, key = stage.rows, stage.definition.key
    stage.take(np.concatenate([np.arange(rows), extra]))
    late = np.arange(stage.rows) >= rows
    column = stage.columns[key]
    if isinstance(column, np.ndarray):
        stage.columns[key] = np.where(late, column + 1e6, column)
    else:
        stage.columns[key] = [f"{word}L" if new else word for word, new in zip(column, late.tolist(), strict=True)]


@harmless()
def one_of_a_hundred_labels_is_missing(stage: Stage) -> None:
    stage.change(stage.label, lambda labels: labels * np.nan, stage.random.random(stage.rows) < 0.01)


@harmless()
def a_day_has_no_events(stage: Stage) -> None:
    end = stage.times().max() - 12 * 86_400.0
    stage.keep((stage.times() < end - 86_400.0) | (stage.times() >= end))


@harmless(core=True)
def features_stand_in_another_order(stage: Stage) -> None:
    stage.define(features=list(reversed(stage.definition.features)))


@harmless()
def a_feature_is_added(stage: Stage) -> None:
    event_time = stage.definition.event_time
    more = [log(stage.names.number), day_of_week(event_time, name="weekday")]
    stage.define(features=[*stage.definition.features, *more])


@harmless()
def a_feature_of_noise_is_added(stage: Stage) -> None:
    hint(stage, stage.random.normal(size=stage.rows))


@harmless()
def a_weak_feature_is_left_out(stage: Stage) -> None:
    weak = {"weather.wind_dir", "weather.wind_gust", "kilograms_by_kilometres"}
    stage.define(features=[each for each in stage.definition.features if each.name not in weak])


@harmless()
def the_estimator_is_tuned_a_little(stage: Stage) -> None:
    known = stage.definition.estimator
    if stage.data.binary:
        stage.define(estimator=Estimator(known.path, **{**known.parameters, "random_state": 7, "max_iter": 110}))
    else:
        *before, last = known.parts
        stage.define(estimator=Estimator(known.path, *before, Estimator(last.path, alpha=1.5)))


@harmless()
def numbers_are_rounded(stage: Stage) -> None:
    stage.change(stage.names.number, lambda found: np.round(found, 1))


@harmless()
def labels_are_counted_some_hours_later(stage: Stage) -> None:
    label = stage.definition.label
    stage.define(label=msgspec.structs.replace(label, known_after=label.known_after + timedelta(hours=6)))


@harmless(core=True)
def the_model_is_refitted_on_the_holdout(stage: Stage) -> None:
    stage.define(refit=True)


@harmless()
def a_few_rows_of_a_new_category_come(stage: Stage) -> None:
    there = stage.holdout() & (stage.random.random(stage.rows) < 0.01)
    new = "ZZ" if stage.data.binary else "calm"
    stage.words(stage.names.word, lambda _: new, there)


@harmless()
def a_missing_value_here_and_there(stage: Stage) -> None:
    names = ("weather.temp", "weather.visib") if stage.data.binary else ("kilograms", "load.queue")
    for name in names:
        stage.change(name, lambda found: found * np.nan, stage.random.random(stage.rows) < 0.02)
