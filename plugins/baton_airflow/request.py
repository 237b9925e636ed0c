"""What a run is asked to do: from Airflow's run and the form of a manual run to the pipeline's request."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Any, Protocol

import msgspec
from airflow.sdk import Param

from scoring.contract.errors import ConfigurationError
from training.definition import ModelDefinition
from training.estimator import Estimator
from training.period import WRITTEN, Period, period_of
from training.results import Purpose, RunRequest, from_json
from training.tunable import Between, Bounds, Setting, setting_mistakes, tuned_part
from training.wake import WakeUp

_TIME: dict[str, Any] = {"type": ["null", "string"], "format": "date-time"}
PARAMETER = "parameter_"
"""What the form's names of the estimator's parameters begin with."""
WOKEN = "woken"
"""Key of what woke a run, in the configuration that the task which starts it gives."""
STARTED_BY_A_TASK = "operator_triggered"


class Run(Protocol):
    """What is needed of Airflow's ``dag_run``."""

    @property
    def run_id(self) -> str:
        """Unique for the DAG; it becomes the ledger's run id."""

    @property
    def run_type(self) -> str:
        """``scheduled``, ``manual``, ``backfill`` and others."""

    @property
    def run_after(self) -> datetime:
        """When the run was due or asked for; a retry does not change it."""

    @property
    def data_interval_end(self) -> datetime | None:
        """The end of the schedule's interval; None for a manual run."""

    @property
    def triggering_user_name(self) -> str | None:
        """Who started it; None for the schedule."""


def run_params(definition: ModelDefinition) -> dict[str, Param]:
    """The form of a manual run."""
    return {**_interval_params(), **_run_params(definition), **_parameter_params(definition)}


def _interval_params() -> dict[str, Param]:
    return {
        "start": Param(
            None,
            title="Data from",
            description="Event time at which the training data begin, such as 2013-01-01T00:00:00Z. "
            "Empty: the window before the end.",
            **_TIME,
        ),
        "window": Param(
            None,
            type=["null", "string"],
            pattern=f"^{WRITTEN}$",
            title="Window",
            description="How far the training data reach back from their end, such as 6 months or 30 days, in place of "
            "a start. Empty: the definition's history.",
        ),
        "end": Param(
            None,
            title="Data until",
            description="Event time before which the training data end; the last part is the holdout. "
            "Empty: the end of the schedule's interval, or the last midnight (UTC) for a manual run.",
            **_TIME,
        ),
        "effective_from": Param(
            None,
            title="Effective from",
            description="Event time from which the new version counts, not before the end of its data. "
            "Empty: the moment of the decision. Only a replay of the past sets it.",
            **_TIME,
        ),
    }


def _run_params(definition: ModelDefinition) -> dict[str, Param]:
    """With the reason stands what the page has to know of the definition, which it does not load."""
    return {
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="Everything but the promotion: the candidate is trained, judged and kept, and the champion "
            "stays.",
        ),
        "refresh": Param(
            False,
            type="boolean",
            title="Pull again",
            description="Read every source again, also what was pulled before, and tell how many rows were added and "
            "removed.",
        ),
        "force": Param(
            False,
            type="boolean",
            title="Force",
            description="Promote although a newer version is live or this one was rolled back. Never passes a gate.",
        ),
        "reason": Param(
            None,
            type=["null", "string"],  # the form calls a field that may not be null a required one
            maxLength=500,
            title="Reason",
            description="Why this run; it goes into the ledger. Needed with force.",
            dead_letters=definition.all_topics.dead_letters,
        ),
    }


def _parameter_params(definition: ModelDefinition) -> dict[str, Param]:
    """A field for each parameter of the estimator that may be set."""
    part = tuned_part(definition.estimator)
    return {
        f"{PARAMETER}{name}": Param(
            None,
            title=f"Parameter {name}",
            description=f"Of {part.path.rpartition('.')[2]}: {bounds.sentence}. Empty: {_own_value(part, name)}.",
            **_kind(bounds),
        )
        for name, bounds in definition.tunable.items()
    }


def _own_value(part: Estimator, name: str) -> str:
    return f"the definition's {part.parameters[name]}" if name in part.parameters else "the library's default"


def _kind(bounds: Bounds) -> dict[str, Any]:
    """JSON schema of a parameter that may be left empty."""
    if isinstance(bounds, Between):
        kind = "integer" if bounds.whole else "number"
        return {"type": ["null", kind], "minimum": bounds.low, "maximum": bounds.high}
    return {"enum": [None, *bounds.values]}


def run_request(definition: ModelDefinition, run: Run, params: Mapping[str, Any]) -> RunRequest:
    """The request of a run; equal for every task and every retry of the run.

    Raises:
        ConfigurationError: lists everything that is wrong with the form.
    """
    mistakes: list[str] = []
    given = {name: _moment(name, params.get(name), mistakes) for name in ("start", "end", "effective_from")}
    woken = _woken(run, params)
    end = given["end"] or _own_end(run, woken)
    start = given["start"] or _window(definition, params, mistakes).before(end)
    if given["start"] and params.get("window"):
        mistakes.append("start and window: give one of them; the window reaches back from the end")
    mistakes += _interval_mistakes(definition, start, end, given["effective_from"], run.run_after)
    force, reason = bool(params.get("force")), str(params.get("reason") or "").strip()
    if force and not reason:
        mistakes.append("force needs a reason; it goes into the ledger")
    settings = _settings(params)
    mistakes += setting_mistakes(definition, settings)
    if mistakes:
        raise ConfigurationError(f"run {run.run_id}:\n" + "\n".join(f"  - {line}" for line in mistakes))
    return RunRequest(
        model=definition.name,
        start=start,
        end=end,
        run_id=run.run_id,
        requested_at=run.run_after,
        actor=run.triggering_user_name or (woken.actor if woken else "schedule"),
        effective_from=given["effective_from"],
        force=force,
        reason=reason or _why(run, woken),
        parameters=settings,
        purpose=_purpose(run, params),
        refresh=bool(params.get("refresh")),
        woken=woken,
    )


def _woken(run: Run, params: Mapping[str, Any]) -> WakeUp | None:
    """What woke the run. Only a task can say so: what a person writes into a run's configuration proves nothing."""
    if run.run_type != STARTED_BY_A_TASK or params.get(WOKEN) is None:
        return None
    woken = from_json(WakeUp, params[WOKEN])
    # The clocks of the machine that decided and of the one that keeps the runs may differ a little.
    return msgspec.structs.replace(woken, until=min(woken.until, run.run_after))


def _own_end(run: Run, woken: WakeUp | None) -> datetime:
    """The end of the data where the form says nothing: of a run that was woken, everything up to then."""
    return woken.until if woken is not None else run.data_interval_end or _midnight(run.run_after)


def _why(run: Run, woken: WakeUp | None) -> str:
    if woken is not None:
        return woken.sentence
    return "asked for by hand" if run.triggering_user_name else "due by the schedule"


def _interval_mistakes(
    definition: ModelDefinition, start: datetime, end: datetime, effective_from: datetime | None, asked_at: datetime
) -> list[str]:
    mistakes = []
    if end > asked_at:
        mistakes.append(f"end {end.isoformat()} lies in the future; data can only be pulled up to now")
    if start >= definition.holdout_start(end):
        mistakes.append(
            f"start {start.isoformat()} leaves nothing to train on: the holdout begins at "
            f"{definition.holdout_start(end).isoformat()}; start earlier"
        )
    if effective_from is not None and effective_from < end:
        mistakes.append(
            f"effective_from {effective_from.isoformat()} lies before the end of the data {end.isoformat()}; "
            "no version counts before it could have been trained"
        )
    return mistakes


def _window(definition: ModelDefinition, params: Mapping[str, Any], mistakes: list[str]) -> Period:
    written = str(params.get("window") or "").strip()
    try:
        return period_of(written) if written else definition.history
    except ValueError as error:
        mistakes.append(f"window: {error}")
        return definition.history


def _settings(params: Mapping[str, Any]) -> dict[str, Setting]:
    """The estimator's parameters that the form sets, by their names."""
    given = {name.removeprefix(PARAMETER): value for name, value in params.items() if name.startswith(PARAMETER)}
    return {name: value for name, value in given.items() if value is not None and value != ""}


def _purpose(run: Run, params: Mapping[str, Any]) -> Purpose:
    if run.run_type == "backfill":
        return Purpose.BACKFILL
    return Purpose.DRY_RUN if params.get("dry_run") else Purpose.PROMOTION


def _moment(name: str, text: object, mistakes: list[str]) -> datetime | None:
    if text is None or text == "":
        return None
    try:
        return _aware(str(text))
    except ValueError as error:
        mistakes.append(f"{name}: {text!r} is not a time such as 2013-01-01T00:00:00Z ({error})")
        return None


def _aware(text: str) -> datetime:
    if len(text) == len("2013-01-01"):
        return datetime.combine(date.fromisoformat(text), time(), tzinfo=UTC)
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("its time zone is missing; a Z at the end is UTC")
    return moment.astimezone(UTC)


def _midnight(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
