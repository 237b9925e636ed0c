"""How a run of the DAG ends, with Airflow's own rules and the pipeline's steps replaced by known results."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from baton_airflow import factory, steps
from scoring.contract.errors import ConfigurationError, Unavailable
from scoring.contract.verdict import Judgement, Verdict
from training import pipeline, results, watch
from training.catalog import load_definition
from training.definition import Approval, ModelDefinition, one_of

DIGEST = "0" * 64
START, END = datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 4, 1, tzinfo=UTC)
GOOD = Verdict(gate="data", judgement=Judgement.PASS, sentence="all 12 expectations hold")
DAMAGED = Verdict(gate="data", judgement=Judgement.FAIL, sentence="distance is negative in 40 rows")
WORSE = Verdict(gate="not-worse", judgement=Judgement.FAIL, sentence="auc 0.60 is below the champion's 0.67")

Outcome = Callable[..., Any]
MODELS = Path(__file__).parent / "models"


@pytest.fixture
def definition(monkeypatch: pytest.MonkeyPatch) -> ModelDefinition:
    monkeypatch.setenv("BATON_MODELS_DIR", str(MODELS))
    return load_definition(MODELS, "fare")


def pulled_of(source: str) -> results.PulledSource:
    """What came of pulling a source."""
    return results.PulledSource(
        source=source,
        key=DIGEST,
        sha256=DIGEST,
        rows=10,
        newest=START,
        pulled_at=END,
        seconds=0.1,
        reused=False,
        sentence=f"source {source!r}: 10 rows",
    )


def sound() -> dict[str, Any]:
    """The results of a run in which everything goes well."""
    common: dict[str, Any] = {"rows": 10, "labels_missing": 0, "labels_not_yet_known": 0}
    parity = results.Parity(
        exact=True, tolerance=0.0, rows=3, different_rows=0, largest_difference=0.0, changed_decisions=0
    )
    return {
        "pull_source": pulled_of("trips"),
        "assemble": results.Pulled(path="/staged", **common),
        "snapshot": results.SnapshotRef(path="/kept", sha256=DIGEST, start=START, end=END, reused=False, **common),
        "validate": results.Validated(verdict=GOOD, expectations=12),
        "train": results.Trained(
            folder="/candidate",
            holdout_start=END,
            training_rows=7,
            holdout_rows=3,
            rows_without_label=0,
            rows_in_gap=0,
            rows_unscorable=0,
        ),
        "evaluate": results.Evaluated(
            metrics={"rmse": 1.0},
            baseline=results.Baseline(kind=results.BaselineKind.TRIVIAL),
            parity=parity,
            rows=3,
        ),
        "gates": results.Gated(verdicts=(GOOD,), sentence="accepted: every gate passes", red=False, parent=0),
        "register": results.Registered(version="1", manifest_digest=DIGEST, bundle="/bundle", registry_run="r"),
        "foresee": None,
        "promote": results.Promoted(model="fare", sequence=1, version="1", manifest_digest=DIGEST),
        "announce": results.Announced(sequence=1, version="1"),
        "wait": results.Waited(state="converged", green=True, sentence="every worker is live on 1"),
    }


Run = Callable[..., Any]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[results.Refused]:
    """The refusals that the registry's runs are marked with."""
    told: list[results.Refused] = []
    monkeypatch.setattr(pipeline, "record_refusal", lambda _settings, _run, refused: told.append(refused))
    return told


@pytest.fixture
def run(definition: ModelDefinition, recorded: list[results.Refused], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the DAG; ``changed`` replaces a step's result, or makes it raise."""

    def make(changed: Mapping[str, Any] | None = None, definition: ModelDefinition = definition, **conf: Any) -> Any:
        outcomes = {**sound(), **(changed or {})}
        monkeypatch.setattr(watch, "Watcher", partial(Watched, outcomes.pop("wait")))
        for name, outcome in outcomes.items():
            monkeypatch.setattr(pipeline, name, _stub(outcome))
        monkeypatch.setattr(factory, "repair_models", lambda models: dict.fromkeys(models, "nothing to do"))
        dag = factory.build_dag(definition)
        for task in dag.tasks:
            task.retry_delay = timedelta(0)
        form = {"start": START.isoformat(), "end": END.isoformat(), **conf}
        return dag.test(run_conf=form)

    return make


class Watched:
    """Stands in for the watcher that follows the workers in the triggerer."""

    def __init__(self, outcome: Any, watched: watch.Watch) -> None:
        assert (watched.model, watched.sequence, watched.input_topic) == ("fare", 1, "fare.input")
        assert watched.limit_s == pipeline.CONVERGENCE_LIMIT.total_seconds()
        self.outcome = outcome
        self.steps = 0

    def look(self, seconds: float) -> Any:
        assert seconds == steps.LOOK_S
        return None

    def step(self) -> Any:
        self.steps += 1
        return _stub(self.outcome)() if self.steps > 1 else None

    def close(self) -> None:
        assert self.steps > 0


def _stub(outcome: Any) -> Outcome:
    def step(*_: Any) -> Any:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return step


def states(run: Any) -> dict[str, str]:
    return {instance.task_id: str(instance.state) for instance in run.get_task_instances()}


def verdicts(run: Any, task_id: str) -> Any:
    return run.get_task_instance(task_id).xcom_pull(task_ids=task_id, key="verdicts")


def why(run: Any) -> Any:
    """What the task ``refused`` hands on."""
    return run.get_task_instance("refused").xcom_pull(task_ids="refused")


def test_a_good_candidate_goes_all_the_way(run: Run) -> None:
    ended = run()
    assert ended.state == "success"
    assert states(ended) == {
        **dict.fromkeys(
            (
                "repair",
                "pull",
                "assemble",
                "snapshot",
                "validate",
                "train",
                "evaluate",
                "gates",
                "register",
                "promote",
                "announce",
                "wait_for_workers",
            ),
            "success",
        ),
        "refused": "skipped",
        "keep": "skipped",
    }
    assert verdicts(ended, "gates") == [results.to_json(GOOD)]


def test_a_dry_run_keeps_its_candidate_and_promotes_nothing(run: Run) -> None:
    ended = run({"promote": AssertionError("must not run")}, dry_run=True)
    found = states(ended)
    assert ended.state == "success"
    assert (found["register"], found["keep"]) == ("success", "success")
    assert {found[name] for name in ("promote", "announce", "wait_for_workers", "refused")} == {"skipped"}
    kept = ended.get_task_instance("keep").xcom_pull(task_ids="keep")
    assert kept == {"version": "1", "purpose": "dry_run", "reused": False}


def test_a_dry_run_asks_nobody_for_an_approval(run: Run, definition: ModelDefinition) -> None:
    asking = msgspec.structs.replace(definition, approval=Approval())
    ended = run({"foresee": AssertionError("must not run")}, asking, dry_run=True)
    found = states(ended)
    assert ended.state == "success"
    assert (found["keep"], found["approve"], found["promote"]) == ("success", "skipped", "skipped")


def test_a_dry_run_of_a_bad_candidate_ends_at_refused(run: Run) -> None:
    refused = results.Gated(verdicts=(GOOD, WORSE), sentence="refused by not-worse", red=False, parent=0)
    evidence = results.Registered(version=None, manifest_digest=None, bundle=None, registry_run="r")
    ended = run({"gates": refused, "register": evidence}, dry_run=True)
    found = states(ended)
    assert (ended.state, found["refused"], found["keep"]) == ("success", "success", "skipped")


def test_every_step_gets_the_definition_with_the_parameters_of_the_form(
    run: Run, definition: ModelDefinition, monkeypatch: pytest.MonkeyPatch
) -> None:
    tunable = msgspec.structs.replace(definition, tunable={"fit_intercept": one_of(True, False)})
    told: list[Any] = []
    ended = run({}, tunable, parameter_fit_intercept=False)
    assert ended.state == "success"
    monkeypatch.setattr(pipeline, "assemble", lambda asked, *_: told.append(asked))
    context = {"dag_run": ended, "params": {**dict(ended.conf), "parameter_fit_intercept": False}}
    steps.Steps(tunable, lambda: context).assemble([results.to_json(pulled_of("trips"))])
    assert told[0].estimator.parameters["fit_intercept"] is False


def test_a_candidate_that_is_not_good_enough_ends_green_at_refused_with_its_evidence_kept(
    run: Run, recorded: list[results.Refused]
) -> None:
    refused = results.Gated(verdicts=(GOOD, WORSE), sentence="refused by not-worse", red=False, parent=0)
    evidence = results.Registered(version=None, manifest_digest=None, bundle=None, registry_run="r")
    ended = run({"gates": refused, "register": evidence, "promote": AssertionError("must not run")})
    found = states(ended)
    assert ended.state == "success"
    assert (found["register"], found["promote"], found["announce"]) == ("success", "skipped", "skipped")
    assert (found["wait_for_workers"], found["refused"]) == ("skipped", "success")
    assert why(ended) == {"refusals": ["not-worse"], "sentence": "refused by not-worse", "by": None}
    assert recorded == []  # it was recorded as refused from the start
    assert verdicts(ended, "gates") == [results.to_json(GOOD), results.to_json(WORSE)]


def test_damaged_data_end_red_before_anything_is_trained_and_every_verdict_can_be_read(run: Run) -> None:
    ended = run(
        {
            "validate": results.Validated(verdict=DAMAGED, expectations=12, failed=("distance >= 0",)),
            "train": AssertionError("must not run"),
            "gates": results.Gated(verdicts=(DAMAGED,), sentence="refused by data", red=True, parent=None),
            "promote": AssertionError("must not run"),
        }
    )
    found = states(ended)
    assert ended.state == "failed"
    assert (found["validate"], found["train"], found["gates"]) == ("failed", "upstream_failed", "failed")
    assert (found["register"], found["promote"], found["refused"]) == ("success", "upstream_failed", "upstream_failed")
    assert ended.get_task_instance("gates").try_number == 1  # a retry cannot help
    assert verdicts(ended, "validate") == verdicts(ended, "gates") == [results.to_json(DAMAGED)]


def test_a_candidate_that_comes_too_late_ends_green_at_refused_and_is_marked_so_in_the_registry(
    run: Run, recorded: list[results.Refused]
) -> None:
    refused = results.Promoted(
        model="fare", sequence=None, version="2", refused="an older interval", refusal="older-interval"
    )
    ended = run({"promote": refused})
    found = states(ended)
    assert ended.state == "success"
    assert (found["promote"], found["announce"], found["refused"]) == ("success", "skipped", "success")
    assert why(ended) == {"refusals": ["older-interval"], "sentence": "an older interval", "by": None}
    assert recorded == [results.Refused(refusals=("older-interval",), sentence="an older interval")]


def test_a_refusal_that_somebody_must_look_into_ends_red_without_a_retry(run: Run) -> None:
    refused = results.Promoted(
        model="fare", sequence=None, version="2", refused="rolled back", refusal="rolled-back", red=True
    )
    ended = run({"promote": refused})
    found = states(ended)
    assert ended.state == "failed"
    assert (found["promote"], found["announce"], found["refused"]) == ("failed", "upstream_failed", "upstream_failed")
    assert ended.get_task_instance("promote").try_number == 1
    assert ended.get_task_instance("promote").xcom_pull(task_ids="promote", key="result")["refusal"] == "rolled-back"


def test_workers_that_cannot_be_watched_are_watched_again_by_the_retry(run: Run) -> None:
    ended = run({"wait": Unavailable("the broker is away")})
    assert ended.state == "failed"
    assert ended.get_task_instance("wait_for_workers").try_number == 4


def test_a_wait_that_no_retry_can_mend_fails_at_once(run: Run) -> None:
    ended = run({"wait": ConfigurationError("there is no topic baton.workers")})
    assert ended.state == "failed"
    assert ended.get_task_instance("wait_for_workers").try_number == 1


def test_what_shows_at_once_is_not_handed_to_the_triggerer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watched, "look", lambda self, _: self.outcome)
    monkeypatch.setattr(Watched, "step", AssertionError)
    ended = run()
    assert ended.state == "success"
    assert ended.get_task_instance("wait_for_workers").xcom_pull(task_ids="wait_for_workers")["state"] == "converged"


def test_a_worker_that_refuses_the_version_ends_the_run_red(run: Run) -> None:
    ended = run({"wait": results.Waited(state="refused", green=False, sentence="default/0 refused sequence 1")})
    assert ended.state == "failed"
    assert states(ended)["wait_for_workers"] == "failed"


def test_a_source_that_cannot_be_read_is_named_by_the_task_after_it_too(run: Run) -> None:
    ended = run({"pull_source": ConfigurationError("connection 'warehouse' is unknown")})
    found = states(ended)
    assert ended.state == "failed"
    assert sorted(name for name, state in found.items() if state == "failed") == ["assemble", "pull"]
    assert (found["gates"], found["register"], found["refused"]) == ("upstream_failed",) * 3
    assert ended.get_task_instance("assemble").try_number == 1  # a retry cannot help


def test_a_form_that_makes_no_sense_fails_the_run_at_once(run: Run) -> None:
    ended = run(effective_from="2013-01-01")
    assert ended.state == "failed"
    assert states(ended)["pull"] == "failed"
