"""Sums per block give every metric of weighted rows, and bounds hold as often as they say."""

import numpy as np
import pytest

from scoring.contract.encoder import Floats
from scoring.contract.manifest import Task
from training.evidence import bootstrap
from training.evidence.sums import Sums, metric_values, sums_of
from training.metrics import metrics_of

SEED = "ab" * 32
DAY_S = 86_400.0


def classes(seed: int, rows: int = 3_000, signal: float = 0.8) -> tuple[Floats, Floats, Floats]:
    """Scores with many ties, targets, and event times of twenty days."""
    random = np.random.default_rng(seed)
    targets = (random.random(rows) < 0.3).astype(np.float64)
    scores = 1.0 / (1.0 + np.exp(-np.round(random.normal(size=rows) + signal * targets, 1)))
    return scores, targets, random.uniform(0.0, 20 * DAY_S, rows)


def sums(task: Task, scores: Floats, targets: Floats, times: Floats) -> tuple[Sums, bootstrap.Blocks]:
    blocks = bootstrap.blocks_of(times)
    return sums_of(task, scores, targets, blocks.of_row, blocks.count), blocks


def test_drawing_every_block_once_gives_the_metrics_themselves() -> None:
    scores, targets, times = classes(0)
    found, blocks = sums(Task.BINARY, scores, targets, times)
    once = {name: values[0] for name, values in metric_values(found, np.ones((1, blocks.count))).items()}
    expected = metrics_of(Task.BINARY, scores, targets)
    assert once == pytest.approx({name: expected[name] for name in ("auc", "log_loss", "brier")}, abs=1e-12)
    numbers, places = sums(Task.REGRESSION, scores * 10, 1e6 + scores * 9 + targets, times)
    once = {name: values[0] for name, values in metric_values(numbers, np.ones((1, places.count))).items()}
    expected = metrics_of(Task.REGRESSION, scores * 10, 1e6 + scores * 9 + targets)
    assert once == pytest.approx({name: expected[name] for name in ("mae", "rmse", "r2")}, rel=1e-9)


def test_every_resample_equals_scikit_learn_with_the_rows_weighted() -> None:
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

    scores, targets, times = classes(1)
    found, blocks = sums(Task.BINARY, scores, targets, times)
    weights = bootstrap.draw(blocks.count, SEED, resamples=20)
    values = metric_values(found, weights)
    for number, drawn in enumerate(weights):
        of_row = drawn[blocks.of_row]
        assert values["auc"][number] == pytest.approx(roc_auc_score(targets, scores, sample_weight=of_row), abs=1e-12)
        assert values["brier"][number] == pytest.approx(
            brier_score_loss(targets, scores, sample_weight=of_row), abs=1e-12
        )
        assert values["log_loss"][number] == pytest.approx(log_loss(targets, scores, sample_weight=of_row), abs=1e-9)


def test_a_resample_without_one_of_the_classes_has_no_area_and_scores_that_are_no_numbers_have_none_at_all() -> None:
    scores, targets, times = classes(2)
    found, blocks = sums(Task.BINARY, scores, np.where(times < DAY_S, targets, 0.0), times)
    drawn = np.zeros((1, blocks.count))
    drawn[0, -1] = blocks.count
    assert np.isnan(metric_values(found, drawn)["auc"][0])
    scores[5] = np.nan
    found, blocks = sums(Task.BINARY, scores, targets, times)
    assert bootstrap.compare(found, found, bootstrap.draw(blocks.count, SEED), 0.95) == ()


def test_the_same_snapshot_draws_the_same_resamples_and_another_one_others() -> None:
    again = bootstrap.draw(30, SEED)
    np.testing.assert_array_equal(bootstrap.draw(30, SEED), again)
    assert (bootstrap.draw(30, "cd" * 32) != again).any()
    assert (again.sum(axis=1) == 30).all()


@pytest.mark.parametrize(
    ("days", "unit", "count"), [(20.0, "day", 20), (3.0, "hour", 72), (0.2, "stretch", bootstrap.STRETCHES)]
)
def test_blocks_are_days_or_hours_where_days_are_few_or_stretches_of_rows(days: float, unit: str, count: int) -> None:
    times = np.random.default_rng(3).uniform(0.0, days * DAY_S, 5_000)
    found = bootstrap.blocks_of(times)
    assert (found.unit, found.count) == (unit, count)
    assert (np.diff(found.of_row[np.argsort(times)]) >= 0).all()  # a block is one piece of time
    assert np.bincount(found.of_row).min() > 0


@pytest.mark.parametrize("rows", [0, 1])
def test_no_rows_and_a_single_one_prove_nothing(rows: int) -> None:
    scores, targets, times = (each[:rows] for each in classes(4))
    found, blocks = sums(Task.REGRESSION, scores, targets, times)
    drawn = bootstrap.draw(blocks.count, SEED, resamples=10)
    assert all(each.low is None for each in bootstrap.compare(found, found, drawn, 0.95))


def test_a_model_against_itself_gains_nothing_for_certain() -> None:
    scores, targets, times = classes(5)
    found, blocks = sums(Task.BINARY, scores, targets, times)
    for each in bootstrap.compare(found, found, bootstrap.draw(blocks.count, SEED), 0.95):
        assert (each.gain, each.low, each.high, each.error) == (0.0, 0.0, 0.0, 0.0)


def test_more_is_better_or_less_is_and_a_gain_is_always_good() -> None:
    _, targets, times = classes(6)
    scores = np.where(targets > 0, 0.6, 0.2) + np.random.default_rng(6).uniform(-0.2, 0.2, len(targets))
    poor = np.full(len(scores), float(targets.mean()))
    (good, blocks), (bad, _) = sums(Task.BINARY, scores, targets, times), sums(Task.BINARY, poor, targets, times)
    compared = {each.metric: each for each in bootstrap.compare(good, bad, bootstrap.draw(blocks.count, SEED), 0.95)}
    assert set(compared) == {"auc", "log_loss", "brier"}
    assert all(each.gain > 0 and (each.low or 0) > 0 for each in compared.values())


def test_days_that_move_together_make_bounds_wider_than_rows_by_themselves() -> None:
    random = np.random.default_rng(7)
    day = np.repeat(np.arange(30), 200)
    errors = random.normal(scale=1.0, size=30)[day] + random.normal(scale=0.1, size=6_000)
    scores, targets = np.zeros(6_000), np.abs(errors)
    blocks = bootstrap.Blocks("day", day.astype(np.intp), 30)
    by_row = bootstrap.Blocks("row", np.arange(6_000), 6_000)
    errors_of = [
        bootstrap.intervals(
            sums_of(Task.REGRESSION, scores, targets, each.of_row, each.count),
            bootstrap.draw(each.count, SEED, resamples=300),
            0.95,
        )["mae"]
        for each in (blocks, by_row)
    ]
    width = [(each.high or 0.0) - (each.low or 0.0) for each in errors_of]
    assert width[0] > 5 * width[1]


def test_the_lower_bound_is_too_high_about_as_often_as_it_says() -> None:
    """A gain whose truth is known: 400 holdouts of 20 days; a plain percentile would be too high in 8 of 100."""
    random = np.random.default_rng(8)
    drawn = bootstrap.draw(20, SEED, resamples=2_000)
    too_high = 0
    for _ in range(400):
        daily = random.normal(size=20)  # the mean gain of each day; the truth is 0
        lower = bootstrap.bound(drawn @ daily / 20, 0.95, 20)
        assert lower is not None
        too_high += lower > 0
    assert 0.025 <= too_high / 400 <= 0.08
