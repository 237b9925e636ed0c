import numpy as np
import pytest

from scoring.contract.manifest import Task
from tests.support.evidence import made_up
from training.metrics import areas, auc, metrics_of


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


@pytest.mark.parametrize("classes", [3, 8])
def test_the_metrics_of_several_classes_equal_those_of_scikit_learn(classes: int) -> None:
    from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

    scores, targets = made_up(0, 2_000, classes)
    found = metrics_of(Task.MULTICLASS, scores, targets)
    came = np.eye(classes)[targets.astype(int)]
    assert found == pytest.approx(
        {
            "auc": roc_auc_score(targets, scores, multi_class="ovr"),
            "log_loss": log_loss(targets, scores),
            "brier": float(((scores - came) ** 2).sum(axis=1).mean()),
            "accuracy": accuracy_score(targets, scores.argmax(axis=1)),
        },
        abs=1e-12,
    )


def test_of_classes_that_are_absent_there_is_no_area_but_every_other_metric() -> None:
    scores, targets = made_up(1, 500, 4)
    found = metrics_of(Task.MULTICLASS, scores, np.where(targets == 2, 1.0, targets))
    assert set(found) == {"log_loss", "brier", "accuracy"}
    known = areas(scores, np.where(targets == 2, 1.0, targets))
    assert np.isnan(known).tolist() == [False, False, True, False]


def test_probabilities_that_are_no_numbers_have_no_metrics() -> None:
    scores, targets = made_up(2, 300, 3)
    scores[7] = np.nan
    assert metrics_of(Task.MULTICLASS, scores, targets) == {}


def test_a_certain_and_wrong_class_costs_much_but_not_infinitely() -> None:
    scores = np.array([[1.0, 0.0, 0.0]] * 3)
    found = metrics_of(Task.MULTICLASS, scores, np.array([0.0, 1.0, 2.0]))
    assert found["log_loss"] == pytest.approx(2 * -np.log(np.finfo(np.float64).eps) / 3)
    assert (found["brier"], found["accuracy"], found["auc"]) == pytest.approx((4 / 3, 1 / 3, 0.5))
