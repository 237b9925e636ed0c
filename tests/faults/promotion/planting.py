"""Runs named tests in a process in which a sentence of the protocol was left out.

One process imports everything once and is forked for every run, so that a run takes a second and leaves nothing.
"""

import atexit
import importlib
import os
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, Self

import msgspec
import pytest

from tests.support.deciders import PROJECT

_MARK = "outcomes: "


class Order(msgspec.Struct, frozen=True):
    """Run these tests, with a plant of a table (a module's ``PLANTS``) or without any."""

    plant: str | None
    tests: Sequence[str]
    table: str


class Outcome(msgspec.Struct, frozen=True):
    """What became of one test; ``said`` is why it failed."""

    passed: bool
    phase: str
    said: str = ""


class Planter:
    """The process that is forked. A context manager.

    Args:
        table: the module whose ``PLANTS`` are planted.
    """

    def __init__(self, table: str = "tests.faults.promotion.plants") -> None:
        self._table = table
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.promotion.planting"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=PROJECT,
            text=True,
        )

    def run(self, plant: str | None, tests: Sequence[str]) -> Mapping[str, Outcome]:
        """The outcome of each test; a parametrized one counts by its cases."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(Order(plant, tuple(tests), self._table)).decode() + "\n")
        self._process.stdin.flush()
        said = []
        for line in self._process.stdout:
            if line.startswith(_MARK):
                return msgspec.json.decode(line.removeprefix(_MARK), type=dict[str, Outcome])
            said.append(line)
        raise AssertionError(f"the planting process ended:\n{''.join(said)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


class Recorder:
    """A plugin that keeps the outcomes."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Outcome] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep the first phase that failed, else the call."""
        known = self.outcomes.get(report.nodeid)
        if (known is None or known.passed) and (report.failed or report.when == "call"):
            self.outcomes[report.nodeid] = Outcome(not report.failed, report.when, str(report.longrepr or "")[-400:])


def run_here(order: Order) -> dict[str, Outcome]:
    """Plant, then test; in a process that ends afterwards."""
    if order.plant is not None:
        importlib.import_module(order.table).PLANTS[order.plant].apply()
    recorder = Recorder()
    options = ["-q", "-p", "no:cacheprovider", "--no-header", "--no-summary", "-m", ""]
    pytest.main([*options, *order.tests], plugins=[recorder])
    return recorder.outcomes


def child(order: Order) -> None:
    """Do it, and write one line."""
    try:
        outcomes: object = run_here(order)
    except BaseException:
        outcomes = {"planting": Outcome(False, "planting", traceback.format_exc()[-2000:])}
    sys.stdout.write("\n" + _MARK + msgspec.json.encode(outcomes).decode() + "\n")
    sys.stdout.flush()


def serve() -> None:
    """Take orders, a line each, until there are no more."""
    import tests.faults.promotion.plants
    import tests.support.arena
    import tests.support.simulated_kafka  # noqa: F401

    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            child(msgspec.json.decode(line, type=Order))
            atexit._run_exitfuncs()
            os._exit(0)
        if os.waitpid(pid, 0)[1]:  # ended by a test that hung: it told nothing
            silent = {"planting": Outcome(False, "planting", "the process ended without a word")}
            sys.stdout.write("\n" + _MARK + msgspec.json.encode(silent).decode() + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    serve()
