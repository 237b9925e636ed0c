"""What scikit-learn's estimators compile to keeps the rules that a worker holds compiled models to."""

from typing import Any

import numpy as np
import pytest

from scoring.contract.errors import ConfigurationError
from scoring.contract.manifest import Task
from scoring.scorer.graph_rules import check_graph
from training.compile import compile_model

ROWS = 200


def estimators() -> list[Any]:
    from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, RobustScaler, StandardScaler
    from sklearn.svm import SVC
    from sklearn.tree import DecisionTreeClassifier

    return [
        HistGradientBoostingClassifier(max_iter=5),
        RandomForestClassifier(5),
        GradientBoostingClassifier(n_estimators=5),
        DecisionTreeClassifier(),
        LogisticRegression(),
        SVC(),
        GaussianNB(),
        MLPClassifier((4,), max_iter=5),
        make_pipeline(StandardScaler(), LogisticRegression()),
        make_pipeline(PolynomialFeatures(2), LogisticRegression()),
        make_pipeline(RobustScaler(), RandomForestClassifier(5)),
    ]


@pytest.mark.parametrize("place", range(11))
@pytest.mark.filterwarnings("ignore")
def test_an_estimator_is_compiled_within_the_rules(place: int) -> None:
    random = np.random.default_rng(0)
    matrix = random.normal(size=(ROWS, 4))
    estimator = estimators()[place]
    if type(estimator).__name__ == "SVC":
        estimator.set_params(probability=True)
    estimator.fit(matrix, matrix[:, 0] + matrix[:, 1] > 0)
    compiled = compile_model(estimator, Task.BINARY, matrix, tolerance=1e-4)
    assert check_graph(compiled.graph, compiled.output) == 4


def test_an_estimator_that_needs_a_loop_is_refused_when_it_is_compiled() -> None:
    from sklearn.neighbors import KNeighborsRegressor

    matrix = np.random.default_rng(0).normal(size=(ROWS, 4))
    estimator = KNeighborsRegressor().fit(matrix, matrix[:, 0])
    with pytest.raises(ConfigurationError, match=r"(?s)cannot be compiled.*Scan: a graph inside a node is not allowed"):
        compile_model(estimator, Task.REGRESSION, matrix, tolerance=1e-4)
