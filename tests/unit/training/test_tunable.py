from typing import Any

import pytest

from scoring.contract.errors import ConfigurationError
from tests.support.training import definition
from training.definition import Estimator, ModelDefinition, between, one_of
from training.tunable import setting_mistakes, tuned

FOREST = Estimator("sklearn.ensemble.RandomForestRegressor", n_estimators=50, random_state=0)
BOUNDS: dict[str, Any] = {
    "n_estimators": between(10, 500),
    "max_samples": between(0.1, 1.0),
    "criterion": one_of("squared_error", "absolute_error"),
}


@pytest.fixture
def forest() -> ModelDefinition:
    return definition(estimator=FOREST, tunable=BOUNDS)


def test_given_parameters_take_the_place_of_the_definitions(forest: ModelDefinition) -> None:
    given: dict[str, Any] = {"n_estimators": 80.0, "max_samples": 1, "criterion": "absolute_error"}
    assert [*setting_mistakes(forest, given)] == []
    made = tuned(forest, given).estimator
    assert made.parameters == {
        "n_estimators": 80,
        "random_state": 0,
        "max_samples": 1.0,
        "criterion": "absolute_error",
    }
    assert type(made.parameters["n_estimators"]) is int
    assert forest.estimator.parameters["n_estimators"] == 50


def test_of_a_pipeline_the_last_part_is_set() -> None:
    piped = Estimator("sklearn.pipeline.make_pipeline", Estimator("sklearn.preprocessing.StandardScaler"), FOREST)
    made = tuned(definition(estimator=piped, tunable=BOUNDS), {"n_estimators": 20}).estimator
    assert repr(made.parts[0]) == "sklearn.preprocessing.StandardScaler()"
    assert made.parts[1].parameters["n_estimators"] == 20
    assert made.build().steps[1][1].n_estimators == 20


def test_nothing_given_changes_nothing(forest: ModelDefinition) -> None:
    assert tuned(forest, {}) is forest


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"n_estimators": 9}, "parameter n_estimators: 9 is not a whole number from 10 to 500"),
        ({"n_estimators": 10.5}, "10.5 is not a whole number"),
        ({"n_estimators": True}, "True is not a whole number"),
        ({"n_estimators": "20"}, "'20' is not a whole number"),
        ({"max_samples": 1.01}, "1.01 is not a number from 0.1 to 1.0"),
        ({"max_samples": float("nan")}, "nan is not a number from 0.1 to 1.0"),
        ({"criterion": "poisson"}, "'poisson' is not one of squared_error, absolute_error"),
        ({"max_depth": 3}, "'max_depth' may not be set for fare (declared as tunable: n_estimators, max_samples"),
    ],
)
def test_what_lies_outside_the_bounds_is_told(forest: ModelDefinition, given: dict[str, Any], complaint: str) -> None:
    (told,) = setting_mistakes(forest, given)
    assert complaint in told


@pytest.mark.parametrize(
    ("bounds", "complaint"),
    [
        ({"n_estimators": between(500, 10)}, "nothing lies between 500 and 10"),
        ({"n_estimators": between(100, 500)}, "the definition's own value 50 is not a whole number from 100 to 500"),
        ({"criterion": one_of("squared_error")}, "there is nothing to choose"),
        ({"n_estimators": (10, 500)}, "write between(low, high) or one_of(value, ...)"),
    ],
)
def test_bounds_that_make_no_sense_are_a_mistake_of_the_definition(bounds: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        definition(estimator=FOREST, tunable=bounds)
    assert complaint in str(caught.value)
