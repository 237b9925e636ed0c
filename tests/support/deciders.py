"""Processes that decide at the same time: each gets ready, waits for the word, acts, and prints what came of it."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

PROJECT = Path(__file__).parent.parent.parent
Act = Callable[[], object]
"""What a process does at the word."""


def at_once(action: str, url: str, count: int, *arguments: str) -> list[object]:
    """Run ``count`` processes of ``action`` that start acting together; their results in the order of their numbers."""
    processes = [_start(action, url, str(number), *arguments) for number in range(count)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.flush()
        return [_result(process) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def _start(*arguments: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "tests.support.deciders", *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PROJECT)


def _result(process: "subprocess.Popen[bytes]") -> object:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, f"a decider ended with status {process.returncode}"
    return json.loads(output)


def promote_until(url: str, who: str, rounds: str) -> Act:
    """Promote on every head until there are so many entries: the sequences won, and how often it lost.

    The ledger is opened before the word, which takes longer than all the decisions.
    """
    from scoring.promotion.ledger import Ledger
    from scoring.promotion.rules import LostRace
    from tests.support.decisions import proposal

    ledger = Ledger.open(url)

    def act() -> object:
        won, lost = list[int](), 0
        while (parent := head.sequence if (head := ledger.head("small")) else 0) < int(rounds):
            try:
                won.append(ledger.decide(proposal(f"{who}-{parent}", parent=parent)).sequence)
            except LostRace as error:
                lost += error.head is not None and error.head.sequence > parent
        return {"won": won, "lost": lost}

    return act


def make(url: str, _: str) -> Act:
    """Make the ledger, and say who it is."""
    from scoring.promotion.ledger import Ledger

    return lambda: str(Ledger.open(url).identity())


def retry(url: str, _: str) -> Act:
    """Make the one decision of the one run."""
    from scoring.promotion.ledger import Ledger
    from tests.support.decisions import proposal

    return lambda: Ledger.open(url).decide(proposal("1", run_id="the-run")).sequence


def main(arguments: Sequence[str]) -> None:
    action, *rest = arguments
    import alembic.command  # noqa: F401 - what takes long is done before the word
    import psycopg  # noqa: F401

    import scoring.promotion.ledger  # noqa: F401
    import tests.support.decisions  # noqa: F401

    actions: dict[str, Callable[..., Act]] = {"promote": promote_until, "make": make, "retry": retry}
    act = actions[action](*rest)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    sys.stdout.write(json.dumps(act()))


if __name__ == "__main__":
    main(sys.argv[1:])
