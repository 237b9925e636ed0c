"""A process that decides, writes the copies and waits for the workers, and kills itself at a named step."""

import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from scoring.contract.envelope import Keyring
from scoring.contract.topics import NOTICES
from scoring.promotion import convergence, decide, publisher, repair
from scoring.promotion.entry import LedgerEntry
from scoring.promotion.ledger import Ledger
from scoring.promotion.notices import KafkaNotices
from scoring.promotion.observer import Answer
from scoring.registry.open import open_registry
from scoring.registry.port import Registry
from tests.support.decisions import KEYRING, proposal

# In the order in which a promotion comes by them, from the decision to the last acknowledgement.
BEFORE_THE_DECISION = ("before-read-back", "read-back", "inserted")
AFTER_THE_DECISION = (
    "decided",
    "compared",
    "before-fencing",
    "fenced",
    "head-read",
    "begun",
    "queued",
    "produced",
    "committing",
    "committed",
    "before-alias",
    "aliased",
    "repaired",
    "waiting",
    "looked",
    "partly-live",
    "settled",
)
STEPS = (*BEFORE_THE_DECISION, *AFTER_THE_DECISION, "never")
# Wherever the process is when its time is up; not a step that it comes by.
ANYWHERE = "anywhere"
# A commit takes a few milliseconds: the kill falls before, inside or behind it.
COMMIT_S = 0.006


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What the process does, and where it dies.

    Attributes:
        keys: the signing keys' file; None are the keys of the unit tests.
        kind: ``promote``, or ``rollback`` to ``version``.
        delay_s: with ``anywhere``, when it dies; with ``committing``, how far into the commit, from 0 to 1.
        limit_s: how long it waits for the workers; None does not wait.
    """

    step: str
    ledger: str
    registry: str
    bootstrap: str
    model: str
    version: str
    digest: str
    parent: int
    run_id: str
    keys: str | None = None
    kind: str = "promote"
    topic: str = NOTICES
    delay_s: float = 0.5
    limit_s: float | None = None


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it where it lived to tell."""

    sequence: int
    version: str
    standing: str | None


def die() -> None:
    """SIGKILL: nothing is flushed, closed or rolled back by the process itself."""
    os.kill(os.getpid(), signal.SIGKILL)


def dying_before(owner: Any, name: str) -> None:
    """Let the process die when it is about to call ``owner.name``."""

    def call(*_: Any, **__: Any) -> None:
        die()

    setattr(owner, name, call)


def dying_after(owner: Any, name: str, when: Callable[[Any], bool] = lambda _: True) -> None:
    """Let the process die when a call to ``owner.name`` has returned what ``when`` is looking for."""
    called: Callable[..., Any] = getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        result = called(*args, **kwargs)
        if when(result):
            die()
        return result

    setattr(owner, name, call)


def dying_at_commit(before: Callable[[Any], None]) -> None:
    """Do something with the producer when its transaction is about to be committed."""
    step = publisher.Publisher._step

    def call(self: publisher.Publisher, doing: str, action: Any) -> None:
        if doing.startswith("committing"):
            before(self._producer)
        step(self, doing, action)

    publisher.Publisher._step = call  # type: ignore[method-assign, assignment]


def delivered(producer: Any) -> None:
    """Die inside the transaction, when the notice has reached the broker."""
    producer.flush(10)
    die()


def plan(task: Task, registry: Registry) -> None:
    """Arrange the process's end."""
    after: dict[str, tuple[Any, str]] = {
        "read-back": (decide, "read_back"),
        "inserted": (Ledger, "_decide"),
        "decided": (Ledger, "decide"),
        "compared": (KafkaNotices, "newest"),
        "fenced": (publisher.Publisher, "__enter__"),
        "queued": (publisher.Publisher, "_produce"),
        "committed": (publisher.Publisher, "publish"),
        "aliased": (type(registry), "set_alias"),
        "repaired": (repair, "repair"),
        "waiting": (convergence.Follower, "__init__"),
        "looked": (convergence.Follower, "step"),
    }
    before: dict[str, tuple[Any, str]] = {
        "before-read-back": (decide, "read_back"),
        "before-fencing": (publisher.Publisher, "__enter__"),
        "head-read": (publisher, "sealed_notice"),
        "begun": (publisher.Publisher, "_produce"),
        "before-alias": (type(registry), "set_alias"),
    }
    match task.step:
        case "produced":
            dying_at_commit(delivered)
        case "committing":
            dying_at_commit(lambda _: _die_in(task.delay_s * COMMIT_S))
        case "partly-live":
            dying_after(convergence.Follower, "step", _partly_live)
        case "settled":
            dying_after(convergence.Follower, "step", lambda answer: answer.settled)
        case "anywhere":
            _die_in(task.delay_s)
        case step if step in after:
            dying_after(*after[step])
        case step if step in before:
            dying_before(*before[step])


def run(task: Task) -> Done:
    """Decide, write the copies and wait, as a pipeline's run does."""
    keyring = _keyring(task.keys)
    ledger, registry = Ledger.open(task.ledger), open_registry(task.registry)
    plan(task, registry)
    entry = _decide(task, ledger, registry)
    kafka = {"bootstrap.servers": task.bootstrap}
    repair.repair(task.model, ledger, registry, KafkaNotices(kafka, keyring, ledger, topic=task.topic))
    standing = None
    if task.limit_s is not None:
        answer = convergence.wait_until_converged(
            entry, ledger=ledger, kafka=kafka, keyring=keyring, limit_s=task.limit_s
        )
        standing = answer.standing.value
    return Done(sequence=entry.sequence, version=entry.version, standing=standing)


def _decide(task: Task, ledger: Ledger, registry: Registry) -> LedgerEntry:
    if task.kind == "rollback":
        return decide.rollback(
            ledger,
            registry,
            task.model,
            actor="tester",
            reason="a campaign",
            run_id=task.run_id,
            to_version=task.version,
        )
    made = proposal(task.version, model=task.model, parent=task.parent, run_id=task.run_id, digest=task.digest)
    return decide.promote(ledger, registry, made)


def _partly_live(answer: Answer) -> bool:
    return not answer.settled and any(view.arrived for view in answer.workers)


def _die_in(seconds: float) -> None:
    timer = threading.Timer(seconds, die)
    timer.daemon = True
    timer.start()


def _keyring(path: str | None) -> Keyring:
    if path is None:
        return KEYRING
    return Keyring.from_json(Path(path).read_bytes())


def seeded_delay(chooser: random.Random, step: str, longest_s: float) -> float:
    """A delay for a task: a moment of the process's life, or a share of the commit's time."""
    return chooser.uniform(0.0, longest_s if step == ANYWHERE else 1.0)


if __name__ == "__main__":
    run(msgspec.json.decode(sys.argv[1], type=Task))
