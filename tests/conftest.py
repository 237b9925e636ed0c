"""What all tests share: a clean environment, a broker, and no process left behind."""

import os

import pytest

from local.environment import POLLUTION, QUIET
from tests.support import airflow_home
from tests.support.leftovers import RUN_MARKER, end_processes_of_dead_runs, end_processes_of_this_run

pytest_plugins = ["tests.support.broker", "tests.support.postgres"]


def _clean_environment() -> None:
    """Take the caller's settings away, and give Airflow a home of its own before anything imports it."""
    for name in [name for name in os.environ if name.startswith(("BATON_", *POLLUTION))]:
        del os.environ[name]
    os.environ.update(QUIET)
    os.environ[RUN_MARKER] = str(os.getpid())
    airflow_home.prepare()


_clean_environment()


def pytest_sessionstart() -> None:
    end_processes_of_dead_runs()


def pytest_sessionfinish(session: pytest.Session) -> None:
    left = end_processes_of_this_run()
    if left and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print("\nprocesses left behind by tests:", *left, sep="\n  ")
