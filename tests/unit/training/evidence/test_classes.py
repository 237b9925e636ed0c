"""The evidence about models of several classes, each on rows made so that the answer is known."""

from pathlib import Path

import numpy as np
import pytest

from scoring.contract.encoder import Columns, Floats
from scoring.contract.features import Category, FeatureSchema, Field, FieldType, Number
from scoring.contract.manifest import Task
from tests.support.evidence import evaluated, made_up
from training import figures
from training.artifacts import artifacts_of
from training.candidate import write_curves
from training.evaluate import compare
from training.evidence import bootstrap, leaks
from training.evidence.calibration import calibration_of
from training.evidence.curves import curves_of
from training.evidence.slices import Rows, slices_of
from training.evidence.sums import metric_values, sums_of
from training.limits import METRICS
from training.measured import Slices
from training.metrics import metrics_of
from training.results import Gated, Trained

SEED = "ab" * 32
BLOCKS = 20
NAMES = {name for name, metric in METRICS.items() if Task.MULTICLASS in metric.tasks}
SCHEMA = FeatureSchema(
    key="id",
    event_time="at",
    fields=(
        Field(name="id", type=FieldType.STRING, required=True),
        Field(name="at", type=FieldType.TIME, required=True),
        Field(name="city", type=FieldType.STRING),
        Field(name="miles", type=FieldType.NUMBER),
    ),
    features=(Category(name="where", of="city", vocabulary=("a", "b")), Number(name="miles", of="miles")),
)


def days(rows: int) -> bootstrap.Blocks:
    return bootstrap.Blocks("day", np.arange(rows) % BLOCKS, BLOCKS)


def test_sums_per_block_give_every_metric_of_the_rows_that_a_resample_draws() -> None:
    scores, targets = made_up(0, 2_000, 4)
    blocks = days(2_000)
    sums = sums_of(Task.MULTICLASS, scores, targets, blocks.of_row, blocks.count)
    weights = np.concatenate([np.ones((1, BLOCKS)), bootstrap.draw(BLOCKS, SEED, resamples=6)])
    values = metric_values(sums, weights)
    assert set(values) == NAMES
    for number, drawn in enumerate(weights):
        rows = np.repeat(np.arange(2_000), drawn[blocks.of_row].astype(int))
        expected = metrics_of(Task.MULTICLASS, scores[rows], targets[rows])
        assert {name: found[number] for name, found in values.items()} == pytest.approx(expected, abs=1e-12)


def test_a_resample_without_one_of_the_classes_has_no_area_and_all_other_metrics() -> None:
    scores, targets = made_up(1, 2_000, 3)
    blocks = days(2_000)
    targets[(targets == 2) & (blocks.of_row > 0)] = 0.0
    sums = sums_of(Task.MULTICLASS, scores, targets, blocks.of_row, blocks.count)
    drawn = np.zeros((1, BLOCKS))
    drawn[0, 1] = BLOCKS
    values = metric_values(sums, drawn)
    assert np.isnan(values["auc"][0])
    assert all(np.isfinite(values[name][0]) for name in NAMES - {"auc"})


def test_a_better_model_of_classes_gains_in_every_metric() -> None:
    good, targets = made_up(2, 3_000, 3, signal=2.0)
    poor = np.tile([1 / 3, 1 / 3, 1 / 3], (3_000, 1))
    blocks = days(3_000)
    both = [sums_of(Task.MULTICLASS, each, targets, blocks.of_row, blocks.count) for each in (good, poor)]
    compared = bootstrap.compare(both[0], both[1], bootstrap.draw(BLOCKS, SEED), 0.95)
    assert {each.metric for each in compared} == NAMES
    assert all(each.gain > 0 and (each.low or 0) > 0 for each in compared)


def test_the_top_label_is_calibrated_where_it_comes_true_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    scores = random.dirichlet([1.0, 0.5, 2.0], 20_000)
    targets = (random.random((20_000, 1)) > scores.cumsum(axis=1)).sum(axis=1).clip(0, 2).astype(np.float64)
    blocks, weights = days(20_000), bootstrap.draw(BLOCKS, SEED)

    def calibrated(found: Floats) -> float:
        measured = calibration_of(Task.MULTICLASS, found, targets, blocks, weights, 0.95)
        assert measured is not None
        return measured.error

    assert calibrated(scores) < 0.015
    sharpened = scores**4
    assert calibrated(sharpened / sharpened.sum(axis=1, keepdims=True)) > 0.1
    assert calibration_of(Task.MULTICLASS, np.full((3, 3), np.nan), np.zeros(3), days(3), weights, 0.95) is None


def test_slices_of_classes_are_measured_and_those_of_hardly_more_than_one_class_are_too_small() -> None:
    scores, targets = made_up(4, 1_500, 3, signal=1.5)
    cities = ["a"] * 600 + ["b"] * 600 + ["c"] * 300
    targets[1_200:1_490] = 1.0
    columns: Columns = {"city": cities, "miles": np.ones(1_500)}
    rows = Rows(Task.MULTICLASS, scores, np.full_like(scores, 1 / 3), targets, days(1_500), 0.95)
    weights = bootstrap.draw(BLOCKS, SEED)
    found: Slices = slices_of(["city"], columns, SCHEMA, np.zeros((1_500, 2)), rows, weights, 200)
    assert ([each.value for each in found.judged], found.too_small) == (["a", "b"], 1)
    assert set(found.judged[0].metrics) == NAMES
    assert found.judged[0].metrics["accuracy"] == metrics_of(Task.MULTICLASS, scores[:600], targets[:600])["accuracy"]


def test_a_feature_that_is_the_class_in_disguise_is_found_and_noise_is_not() -> None:
    random = np.random.default_rng(5)
    classes = random.integers(0, 4, 6_000).astype(np.float64)
    noise = random.integers(0, 2, 6_000).astype(np.float64)
    # Far from monotonic: each class has a stretch of its own, in another order.
    leaked = np.array([7.0, -3.0, 100.0, 0.5])[classes.astype(int)] + random.uniform(0, 0.4, 6_000)
    for column, (least, most) in ((leaked, (0.99, 1.0)), (random.normal(size=6_000), (0.4, 0.6))):
        matrix = np.column_stack([noise, column])
        found = leaks.power_of(
            Task.MULTICLASS, SCHEMA, matrix[:4_000], classes[:4_000], matrix[4_000:], classes[4_000:]
        )
        assert least <= found["miles"] <= most
        assert 0.4 <= found["where"] <= 0.6
    assert leaks.measure_of(Task.MULTICLASS) == "auc"


def test_a_class_that_the_holdout_lacks_hides_no_leak() -> None:
    classes = np.random.default_rng(6).integers(0, 3, 4_000).astype(np.float64)
    matrix = np.column_stack([np.zeros(4_000), classes])
    judged = classes[3_000:] != 2
    found = leaks.power_of(
        Task.MULTICLASS, SCHEMA, matrix[:3_000], classes[:3_000], matrix[3_000:][judged], classes[3_000:][judged]
    )
    assert found["miles"] == 1.0


def test_parity_counts_rows_and_changed_labels_over_all_probabilities() -> None:
    scores, _ = made_up(7, 50, 3)
    same = compare(scores, scores.copy(), exact=True, tolerance=0.0, threshold=None)
    assert (same.different_rows, same.largest_difference, same.changed_decisions) == (0, 0.0, 0)
    off = scores.copy()
    off[3, 1] = np.nextafter(off[3, 1], 1.0)
    off[9] = off[9][[1, 2, 0]]
    found = compare(scores, off, exact=True, tolerance=0.0, threshold=None)
    assert (found.rows, found.different_rows, found.changed_decisions) == (50, 2, 1)
    assert found.largest_difference == float(np.abs(scores[9] - off[9]).max())
    assert compare(scores, scores[:, :2], exact=True, tolerance=0.0, threshold=None).largest_difference is None


def test_each_class_has_its_curve_and_the_confusion_counts_every_row() -> None:
    scores, targets = made_up(8, 400, 3)
    curves = curves_of(Task.MULTICLASS, targets, {"candidate": scores, "baseline": scores}, {}, ("a", "b", "c"))
    assert (curves.roc, [*curves.classes]) == ({}, ["a", "b", "c"])
    assert all(points[0] == (0.0, 0.0) and points[-1] == (1.0, 1.0) for points in curves.classes.values())
    confusion = np.array(curves.confusion)
    assert confusion.sum() == 400
    assert confusion.sum(axis=1).tolist() == np.bincount(targets.astype(int)).tolist()
    accuracy = metrics_of(Task.MULTICLASS, scores, targets)["accuracy"]
    assert np.trace(confusion) / 400 == pytest.approx(accuracy)
    for picture in (figures.one_versus_rest(curves.classes), figures.confusion(curves.confusion, ("a", "b", "c"))):
        assert picture.startswith(b"\x89PNG")


def test_a_run_shows_the_pictures_of_its_classes(tmp_path: Path) -> None:
    scores, targets = made_up(9, 200, 13)
    classes = [f"class {place}" for place in range(13)]
    write_curves(tmp_path, curves_of(Task.MULTICLASS, targets, {"candidate": scores}, {}, classes))
    trained = Trained(
        folder=str(tmp_path),
        holdout_start=evaluated().shared_period.start,  # type: ignore[union-attr]
        training_rows=1,
        holdout_rows=200,
        rows_without_label=0,
        rows_in_gap=0,
        rows_unscorable=0,
    )
    gated = Gated(verdicts=(), sentence="", red=False, parent=None)
    assert {"roc-of-classes.png", "confusion.png"} <= set(artifacts_of(trained, evaluated(), gated))
