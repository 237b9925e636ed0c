"""Calibration, slices, leaks and facts, each on rows made so that the answer is known."""

import io
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scoring.contract.encoder import Columns, Floats
from scoring.contract.features import Category, FeatureSchema, Field, FieldType, HourOfDay, Number
from scoring.contract.manifest import Task
from tests.support.training import END, START, definition, request
from training.evidence import bootstrap, leaks
from training.evidence.calibration import calibration_of
from training.evidence.facts import data_facts
from training.evidence.slices import Rows, slices_of
from training.limits import SLICE_ROWS
from training.measured import Calibration, DataFacts, Slices

DAY_S = 86_400.0
SCHEMA = FeatureSchema(
    key="id",
    event_time="at",
    fields=(
        Field(name="id", type=FieldType.STRING, required=True),
        Field(name="at", type=FieldType.TIME, required=True),
        Field(name="city", type=FieldType.STRING),
        Field(name="miles", type=FieldType.NUMBER),
    ),
    features=(
        Category(name="where", of="city", vocabulary=("a", "b")),
        Number(name="miles", of="miles"),
        HourOfDay(name="hour", of="at"),
    ),
)


def calibrated(task: Task, scores: Floats, targets: Floats) -> Calibration | None:
    """With the rows on thirty days in turn."""
    blocks = bootstrap.Blocks("day", np.arange(len(scores)) % 30, 30)
    return calibration_of(task, scores, targets, blocks, bootstrap.draw(30, "ab" * 32), 0.95)


def test_probabilities_that_come_true_are_calibrated_and_halved_ones_are_not() -> None:
    random = np.random.default_rng(0)
    scores = random.random(20_000)
    targets = (random.random(20_000) < scores).astype(np.float64)
    good, halved = calibrated(Task.BINARY, scores, targets), calibrated(Task.BINARY, scores / 2, targets)
    assert good is not None
    assert halved is not None
    assert (len(good.bins), sum(each.rows for each in good.bins)) == (10, 20_000)
    assert good.error < 0.015
    assert halved.error == pytest.approx(0.25, abs=0.01)
    assert halved.bias == pytest.approx(-0.25, abs=0.01)
    assert 0.23 < (halved.low or 0.0) < halved.error


def test_a_bad_week_alone_does_not_show_that_a_model_is_off() -> None:
    days, rows = 28, 200
    scores, targets = np.full(days * rows, 0.2), np.zeros(days * rows)
    targets[: 7 * rows] = 1.0
    blocks = bootstrap.Blocks("day", np.repeat(np.arange(days), rows), days)
    found = calibration_of(Task.BINARY, scores, targets, blocks, bootstrap.draw(days, "ab" * 32), 0.95)
    assert found is not None
    assert found.error == pytest.approx(0.05)
    assert (found.low or 0.0) < 0.03


def test_a_numbers_calibration_is_in_standard_deviations_of_the_label() -> None:
    random = np.random.default_rng(1)
    targets = random.normal(scale=50.0, size=5_000)
    shifted = calibrated(Task.REGRESSION, targets + 10.0, targets)
    assert shifted is not None
    assert shifted.bias == pytest.approx(10.0)
    assert shifted.error == pytest.approx(0.2, abs=0.01)


def test_equal_scores_share_a_bin_and_few_rows_make_few_bins() -> None:
    constant = calibrated(Task.BINARY, np.full(1_000, 0.3), np.tile([1.0, 0.0, 0.0, 0.0], 250))
    assert constant is not None
    assert [(each.rows, round(each.observed, 2)) for each in constant.bins] == [(1_000, 0.25)]
    few = calibrated(Task.BINARY, np.linspace(0.1, 0.9, 99), np.ones(99))
    assert few is not None
    assert len(few.bins) == 1


@pytest.mark.parametrize("scores", [np.empty(0), np.array([0.1, np.nan])])
def test_nothing_and_scores_that_are_no_numbers_have_no_calibration(scores: Floats) -> None:
    assert calibrated(Task.BINARY, scores, np.zeros(len(scores))) is None


def sliced(names: list[str], columns: Columns, scores: Floats, targets: Floats, least: int = SLICE_ROWS) -> Slices:
    times = np.asarray(columns["at"], dtype=np.float64)
    blocks = bootstrap.blocks_of(times)
    constant = np.full(len(targets), float(targets.mean()))
    rows = Rows(task=Task.BINARY, candidate=scores, baseline=constant, targets=targets, blocks=blocks, confidence=0.95)
    from scoring.contract.encoder import Encoder

    matrix = Encoder(SCHEMA).encode(columns, len(targets))
    return slices_of(names, columns, SCHEMA, matrix, rows, bootstrap.draw(blocks.count, "ab" * 32), least)


def rows_of_cities() -> tuple[dict[str, object], Floats, Floats]:
    """3,000 rows in a, 1,000 in b, 100 in c and 50 without a city; the scores mean nothing in b."""
    random = np.random.default_rng(2)
    city: list[str | None] = ["a"] * 3_000 + ["b"] * 1_000 + ["c"] * 100 + [None] * 50
    targets = (random.random(4_150) < 0.4).astype(np.float64)
    knows = np.array([word == "a" for word in city])
    scores = np.clip(0.4 + np.where(knows, 0.2 * (targets - 0.4), 0.0) + random.normal(scale=0.1, size=4_150), 0, 1)
    columns: dict[str, object] = {
        "id": [str(number) for number in range(4_150)],
        "at": random.uniform(0.0, 20 * DAY_S, 4_150),
        "city": city,
        "miles": np.where(random.random(4_150) < 0.1, np.nan, random.gamma(2.0, 3.0, 4_150)),
    }
    return columns, scores, targets


def test_every_value_with_enough_rows_is_a_slice_with_its_own_metrics() -> None:
    columns, scores, targets = rows_of_cities()
    found = sliced(["city"], columns, scores, targets)  # type: ignore[arg-type]
    assert [(each.value, each.rows) for each in found.judged] == [("a", 3_000), ("b", 1_000)]
    assert found.too_small == 2
    a, b = found.judged
    assert a.metrics["auc"] > 0.8
    assert abs(b.metrics["auc"] - 0.5) < 3 * b.errors["auc"] + 1e-9
    assert {each.metric for each in a.comparisons} == {"auc", "log_loss", "brier"}
    again = sliced(["where"], columns, scores, targets)  # type: ignore[arg-type]
    assert [each.metrics for each in again.judged] == [each.metrics for each in found.judged]


def test_missing_is_a_value_and_a_slice_may_be_small_where_the_definition_says_so() -> None:
    columns, scores, targets = rows_of_cities()
    found = sliced(["city"], columns, scores, targets, least=40)  # type: ignore[arg-type]
    assert {each.value: each.rows for each in found.judged} == {"a": 3_000, "b": 1_000, "c": 100, "missing": 50} or (
        found.too_small == 1  # of the 50 rows fewer than 20 may be positive
    )
    assert found.too_small + len(found.judged) == 4


def test_numbers_are_sliced_by_quarters_and_features_by_what_they_compute() -> None:
    columns, scores, targets = rows_of_cities()
    found = sliced(["miles", "hour"], columns, scores, targets)  # type: ignore[arg-type]
    by_name = {name: [each for each in found.judged if each.of == name] for name in ("miles", "hour")}
    assert len(by_name["miles"]) == 5  # and those without miles
    assert sum(each.rows for each in by_name["miles"]) == 4_150
    assert len(by_name["hour"]) == 4
    assert all(" to " in each.value for each in by_name["hour"])


def test_a_slice_without_enough_of_each_class_is_too_small() -> None:
    columns, scores, targets = rows_of_cities()
    targets[3_000:4_000] = 0.0
    found = sliced(["city"], columns, scores, targets)  # type: ignore[arg-type]
    assert [each.value for each in found.judged] == ["a"]


def power(task: Task, training: Floats, labels: Floats, holdout: Floats, targets: Floats) -> dict[str, float]:
    return leaks.power_of(task, SCHEMA, training, labels, holdout, targets)


def test_a_feature_that_is_the_label_in_disguise_is_found_whatever_its_shape() -> None:
    random = np.random.default_rng(3)
    matrix = np.column_stack([random.integers(0, 2, 4_000), random.normal(size=4_000), random.uniform(0, 24, 4_000)])
    matrix[random.random(4_000) < 0.05, 1] = np.nan
    labels = random.normal(size=4_000)
    plain = power(Task.REGRESSION, matrix[:3_000], labels[:3_000], matrix[3_000:], labels[3_000:])
    assert plain == {"where": pytest.approx(0.0, abs=0.02), "miles": 0.0, "hour": 0.0}
    leaked = matrix.copy()
    leaked[:, 1] = -np.exp(labels)
    leaked[:, 2] = np.abs(labels)  # not monotonic: only where both signs are rare together
    found = power(Task.REGRESSION, leaked[:3_000], labels[:3_000], leaked[3_000:], labels[3_000:])
    assert found["miles"] > 0.95
    classes = (labels > 1.0).astype(np.float64)
    found = power(Task.BINARY, leaked[:3_000], classes[:3_000], leaked[3_000:], classes[3_000:])
    assert found["miles"] > 0.99


def test_a_value_that_is_only_missing_when_the_answer_is_no_leaks_by_being_missing() -> None:
    random = np.random.default_rng(4)
    classes = (random.random(4_000) < 0.3).astype(np.float64)
    matrix = np.column_stack([np.full(4_000, np.nan), np.where(classes > 0, random.normal(size=4_000), np.nan)])
    matrix = np.column_stack([matrix, np.zeros(4_000)])
    found = power(Task.BINARY, matrix[:3_000], classes[:3_000], matrix[3_000:], classes[3_000:])
    assert found["miles"] == 1.0
    assert found["where"] == found["hour"] == 0.5


def test_a_category_with_a_value_for_each_row_does_not_look_like_a_leak() -> None:
    """By heart it knows the training rows; of the holdout it knows nothing."""
    random = np.random.default_rng(5)
    classes = (random.random(4_000) < 0.3).astype(np.float64)
    codes = np.concatenate([np.arange(3_000.0), np.full(1_000, np.nan)])
    matrix = np.column_stack([codes, np.zeros(4_000), np.zeros(4_000)])
    found = power(Task.BINARY, matrix[:3_000], classes[:3_000], matrix[3_000:], classes[3_000:])
    assert found["where"] == 0.5


def test_rows_that_share_a_key_are_counted_and_missing_keys_are_none() -> None:
    assert leaks.shared(["a", "b", None], ["b", "c", "b", None]) == 2
    assert leaks.shared(np.array([1.0, 2.0]), np.array([2.0, 3.0])) == 1


def facts(
    times: list[float],
    labels: list[float | None],
    effective_from: datetime | None = None,
    keyless: tuple[float, ...] = (),
) -> DataFacts:
    """Of events so many days after the start of the interval."""
    stamps = [START + timedelta(days=each) for each in times]
    content = io.BytesIO()
    pq.write_table(
        pa.table(
            {
                "trip_id": pa.array([None if each in keyless else str(each) for each in times], pa.string()),
                "pickup": pa.array(stamps, pa.timestamp("us", tz="UTC")),
                "fare": pa.array(labels, pa.float64()),
            }
        ),
        content,
    )
    found = data_facts(definition(), request(effective_from=effective_from), content.getvalue())
    assert found is not None
    return found


def test_the_facts_tell_rows_labels_edges_and_the_thinnest_week() -> None:
    days = [each / 10 for each in range(910)]
    found = facts(days, [None if 28 <= day < 35 and index % 2 else 1.0 for index, day in enumerate(days)])
    assert (found.rows, found.usable_rows, found.weeks) == (910, 875, 12)
    assert found.newest_event == found.newest_usable_event == START + timedelta(days=90.9)
    assert (found.end, found.labels_end) == (END, END + timedelta(hours=1) * -1)
    assert found.median_week_rows == 70
    assert found.thinnest_week_rows in range(35, 38)  # whichever day the week begins on
    assert found.thinnest_week_start is not None
    assert abs(found.thinnest_week_start - (START + timedelta(days=28))) < timedelta(days=1)


def test_labels_that_could_not_be_known_yet_are_not_missed() -> None:
    found = facts([1.0, 30.0, 60.0], [1.0, 1.0, None], effective_from=START + timedelta(days=40))
    assert found.labels_end == START + timedelta(days=40) - timedelta(hours=1)
    assert found.newest_usable_event == START + timedelta(days=30)
    assert found.newest_event == START + timedelta(days=60)


def test_rows_that_lack_a_required_field_are_not_usable() -> None:
    found = facts([1.0, 2.0, 3.0], [1.0, 1.0, 1.0], keyless=(2.0, 3.0))
    assert (found.rows, found.usable_rows) == (3, 1)
    assert found.newest_usable_event == START + timedelta(days=1)


def test_an_empty_snapshot_has_facts_too() -> None:
    found = facts([], [])
    assert (found.rows, found.weeks, found.newest_event, found.thinnest_week_start) == (0, 0, None, None)


def test_a_snapshot_without_the_label_has_no_facts() -> None:
    content = io.BytesIO()
    pq.write_table(pa.table({"pickup": pa.array([], pa.timestamp("us", tz="UTC"))}), content)
    assert data_facts(definition(), request(), content.getvalue()) is None
