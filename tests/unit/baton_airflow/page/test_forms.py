"""The form of a retrain, made from the DAG's own, and what a post of it asks for."""

from typing import Any

import pytest

from baton_airflow.page.forms import conf_of, fields_of, reason_of
from baton_airflow.request import run_params
from scoring.contract.errors import ConfigurationError
from tests.support.training import definition
from training.definition import Estimator, between, one_of


@pytest.fixture(scope="module")
def params() -> dict[str, Any]:
    """As Airflow's API tells of the params of a model with two parameters to set."""
    ridge = Estimator("sklearn.linear_model.Ridge", alpha=1.0)
    tunable = {"alpha": between(0.1, 10.0), "max_iter": between(1, 9), "solver": one_of("svd", "cholesky")}
    found = run_params(definition(estimator=ridge, tunable=tunable))
    return {name: param.serialize() for name, param in found.items()}


def test_every_field_of_the_dag_but_force_has_its_kind_and_bounds(params: dict[str, Any]) -> None:
    found = {field.name: field for field in fields_of(params)}
    assert {name: field.kind for name, field in found.items()} == {
        "start": "moment",
        "window": "text",
        "end": "moment",
        "dry_run": "check",
        "refresh": "check",
        "parameter_alpha": "number",
        "parameter_max_iter": "number",
        "parameter_solver": "choice",
    }
    alpha, count = found["parameter_alpha"], found["parameter_max_iter"]
    assert (alpha.minimum, alpha.maximum, alpha.whole) == (0.1, 10.0, False)
    assert (count.minimum, count.maximum, count.whole) == (1, 9, True)
    assert found["parameter_solver"].options == ("svd", "cholesky")
    assert "Empty: the definition's history" in found["window"].description


def test_a_post_becomes_the_runs_parameters_without_what_was_left_empty(params: dict[str, Any]) -> None:
    posted = {
        "token": "t",
        "window": " 30 days ",
        "end": "",
        "dry_run": "on",
        "parameter_alpha": "0.5",
        "parameter_max_iter": "3",
        "parameter_solver": "svd",
        "force": "on",
        "reason": "drift\nseen",
    }
    assert conf_of(params, posted) == {
        "window": "30 days",
        "dry_run": True,
        "refresh": False,
        "parameter_alpha": 0.5,
        "parameter_max_iter": 3,
        "parameter_solver": "svd",
        "reason": "drift seen",
    }
    assert conf_of(params, {"reason": "r"}) == {"dry_run": False, "refresh": False, "reason": "r"}


def test_all_fields_that_cannot_be_read_are_told_at_once(params: dict[str, Any]) -> None:
    posted = {"parameter_alpha": "much", "parameter_max_iter": "1.5", "parameter_solver": "lsqr", "reason": "r"}
    with pytest.raises(ConfigurationError) as told:
        conf_of(params, posted)
    assert all(word in str(told.value) for word in ("'much'", "'1.5'", "'lsqr'"))


@pytest.mark.parametrize("text", ["", "  \n ", "\x00", "x" * 501])
def test_nothing_is_done_without_a_reason_of_a_bearable_length(text: str) -> None:
    with pytest.raises(ConfigurationError, match="reason"):
        reason_of({"reason": text})
