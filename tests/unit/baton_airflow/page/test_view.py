"""What the page says of a model, from what was read of it."""

from datetime import timedelta
from typing import Any
from uuid import UUID
from xml.etree import ElementTree as ET

import msgspec
import pytest

from baton_airflow.page.candidates import candidates_of, promotable
from baton_airflow.page.listening import Crew
from baton_airflow.page.reading import Kept, Letters
from baton_airflow.page.serving import arrivals, health, stream
from baton_airflow.page.source import Seen
from baton_airflow.page.view import Blind, Read, approvers_of, card, dead_letters_of, model_view
from scoring.contract.acknowledgement import Acknowledgement, Outcome
from scoring.contract.heartbeat import State
from scoring.contract.manifest import Topics
from scoring.promotion.observer import Presence
from scoring.registry.port import RunInfo, VersionInfo
from scoring.worker.fleet import Row
from tests.support.decisions import JANUARY, history

# Our own pictures: nobody else's XML is read.
parsed = ET.fromstring
NOW = JANUARY + timedelta(days=3)
DAG = {"dag_id": "train_small", "description": "Small things", "is_paused": False, "params": {}}


def row(worker: str = "default/0", **changes: Any) -> Row:
    values: dict[str, Any] = {
        "worker": worker,
        "instance": "a",
        "presence": Presence.LIVE,
        "silent_s": 1.0,
        "model": "small",
        "state": State.LIVE,
        "version": "2",
        "sequence": 2,
        "pending": None,
        "partitions": (0,),
        "lag": 3,
        "lag_s": 0.1,
        "records": 100,
        "records_per_s": 10.0,
        "dead_letters": {"null-value": 2},
        "paused": {},
        "reason": None,
        "delay_s": 0.004,
        "swap_pause_s": 0.0002,
        **changes,
    }
    return Row(**values)


def run(number: int, outcome: str = "accepted", **tags: str) -> RunInfo:
    return RunInfo(
        run_id=f"run-{number}",
        started_at=JANUARY + timedelta(days=number),
        params={"data_start": "2025-01-01T00:00:00Z", "data_end": "2025-06-01T00:00:00Z"},
        metrics={"auc": 0.6 + number / 100, "champion_auc": 0.6, "auc_gain": 0.1, "rows": 5.0, "champion_rows": 5.0},
        tags={"baton.outcome": outcome, "baton.sentence": f"{outcome} {number}", "baton.actor": "ada", **tags},
    )


def evaluated(number: int, *, month: int, outcome: str = "accepted") -> RunInfo:
    """A run that held out the month before ``month`` of 2025."""
    params = {
        "data_start": "2024-01-01T00:00:00Z",
        "data_end": f"2025-{month:02d}-01T00:00:00Z",
        "holdout_start": f"2025-{month - 1:02d}-01T00:00:00Z",
    }
    metrics = {"auc": 0.6, "auc_low": 0.55, "auc_high": 0.65, "auc_gain": 0.1, "champion_auc": 0.5}
    return msgspec.structs.replace(run(number, outcome), params=params, metrics=metrics)


def version(number: int, run_number: int | None = None, **tags: str) -> VersionInfo:
    own = {} if run_number is None else {"baton.mlflow_run": f"run-{run_number}"}
    moment = JANUARY + timedelta(days=number)
    return VersionInfo(
        model="small", version=str(number), created_at=moment, manifest_digest=None, tags={**own, **tags}
    )


def read(*steps: str, **changes: Any) -> Read:
    values: dict[str, Any] = {
        "model": "small",
        "dag_id": "train_small",
        "now": NOW,
        "history": Seen({"small": tuple(history(*steps))}, NOW),
        "registry": Seen(Kept((), None), NOW),
        "crew": Seen(Crew((row(),), {}), NOW),
        "letters": Seen(Letters(0, (), {}), NOW),
        "dag": DAG,
        **changes,
    }
    return Read(**values)


def head(*steps: str) -> Any:
    return history(*steps)[-1]


# --- how it stands ------------------------------------------------------------------------------------------------


def test_all_is_well_while_every_live_worker_scores_with_the_ledgers_version() -> None:
    found = health(head("promote 1", "promote 2"), [row(), row("default/1"), row("gone/0", presence=Presence.LEFT)])
    assert (found.level, found.sentence) == ("good", "All 2 workers score with version 2.")


@pytest.mark.parametrize(
    ("rows", "level", "part"),
    [
        ([], "bad", "No worker"),
        ([row(presence=Presence.SILENT)], "bad", "No worker"),
        ([row(), row("default/1", sequence=1)], "busy", "1 of 2 workers is not yet on version 2"),
        ([row(state=State.HELD)], "busy", "The one worker is not yet"),
        ([row(state=State.REFUSED, pending=2, reason="golden row 3 differs")], "bad", "golden row 3 differs"),
    ],
)
def test_what_is_not_well_is_said(rows: list[Row], level: str, part: str) -> None:
    found = health(head("promote 1", "promote 2"), rows)
    assert found.level == level
    assert part in found.sentence


def test_nothing_is_expected_of_a_model_without_a_champion_or_one_that_is_retired() -> None:
    assert health(None, []).level == "quiet"
    assert health(head("promote 1", "retire 1"), [row()]).level == "quiet"


def test_of_what_cannot_be_seen_nothing_is_claimed() -> None:
    no_ledger = model_view(read(history=Seen(problem="the ledger is away")))
    assert (no_ledger.health.level, no_ledger.head, no_ledger.timeline) == ("unknown", None, ())
    no_broker = model_view(read("promote 1", crew=Seen(problem="no broker")))
    assert no_broker.health.level == "unknown"
    assert no_broker.head is not None
    assert no_ledger.blind == (Blind("The ledger", "the ledger is away"),)


def test_what_was_read_before_an_outage_is_shown_with_its_moment() -> None:
    before = Seen({"small": tuple(history("promote 1"))}, JANUARY, "the ledger is away")
    found = model_view(read(history=before))
    assert found.head is not None
    assert found.blind == (Blind("The ledger", "the ledger is away", JANUARY),)


def test_the_stream_is_the_sum_of_the_live_workers_and_its_delay_that_of_the_slowest() -> None:
    found = stream([row(), row("default/1", delay_s=0.5), row("gone/0", presence=Presence.LEFT, delay_s=9.0)])
    assert (found.live, found.records_per_s, found.lag, found.delay_s) == (2, 20.0, 6, 0.5)
    assert found.letters == {"null-value": 4}


def test_the_last_swap_is_told_per_worker_with_its_pause() -> None:
    said = {
        ("small", 2, name): Acknowledgement(
            ledger=UUID(int=7),
            model="small",
            sequence=2,
            version="2",
            worker=name,
            instance=instance,
            outcome=outcome,
            noticed_at=NOW,
            at=NOW + timedelta(seconds=1.5),
            reason=reason,
        )
        for name, instance, outcome, reason in (
            ("default/1", "b", Outcome.REFUSED, "a digest differs"),
            ("default/0", "a", Outcome.LIVE, None),
        )
    }
    crew = Crew((row(), row("default/1", instance="restarted")), said)
    swapped, refused = arrivals(head("promote 1", "promote 2"), crew)
    assert (swapped.worker, swapped.live, swapped.took_s, swapped.pause_s) == ("default/0", True, 1.5, 0.0002)
    assert (refused.live, refused.pause_s, refused.reason) == (False, None, "a digest differs")


# --- candidates ---------------------------------------------------------------------------------------------------


def test_each_candidate_says_how_it_stands_and_a_refused_one_which_gates_it_failed() -> None:
    runs = (
        run(4, "refused", **{"baton.gate.not-worse": "fail: auc 0.60 is below 0.67", "baton.gate.data": "pass: all"}),
        run(3, "refused", **{"baton.refused_by": "bob", "baton.purpose": "promotion"}),
        run(2),
        run(1),
    )
    versions = (version(1, 1), version(2, 2), version(3, 3), version(9, None, **{"baton.purpose": "dry_run"}))
    found = candidates_of(Kept(versions, runs), history("promote 1", "promote 2"))
    assert [(each.version, each.standing) for each in found] == [
        ("9", "candidate"),
        (None, "refused"),
        ("3", "refused"),
        ("2", "champion"),
        ("1", "superseded"),
    ]
    assert found[0].purpose == "dry_run"
    assert found[1].failed == (("not-worse", "auc 0.60 is below 0.67"),)
    assert (found[1].why, found[1].actor, found[1].data) == ("refused 4", "ada", ("2025-01-01", "2025-06-01"))
    assert found[2].refused_by == "bob"
    assert [each.version for each in promotable(found)] == ["9", "3"]


def test_a_registry_that_keeps_no_runs_still_has_candidates() -> None:
    found = candidates_of(Kept((version(1), version(2)), None), history("promote 1"))
    assert [(each.version, each.standing) for each in found] == [("2", "candidate"), ("1", "champion")]


def test_quality_is_drawn_by_interval_and_a_refused_run_is_marked() -> None:
    kept = Kept((), (evaluated(3, month=3, outcome="refused"), evaluated(2, month=2), evaluated(1, month=2)))
    (drawn,) = model_view(read("promote 1", registry=Seen(kept, NOW))).curves
    picture = parsed(drawn)
    assert picture.attrib["aria-label"] == "auc of small by interval"
    assert [dot.attrib["class"] for dot in picture.findall("circle")] == ["first", "bad"]


def test_without_runs_there_is_no_curve() -> None:
    assert model_view(read("promote 1", registry=Seen(Kept((version(1),), None), NOW))).curves == ()
    assert model_view(read("promote 1", registry=Seen(Kept((), (run(1),)), NOW))).curves == ()


# --- the whole ----------------------------------------------------------------------------------------------------


def test_the_timeline_is_newest_first_and_marks_what_was_rolled_back() -> None:
    found = model_view(read("promote 1", "promote 2", "rollback 1", "promote 3"))
    assert [(step.entry.sequence, step.undone_at) for step in found.timeline] == [
        (4, None),
        (3, None),
        (2, 3),
        (1, None),
    ]
    assert found.back is not None
    assert (found.back.version, found.earlier) == ("1", ("1", "2"))
    assert found.gates[0].verdict.gate == "quality"


def test_a_question_is_shown_with_who_may_answer_it() -> None:
    asked = {
        "task_instance": {"dag_run_id": "r1", "dag_id": "train_small"},
        "subject": "Promote version 3?",
        "body": "evidence",
        "created_at": "2026-01-04T00:00:00Z",
        "assigned_users": [{"id": "ada", "name": "Ada"}],
    }
    found = model_view(read("promote 1", questions=[asked])).questions
    assert [(each.run_id, each.askable) for each in found] == [("r1", ("ada",))]
    shown = card("small", DAG, Seen({"small": tuple(history("promote 1"))}), Seen(Crew((), {})), [asked])
    assert (shown.questions, shown.head is not None, shown.health.level) == (1, True, "bad")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_who_may_approve_stands_in_the_dag_as_the_factory_builds_it() -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    from baton_airflow.factory import build_dag, dag_id
    from baton_airflow.page.gather import dag_of
    from tests.support.training import definition
    from training.definition import Approval

    dag = build_dag(definition(approval=Approval(within=timedelta(hours=1), by=["ada"])))
    stored = DagSerialization.from_dict(DagSerialization.to_dict(dag)).get_task("approve")
    params = {name: param.dump() for name, param in stored.params.items()}  # type: ignore[no-untyped-call]
    assert approvers_of({"approve": {"params": params}}) == ("ada",)
    assert dag_of("fare") == dag_id("fare") == dag.dag_id


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("topics", [None, Topics(input="in", predictions="out", dead_letters="elsewhere")])
def test_the_topic_of_the_dead_letters_stands_in_the_dag_as_the_factory_builds_it(topics: Topics | None) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    from baton_airflow.factory import build_dag
    from tests.support.training import definition

    dag = build_dag(definition(topics=topics))
    stored = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    params = {name: param.dump() for name, param in stored.params.items()}  # type: ignore[no-untyped-call]
    assert dead_letters_of({"params": params}) == (topics or Topics.of("fare")).dead_letters
    assert dead_letters_of({"params": {}}) is None


def test_without_a_question_in_the_dag_nobody_is_asked() -> None:
    assert approvers_of({"pull": {}}) is None
    assert approvers_of({"approve": {"params": {}}}) == ()
