import numpy as np
import pytest

from scoring.contract.manifest import Task
from training.metrics import auc, metrics_of


def test_the_metrics_of_classes_equal_those_of_scikit_learn() -> None:
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

    random = np.random.default_rng(0)
    target = np.where(random.random(2_000) < 0.3, 1.0, 0.0)
    drawn = np.clip(random.normal(0.3 + 0.2 * target, 0.2), 0.0, 1.0)
    score = np.rint(drawn * 100.0) / 100.0  # with ties, zeros and ones
    found = metrics_of(Task.BINARY, score, target)
    assert found["auc"] == pytest.approx(roc_auc_score(target, score), abs=1e-12)
    assert found["brier"] == pytest.approx(brier_score_loss(target, score), abs=1e-12)
    assert found["log_loss"] == pytest.approx(log_loss(target, score), abs=1e-9)


def test_the_metrics_of_numbers_equal_those_of_scikit_learn() -> None:
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    random = np.random.default_rng(0)
    target = random.normal(size=500)
    score = target + random.normal(scale=0.3, size=500)
    found = metrics_of(Task.REGRESSION, score, target)
    assert found["mae"] == pytest.approx(mean_absolute_error(target, score), abs=1e-12)
    assert found["rmse"] == pytest.approx(root_mean_squared_error(target, score), abs=1e-12)
    assert found["r2"] == pytest.approx(r2_score(target, score), abs=1e-12)


def test_a_constant_score_says_nothing() -> None:
    assert auc(np.full(4, 0.2), np.array([0.0, 1.0, 0.0, 1.0])) == 0.5


@pytest.mark.parametrize(
    ("scores", "targets"), [([0.1, 0.2], [0.0, 0.0]), ([0.1, 0.2], [1.0, 1.0]), ([0.1, np.nan], [0.0, 1.0])]
)
def test_a_metric_that_is_not_a_number_is_left_out(scores: list[float], targets: list[float]) -> None:
    assert "auc" not in metrics_of(Task.BINARY, np.array(scores), np.array(targets))
    assert "r2" not in metrics_of(Task.REGRESSION, np.array(scores), np.array(targets)) or targets == [0.0, 1.0]
