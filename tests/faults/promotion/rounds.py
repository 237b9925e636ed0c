"""The rounds of the campaigns: one kill, or one contest, and everything that must be true after it."""

import random
import re
import signal
import time
from pathlib import Path
from typing import Any

import msgspec

from scoring.contract.notice import Kind
from scoring.contract.topics import NOTICES
from scoring.promotion.repair import compare
from scoring.promotion.rules import previous_champion
from tests.faults.promotion.nursery import Child
from tests.faults.promotion.theatre import Theatre
from tests.support.arena import wait_until_settled
from tests.support.promoter import (
    AFTER_THE_DECISION,
    ANYWHERE,
    BEFORE_THE_DECISION,
    Done,
    Task,
    seeded_delay,
)

KILLS = (*BEFORE_THE_DECISION, *AFTER_THE_DECISION, ANYWHERE, ANYWHERE)
# Who puts things right: the command, the command after one that was killed as well, or the task's own retry.
MENDERS = ("reconcile", "reconcile", "killed reconcile", "retry")
CONTESTS = ("race", "race", "twins", "open", "open", "undo")
CONTESTANTS = 8
PATIENCE_S = 90.0
# A promotion takes about so long; a kill "anywhere" falls into that time.
PROMOTION_S = 1.2
RECONCILE_S = 0.4
WAIT_LIMIT_S = 60.0
# Where real workers are quicker than the process that waits for them, it never sees them halfway.
MAY_SURVIVE = {ANYWHERE, "partly-live"}
HESITATION_S = 3.0

Line = dict[str, Any]


def first_promotion(theatre: Theatre, model: str) -> None:
    """Give the model a champion."""
    task = _task(theatre, model, "never", random.Random(0), run_id="first")
    _finished(theatre.nursery.start(task=task))
    theatre.agree(model)


# --- kills --------------------------------------------------------------------------------------------------------


def kill_round(theatre: Theatre, model: str, number: int, seed: int) -> Line:
    """Kill a deciding process at a step, put things right, hold everything together, and retry the task."""
    chooser = random.Random(f"kill/{seed}/{number}")
    step, mender = chooser.choice(KILLS), chooser.choice(MENDERS)
    before = theatre.head(model)
    task = _task(theatre, model, step, chooser, run_id=f"run-{seed}-{number}")
    theatre.hesitate(model, HESITATION_S if step == "partly-live" else 0.0)
    child = theatre.nursery.start(task=task)
    status = child.wait(PATIENCE_S)
    survived = status == 0 and step in MAY_SURVIVE
    assert status == -signal.SIGKILL or survived, f"{step}: ended with {status}\n{child.said}"
    decided = _decided(theatre, model, before, step)
    began_s = time.monotonic()
    if mender == "retry":
        after_s = _retry(theatre, task, before + 1)
        agreed_s = time.monotonic() - began_s
    else:
        _reconcile(theatre, model, chooser if mender == "killed reconcile" else None)
        after_s = theatre.agree(model)
        agreed_s = time.monotonic() - began_s
        assert theatre.head(model) == before + decided, "reconciling decided something"
        _retry(theatre, task, before + 1)
    return {
        "kind": task.kind,
        "step": step,
        "killed": status != 0,
        "decided": decided,
        "by": mender,
        "agreed_s": round(agreed_s, 2),  # from the kill on
        "after_s": round(after_s, 2),  # from the end of what put things right
    }


def _task(theatre: Theatre, model: str, step: str, chooser: random.Random, *, run_id: str) -> Task:
    target = previous_champion(theatre.ledger.entries(model)) if chooser.random() < 0.1 else None
    if target is not None:
        kind, version, digest = Kind.ROLLBACK, target.version, target.manifest_digest
    else:
        kind, (version, digest) = Kind.PROMOTE, theatre.register(model)
    return Task(
        step=step,
        ledger=theatre.ledger_url,
        registry=theatre.registry_uri,
        bootstrap=theatre.bootstrap,
        keys=str(theatre.keys),
        model=model,
        kind=kind.value,
        version=version,
        digest=digest,
        parent=theatre.head(model),
        run_id=run_id,
        delay_s=seeded_delay(chooser, step, PROMOTION_S),
        limit_s=WAIT_LIMIT_S,
    )


def _decided(theatre: Theatre, model: str, before: int, step: str) -> bool:
    """Whether the killed process had decided: the step says so, and never more than one decision."""
    decided = theatre.head(model) - before
    assert decided in {0, 1}, f"{decided} decisions by one process"
    if step != ANYWHERE:
        assert decided == (step in AFTER_THE_DECISION), f"killed at {step}: {decided} decisions"
    return bool(decided)


def _reconcile(theatre: Theatre, model: str, chooser: random.Random | None) -> None:
    arguments = ["reconcile", model]  # without a name it would mend what other lanes have just broken
    if chooser is not None:
        killed = theatre.nursery.start(arguments=arguments)
        time.sleep(chooser.uniform(0.0, RECONCILE_S))  # where the kill falls is what the seed decides
        killed.kill()
        killed.wait(PATIENCE_S)
    _finished(theatre.nursery.start(arguments=arguments))


def _retry(theatre: Theatre, task: Task, sequence: int) -> float:
    """The task again, as a scheduler would: it ends well, and never makes a second decision.

    Returns:
        seconds from its end to agreement.
    """
    child = theatre.nursery.start(task=msgspec.structs.replace(task, step="never"))
    _finished(child)
    done = msgspec.json.decode(child.said, type=Done)
    assert done.sequence == sequence, f"the retry says {done}, not sequence {sequence}"
    assert done.standing == "converged", done
    after_s = theatre.agree(task.model)
    assert theatre.head(task.model) == sequence, "the retry decided again"
    return after_s


def _finished(child: Child) -> None:
    status = child.wait(PATIENCE_S)
    assert status == 0, f"{child.errand.arguments or child.errand.task} ended with {status}\n{child.said}"


# --- contests -----------------------------------------------------------------------------------------------------


class Contest:
    """Eight processes that begin together; ``runs`` names each one's run."""

    def __init__(self, theatre: Theatre, model: str, gate: Path) -> None:
        self.theatre = theatre
        self.model = model
        self.gate = gate
        self.before = theatre.head(model)
        self.runs: dict[str, list[str]] = {}

    def enter(self, run: str, *arguments: str) -> None:
        """Add a contestant: a command without its run id."""
        self.runs[run] = [*arguments, "--run-id", run.partition("#")[0], "--reason", "a contest"]

    def promote(self, run: str, version: str, *more: str) -> None:
        """Add one that promotes."""
        self.enter(run, "promote", self.model, version, *more)

    def go(self) -> dict[str, Child]:
        """Let all begin together; returns them by run when all have ended."""
        import fcntl

        with self.gate.open("wb") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            children = {
                run: self.theatre.nursery.start(arguments=arguments, gate=self.gate)
                for run, arguments in self.runs.items()
            }
            for child in children.values():
                assert child.ready.wait(PATIENCE_S), "a contestant never got ready"
        for child in children.values():
            child.wait(PATIENCE_S)
        return children


def contest_round(theatre: Theatre, model: str, number: int, seed: int) -> Line:
    """Let eight processes decide at once, and hold what they say against the ledger."""
    chooser = random.Random(f"contest/{seed}/{number}")
    form = chooser.choice(CONTESTS)
    prefix = f"{form}-{seed}-{number}"
    contest = Contest(theatre, model, theatre.folder / f"gate-{number}")
    expected = _enter(contest, form, prefix, chooser)
    head = theatre.head(model)
    began_s = time.monotonic()
    children = contest.go()
    seconds = time.monotonic() - began_s
    won = [run for run, child in children.items() if child.status == 0]
    lost = [run for run in children if run not in won]
    for run in lost:
        _check_loser(children[run])
    _check_winners(theatre, model, head, won)
    if expected is not None:
        told = (len(won), theatre.head(model) - head)
        assert told == expected, f"{form}: told that they won, and new entries: {told}, must be {expected}"
    if form == "undo":
        _check_undone(theatre, model, prefix)
    # Each of them compared and repaired until the copies were equal; nobody else did.
    wait_until_settled(theatre.bootstrap, NOTICES)
    found = compare(model, theatre.ledger, theatre.registry, theatre.board.newest())
    assert found.equal, f"after {form} the copies differ: {found}"
    agreed_s = theatre.agree(model)
    return {
        "form": form,
        "won": len(won),
        "lost": len(lost),
        "entries": theatre.head(model) - contest.before,
        "seconds": round(seconds, 2),
        "agreed_s": round(agreed_s, 2),
    }


def _enter(contest: Contest, form: str, prefix: str, chooser: random.Random) -> tuple[int, int] | None:
    """Add the contestants; returns how many must be told that they won, and how many entries they make, if certain."""
    theatre, model = contest.theatre, contest.model
    match form:
        case "race":  # all were evaluated against the same champion
            for who in range(CONTESTANTS):
                contest.promote(f"{prefix}-{who}", theatre.register(model)[0], "--on", str(contest.before))
            return 1, 1
        case "twins":  # one task, started eight times
            version = theatre.register(model)[0]
            for who in range(CONTESTANTS):
                contest.promote(f"{prefix}#{who}", version)
            return CONTESTANTS, 1
        case "open":  # each takes the champion that it finds; some roll back
            for who in range(CONTESTANTS):
                if chooser.random() < 0.25:
                    contest.enter(f"{prefix}-{who}", "rollback", model)
                else:
                    contest.promote(f"{prefix}-{who}", theatre.register(model)[0])
            return None
        case "undo":  # a promotion, its rollback, and then the retries of both
            version = theatre.register(model)[0]
            first = ["--run-id", f"{prefix}-run", "--reason", "a contest"]
            back = ["--run-id", f"{prefix}-back", "--reason", "a contest"]
            _finished(theatre.nursery.start(arguments=["promote", model, version, *first]))
            _finished(theatre.nursery.start(arguments=["rollback", model, *back]))
            for who in range(CONTESTANTS // 2):
                contest.promote(f"{prefix}-run#{who}", version)
                contest.enter(f"{prefix}-back#{who}", "rollback", model)
            return CONTESTANTS, 0
    raise ValueError(form)


def _check_undone(theatre: Theatre, model: str, prefix: str) -> None:
    """Retries of a promotion that was rolled back left the rollback on top, and another run cannot undo it either."""
    made, back = theatre.ledger.entries(model)[-2:]
    assert (made.run_id, back.run_id) == (f"{prefix}-run", f"{prefix}-back")
    again = theatre.nursery.start(arguments=["promote", model, made.version, "--reason", "again"])
    assert again.wait(PATIENCE_S) == 1, again.said
    _check_loser(again)
    assert theatre.head(model) == back.sequence


def _check_loser(child: Child) -> None:
    """A loser is told in one line, by exit status 1."""
    said = child.said
    assert child.status == 1, f"a loser ended with {child.status}: {said}"
    assert re.search(r"^baton: .* (now has sequence|champion already|rolled back at|no champion before)", said), said


def _check_winners(theatre: Theatre, model: str, head: int, won: list[str]) -> None:
    """Exactly those who were told so have an entry, each one; a retry has the entry of its run."""
    entries = theatre.ledger.entries(model)
    assert [entry.sequence for entry in entries] == list(range(1, len(entries) + 1))
    runs = {run.partition("#")[0] for run in won}
    new = [entry.run_id for entry in entries if entry.sequence > head]
    assert set(new) <= runs, f"entries of {new}, but only {sorted(runs)} were told that they won"
    assert len(new) == len(set(new))
    decided = {entry.run_id for entry in entries}
    assert runs <= decided, f"{sorted(runs - decided)} were told that they won and have no entry"
