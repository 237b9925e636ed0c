"""What the two pages show: plain values made from what was read, without I/O."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from baton_airflow.page.airflow import APPROVE_TASK
from baton_airflow.page.candidates import Candidate, candidates_of, promotable
from baton_airflow.page.forms import Field, fields_of
from baton_airflow.page.gauge import gauge
from baton_airflow.page.listening import Crew
from baton_airflow.page.reading import History, Kept, Letters
from baton_airflow.page.serving import Arrival, Health, Stream, arrivals, health, stream
from baton_airflow.page.source import Seen
from scoring.contract.digest import digest_of
from scoring.contract.notice import Kind
from scoring.contract.verdict import Verdict
from scoring.promotion.entry import LedgerEntry
from scoring.promotion.rules import previous_champion, rolled_back
from scoring.worker.fleet import Row
from training.quality.drawing import curve
from training.quality.intervals import intervals, metrics_in

Json = Any
# The metrics that the gates compare come first.
MAXIMUM_CURVES = 2
MAXIMUM_CANDIDATES = 20
# Of a curve: its text stays readable on a phone.
_WIDTH, _HEIGHT = 480, 220


class Card(msgspec.Struct, frozen=True):
    """One model on the page of all models."""

    model: str
    dag_id: str
    description: str
    head: LedgerEntry | None
    health: Health
    stream: Stream
    questions: int
    paused: bool


class Gate(msgspec.Struct, frozen=True):
    """A verdict with its picture."""

    verdict: Verdict
    picture: str


class Step(msgspec.Struct, frozen=True):
    """An entry of the ledger on the timeline; ``undone_at`` is the sequence that rolled it back."""

    entry: LedgerEntry
    undone_at: int | None


class Question(msgspec.Struct, frozen=True):
    """What a run asks a person.

    Attributes:
        askable: the ids of those who may answer, empty for all who have the right.
        shown: stands for the text; an answer repeats it, so that it counts for no other question.
    """

    run_id: str
    subject: str
    body: str
    asked_at: str
    askable: tuple[str, ...]
    shown: str


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was read for the page of one model. What Airflow does not give is None."""

    model: str
    dag_id: str
    now: datetime
    history: Seen[History]
    registry: Seen[Kept]
    crew: Seen[Crew]
    letters: Seen[Letters]
    dag: Json = None
    runs: Sequence[Json] = ()
    questions: Sequence[Json] = ()
    tasks: Mapping[str, Json] = {}
    airflow_problem: str | None = None


class Blind(msgspec.Struct, frozen=True):
    """Something that cannot be seen now.

    Attributes:
        at: the moment of what is shown instead; None where there is nothing.
        slow: whether it may still come.
    """

    name: str
    why: str
    at: datetime | None = None
    slow: bool = False


class ModelView(msgspec.Struct, frozen=True, kw_only=True):
    """The page of one model.

    Attributes:
        blind: what cannot be seen now.
        head: the ledger's newest entry.
        back: the entry whose version a rollback goes to.
        earlier: versions that were champion before, newest first.
        curves: quality by interval, as SVG.
        approvers: who alone may approve; None where nobody is asked, empty for all who have the right.
    """

    model: str
    dag_id: str
    description: str
    now: datetime
    blind: tuple[Blind, ...]
    head: LedgerEntry | None
    gates: tuple[Gate, ...]
    curves: tuple[str, ...]
    timeline: tuple[Step, ...]
    candidates: tuple[Candidate, ...]
    promotable: tuple[Candidate, ...]
    back: LedgerEntry | None
    earlier: tuple[str, ...]
    health: Health
    stream: Stream
    workers: tuple[Row, ...]
    arrivals: tuple[Arrival, ...]
    letters: Letters | None
    questions: tuple[Question, ...]
    runs: Sequence[Json]
    fields: tuple[Field, ...]
    paused: bool
    approvers: tuple[str, ...] | None


def card(model: str, dag: Json, history: Seen[History], crew: Seen[Crew], questions: Sequence[Json]) -> Card:
    """The card of one model."""
    entries = (history.value or {}).get(model, ())
    head = entries[-1] if entries else None
    rows = crew.value.of(model) if crew.value else ()
    asked = sum(1 for each in questions if each["task_instance"]["dag_id"] == dag["dag_id"])
    return Card(
        model=model,
        dag_id=dag["dag_id"],
        description=dag.get("description") or "",
        head=head,
        health=_health(head, rows, history, crew),
        stream=stream(rows),
        questions=asked,
        paused=bool(dag.get("is_paused")),
    )


def model_view(read: Read) -> ModelView:
    """The page of one model."""
    entries = (read.history.value or {}).get(read.model, ())
    head = entries[-1] if entries else None
    rows = read.crew.value.of(read.model) if read.crew.value else ()
    kept = read.registry.value
    found = candidates_of(kept, entries) if kept else ()
    dag = read.dag or {}
    return ModelView(
        model=read.model,
        dag_id=read.dag_id,
        description=dag.get("description") or "",
        now=read.now,
        blind=tuple(_blind(read)),
        head=head,
        gates=tuple(Gate(verdict, gauge(verdict)) for verdict in (head.evidence if head else ())),
        curves=_curves(read.model, kept),
        timeline=_timeline(entries),
        candidates=found[:MAXIMUM_CANDIDATES],
        promotable=promotable(found),
        back=previous_champion(entries),
        earlier=_earlier(entries),
        health=_health(head, rows, read.history, read.crew),
        stream=stream(rows),
        workers=rows,
        arrivals=arrivals(head, read.crew.value) if read.crew.value else (),
        letters=read.letters.value,
        questions=tuple(_question(each) for each in read.questions),
        runs=read.runs,
        fields=fields_of(dag.get("params") or {}),
        paused=bool(dag.get("is_paused")),
        approvers=approvers_of(read.tasks),
    )


def approvers_of(tasks: Mapping[str, Json]) -> tuple[str, ...] | None:
    """The ids of those who alone may approve; empty for all who have the right, None where nobody is asked."""
    task = tasks.get(APPROVE_TASK)
    if task is None:
        return None
    reason = (task.get("params") or {}).get("reason") or {}
    return tuple((reason.get("schema") or {}).get("approvers") or ())


def dead_letters_of(dag: Json) -> str | None:
    """The topic of a model's dead letters, as its DAG's form carries it; None of a DAG that does not say."""
    reason = (dag.get("params") or {}).get("reason") or {}
    return (reason.get("schema") or {}).get("dead_letters")


def _health(head: LedgerEntry | None, rows: Sequence[Row], history: Seen[History], crew: Seen[Crew]) -> Health:
    """Nothing is claimed of what cannot be seen."""
    if history.problem and history.value is None:
        return Health("unknown", "The ledger cannot be read now, so nobody here knows which version is meant to score.")
    if crew.problem:
        return Health(
            "unknown", "The workers cannot be heard now. They go on scoring: nothing here is needed for that."
        )
    return health(head, rows)


def _blind(read: Read) -> Iterator[Blind]:
    seen: tuple[tuple[str, Seen[Any]], ...] = (
        ("The ledger", read.history),
        ("The registry", read.registry),
        ("The workers", read.crew),
        ("The dead letters", read.letters),
    )
    for name, each in seen:
        if each.problem:
            yield Blind(name, each.problem, each.at, each.slow)
    if read.airflow_problem:
        yield Blind("Airflow", read.airflow_problem)


def _curves(model: str, kept: Kept | None) -> tuple[str, ...]:
    """Quality by interval, as ``baton quality`` draws it; none where the registry keeps no runs."""
    runs = kept.runs or () if kept else ()
    drawn = (curve(model, *intervals(runs, metric), _WIDTH, _HEIGHT) for metric in metrics_in(runs)[:MAXIMUM_CURVES])
    return tuple(each for each in drawn if each)


def _timeline(entries: Sequence[LedgerEntry]) -> tuple[Step, ...]:
    taken_back = rolled_back(entries)
    steps = []
    for entry in reversed(entries):
        by = taken_back.get(entry.manifest_digest)
        steps.append(Step(entry, by.sequence if by and by.sequence > entry.sequence else None))
    return tuple(steps)


def _earlier(entries: Sequence[LedgerEntry]) -> tuple[str, ...]:
    present = entries[-1].version if entries and entries[-1].kind is not Kind.RETIRE else None
    versions = dict.fromkeys(entry.version for entry in reversed(entries))
    return tuple(version for version in versions if version != present)


def _question(found: Json) -> Question:
    return Question(
        run_id=found["task_instance"]["dag_run_id"],
        subject=found["subject"],
        body=found.get("body") or "",
        asked_at=found["created_at"],
        askable=tuple(user["id"] for user in found.get("assigned_users") or ()),
        shown=shown_of(found),
    )


def shown_of(found: Json) -> str:
    """Stands for what a question of Airflow's shows to a person."""
    return digest_of(msgspec.json.encode([found["subject"], found.get("body") or "", found["created_at"]]))
