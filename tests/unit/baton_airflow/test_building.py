import msgspec
import pytest

from baton_airflow.building import build_all, require_all
from scoring.contract.errors import ConfigurationError
from tests.support.training import definition
from training.catalog import Catalog
from training.definition import ModelDefinition


def unreadable(name: str = "worse") -> ModelDefinition:
    """One that was checked, and that Airflow refuses all the same."""
    made = definition(name=name, schedule="@monthly")
    msgspec.structs.force_setattr(made, "schedule", "0 0 * *")
    return made


def test_each_definition_has_two_dags() -> None:
    built = build_all([definition(), definition(name="tip", schedule="@quarterly")])
    assert list(built.dags) == ["train_fare", "retrain_fare", "train_tip", "retrain_tip"]
    assert built.mistakes == {}


def test_one_that_airflow_would_refuse_takes_no_other_dag_away_and_is_named() -> None:
    built = build_all([unreadable(), definition()])
    assert list(built.dags) == ["train_fare", "retrain_fare"]
    assert list(built.mistakes) == ["worse"]
    assert "columns" in built.mistakes["worse"]


def test_one_of_which_nothing_can_be_made_does_not_either() -> None:
    broken = definition(name="worse")
    msgspec.structs.force_setattr(broken, "description", None)
    built = build_all([broken, definition()])
    assert (list(built.dags), list(built.mistakes)) == (["train_fare", "retrain_fare"], ["worse"])


def test_what_is_wrong_with_files_and_with_their_dags_is_told_together() -> None:
    catalog = Catalog(definitions={"worse": unreadable()}, mistakes={"broken.py": ("no such module",)})
    with pytest.raises(ConfigurationError, match=r"(?s)broken\.py: no such module.*model 'worse' makes no DAG: .*"):
        require_all(catalog)


def test_nothing_is_told_where_all_is_well() -> None:
    require_all(Catalog(definitions={"fare": definition()}, mistakes={}))
