"""A process that promotes a version and writes its copies, and kills itself at a named step."""

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from scoring.contract.envelope import Keyring
from scoring.promotion import publisher
from scoring.promotion.decide import promote
from scoring.promotion.entry import Proposal
from scoring.promotion.ledger import Ledger
from scoring.promotion.notices import KafkaNotices
from scoring.promotion.repair import repair
from scoring.registry.folder import FolderRegistry
from scoring.registry.open import open_registry
from tests.support.decisions import KEYRING, proposal

# In the order in which a promotion comes by them.
STEPS = ("read-back", "decided", "fenced", "produced", "committed", "aliased", "never")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying_after(owner: Any, name: str) -> None:
    """Let the process die when the call that it makes next to ``owner.name`` has returned."""
    called: Callable[..., Any] = getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        result = called(*args, **kwargs)
        die()
        return result

    setattr(owner, name, call)


def dying_before_commit() -> None:
    """Die inside the transaction, when the notice has reached the broker."""
    step = publisher.Publisher._step

    def call(self: publisher.Publisher, doing: str, action: Any) -> None:
        if doing.startswith("committing"):
            self._producer.flush(10)
            die()
        step(self, doing, action)

    publisher.Publisher._step = call  # type: ignore[method-assign, assignment]


def plan(step: str) -> None:
    match step:
        case "read-back":
            from scoring.promotion import decide

            dying_after(decide, "read_back")
        case "decided":
            dying_after(Ledger, "decide")
        case "fenced":
            dying_after(publisher.Publisher, "__enter__")
        case "produced":
            dying_before_commit()
        case "committed":
            dying_after(publisher.Publisher, "publish")
        case "aliased":
            dying_after(FolderRegistry, "set_alias")


def run(task: dict[str, Any], keyring: Keyring = KEYRING) -> None:
    """Promote and write the copies, as a pipeline's run does."""
    ledger, registry = Ledger.open(task["ledger"]), open_registry(task["registry"])
    made: Proposal = proposal(
        task["version"], model=task["model"], parent=task["parent"], run_id=task["run_id"], digest=task["digest"]
    )
    promote(ledger, registry, made)
    board = KafkaNotices({"bootstrap.servers": task["bootstrap"]}, keyring, ledger, topic=task["topic"])
    repair(task["model"], ledger, registry, board)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    plan(given["step"])
    run(given)
