from baton_airflow.pulls import not_pulled
from tests.support.training import definition
from training import field
from training.definition import ModelDefinition
from training.sources import by_key, sql

ADDED = [f"extra_{number}" for number in range(7)]


def several() -> ModelDefinition:
    """Rides, and seven tables of which the first brings the fare."""
    first, *others = (
        sql("warehouse", name, brings=["fare"] if name == ADDED[0] else [name], join=by_key({"id": "trip_id"}))
        for name in ADDED
    )
    fields = [*definition().fields, *(field.number(name) for name in ADDED[1:])]
    return definition(source=None, sources=[sql("warehouse", "trips"), first, *others], fields=fields)


def test_where_all_are_there_nothing_is_said() -> None:
    assert not_pulled(several(), ["trips", *ADDED], lambda _: "unheard") is None


def test_the_ones_that_are_lacking_are_named_once_with_what_they_said() -> None:
    said = {1: "source 'extra_0': the API answers 503", 3: "it broke", 4: None}
    told = not_pulled(several(), ["trips", "extra_1", *ADDED[4:]], said.__getitem__)
    assert told == (
        "3 of 8 sources could not be pulled: source 'extra_0': the API answers 503; 'extra_2': it broke; 'extra_3' "
        "(see the log of its task). Mend that, and clear that instance of 'pull': the others are not pulled again"
    )


def test_of_many_only_the_first_few_are_named() -> None:
    told = not_pulled(several(), [], lambda _: None)
    assert told is not None
    assert told.startswith("8 of 8 sources could not be pulled: 'trips' (see the log of its task); 'extra_0'")
    assert "'extra_3' (see the log of its task); and 3 more. Mend" in told
