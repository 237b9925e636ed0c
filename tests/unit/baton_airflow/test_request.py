from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from baton_airflow.request import run_params, run_request
from scoring.contract.errors import ConfigurationError
from training import field
from training.definition import Estimator, Gates, Label, ModelDefinition, Source, between, months, one_of
from training.feature import number
from training.results import Purpose, RunRequest, to_json
from training.wake import WakeUp

ASKED_AT = datetime(2013, 6, 14, 9, 30, tzinfo=UTC)


@dataclass
class Run:
    run_id: str = "manual__1"
    run_after: datetime = ASKED_AT
    run_type: str = "manual"
    data_interval_end: datetime | None = None
    triggering_user_name: str | None = "ada"


@pytest.fixture(scope="module")
def definition() -> ModelDefinition:
    return ModelDefinition(
        name="fare",
        source=Source(connection="warehouse", table="trips"),
        key="trip_id",
        event_time="pickup",
        fields=[field.string("trip_id", required=True), field.time("pickup", required=True), field.number("miles")],
        label=Label("fare", known_after=timedelta(hours=1)),
        features=[number("miles")],
        estimator=Estimator("sklearn.linear_model.Ridge", alpha=1.0),
        gates=Gates(maximum={"rmse": 5.0}),
        history=months(3),
        holdout=months(1),
        tunable={"alpha": between(0.1, 10.0), "solver": one_of("svd", "cholesky")},
    )


def asked(definition: ModelDefinition, run: Run | None = None, **params: Any) -> RunRequest:
    defaults = {name: param.value for name, param in run_params(definition).items()}
    return run_request(definition, run or Run(), {**defaults, **params})


def test_a_scheduled_run_takes_the_history_before_the_end_of_its_interval(definition: ModelDefinition) -> None:
    run = Run("scheduled__1", data_interval_end=datetime(2013, 6, 1, tzinfo=UTC), triggering_user_name=None)
    request = asked(definition, run)
    assert (request.start, request.end) == (datetime(2013, 3, 1, tzinfo=UTC), datetime(2013, 6, 1, tzinfo=UTC))
    assert (request.actor, request.reason) == ("schedule", "due by the schedule")
    assert request.effective_from is None


def test_an_empty_form_takes_everything_up_to_the_last_midnight(definition: ModelDefinition) -> None:
    request = asked(definition)
    assert (request.start, request.end) == (datetime(2013, 3, 14, tzinfo=UTC), datetime(2013, 6, 14, tzinfo=UTC))
    assert (request.actor, request.run_id, request.requested_at) == ("ada", "manual__1", ASKED_AT)


def test_a_form_is_taken_as_it_is_filled_in(definition: ModelDefinition) -> None:
    request = asked(
        definition,
        start="2013-01-01",
        end="2013-04-01T02:00:00+02:00",
        effective_from="2013-04-01T00:00:00Z",
        force=True,
        reason=" a replay ",
    )
    assert (request.start, request.end) == (datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 4, 1, tzinfo=UTC))
    assert request.effective_from == datetime(2013, 4, 1, tzinfo=UTC)
    assert (request.force, request.reason) == (True, "a replay")


def test_the_form_wins_over_the_schedules_interval(definition: ModelDefinition) -> None:
    run = Run(data_interval_end=datetime(2013, 6, 1, tzinfo=UTC))
    assert asked(definition, run, end="2013-05-01").end == datetime(2013, 5, 1, tzinfo=UTC)


def test_every_mistake_of_a_form_is_told_at_once(definition: ModelDefinition) -> None:
    with pytest.raises(ConfigurationError) as caught:
        asked(definition, start="soon", end="2013-07-01T00:00:00", force=True)
    message = str(caught.value)
    assert "start: 'soon' is not a time" in message
    assert "its time zone is missing" in message
    assert "force needs a reason" in message


@pytest.mark.parametrize(
    ("form", "complaint"),
    [
        ({"end": "2013-07-01"}, "lies in the future"),
        ({"window": "a while"}, "'a while' is not a length of time such as 6 months or 30 days"),
        ({"window": "30 days"}, "leaves nothing to train on"),
        ({"window": "2 months", "start": "2013-01-01"}, "start and window: give one of them"),
        ({"parameter_alpha": 11.0}, "parameter alpha: 11.0 is not a number from 0.1 to 10.0"),
        ({"start": "2013-05-15", "end": "2013-06-01"}, "leaves nothing to train on"),
        ({"start": "2013-07-01", "end": "2013-06-01"}, "leaves nothing to train on"),
        ({"end": "2013-06-01", "effective_from": "2013-05-31"}, "before the end of the data"),
    ],
)
def test_an_interval_that_makes_no_sense_is_refused(
    definition: ModelDefinition, form: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        asked(definition, **form)


def test_a_window_reaches_back_from_the_end(definition: ModelDefinition) -> None:
    request = asked(definition, end="2013-06-01", window="2 months")
    assert (request.start, request.end) == (datetime(2013, 4, 1, tzinfo=UTC), datetime(2013, 6, 1, tzinfo=UTC))


def test_parameters_are_offered_with_their_bounds_and_taken(definition: ModelDefinition) -> None:
    form = run_params(definition)
    assert form["parameter_alpha"].schema["maximum"] == 10.0
    assert "a number from 0.1 to 10.0. Empty: the definition's 1.0." in str(form["parameter_alpha"].description)
    assert form["parameter_solver"].schema["enum"] == [None, "svd", "cholesky"]
    assert asked(definition, parameter_alpha=2, parameter_solver="svd").parameters == {"alpha": 2, "solver": "svd"}
    assert asked(definition).parameters == {}


@pytest.mark.parametrize(
    ("run_type", "dry_run", "purpose"),
    [
        ("manual", False, Purpose.PROMOTION),
        ("manual", True, Purpose.DRY_RUN),
        ("scheduled", False, Purpose.PROMOTION),
        ("backfill", False, Purpose.BACKFILL),
        ("backfill", True, Purpose.BACKFILL),
    ],
)
def test_only_a_run_that_is_neither_dry_nor_a_backfill_is_for_a_promotion(
    definition: ModelDefinition, run_type: str, dry_run: bool, purpose: Purpose
) -> None:
    assert asked(definition, Run(run_type=run_type), dry_run=dry_run).purpose is purpose


def test_a_run_pulls_again_only_where_the_form_says_so(definition: ModelDefinition) -> None:
    assert not asked(definition, Run()).refresh
    assert asked(definition, Run(), refresh=True).refresh


WOKEN = WakeUp(until=ASKED_AT - timedelta(seconds=4), messages=200, by=("ada", "bob"), reasons=("drift",))


def test_a_run_that_an_event_started_takes_everything_up_to_then_and_says_by_whom_and_why(
    definition: ModelDefinition,
) -> None:
    run = Run("asked__1", run_type="operator_triggered", triggering_user_name=None)
    request = asked(definition, run, woken=to_json(WOKEN))
    assert request.woken == WOKEN
    assert request.end == WOKEN.until
    assert (request.actor, request.reason) == ("ada and 1 other", "asked for by 200 messages: drift")
    assert request.purpose is Purpose.PROMOTION


def test_data_up_to_a_moment_that_this_machine_calls_the_future_end_with_the_run(definition: ModelDefinition) -> None:
    run = Run("asked__1", run_type="operator_triggered", triggering_user_name=None)
    request = asked(definition, run, woken=to_json(WakeUp(until=ASKED_AT + timedelta(seconds=2), messages=1)))
    assert request.end == ASKED_AT


def test_a_person_cannot_pass_a_run_off_as_somebody_elses_event(definition: ModelDefinition) -> None:
    request = asked(definition, woken=to_json(WOKEN))
    assert request.woken is None
    assert (request.actor, request.reason) == ("ada", "asked for by hand")
