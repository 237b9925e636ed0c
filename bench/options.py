"""The command line that all benches share."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.measurements import RESULTS, Results, new_run, newest_run

SINGLE_THREADED = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def parser(name: str, description: str, *, rounds: int) -> argparse.ArgumentParser:
    """A parser with the options that every bench has."""
    made = argparse.ArgumentParser(
        prog=f"python -m bench.{name}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--rounds", type=int, default=rounds, help=f"how often everything is measured (default {rounds})")
    made.add_argument("--seed", type=int, default=1, help="of the flights that are drawn, and of the order in a round")
    made.add_argument("--run", help="name of the run; one that is there already goes on (default: a new one)")
    made.add_argument("--short", action="store_true", help="a form of under a minute, to see that it works")
    made.add_argument("--results", type=Path, default=RESULTS / f"{name}.jsonl", help="file of JSON lines")
    made.add_argument("--no-record", action="store_true", help="write neither lines nor pictures")
    made.add_argument(
        "--summary", action="store_true", help="measure nothing; tell what the newest run, or --run, found"
    )
    return made


def results_of(options: argparse.Namespace) -> Results:
    """The results file and the run that the options ask for."""
    run = options.run or (newest_run(options.results) if options.summary else None) or new_run()
    if options.summary and newest_run(options.results) is None:
        sys.exit(f"bench: {options.results} has no measurements yet")
    return Results(options.results, run, recording=not options.no_record)


def chosen(names: str | None, known: Sequence[str]) -> list[str]:
    """A comma-separated choice among the known names; all where there is none."""
    wanted = [name.strip() for name in names.split(",")] if names else [*known]
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        sys.exit(f"bench: {', '.join(unknown)} is none of {', '.join(known)}")
    return wanted


def settle() -> None:
    """At the very start: SIGTERM ends what was started, too, and numpy's and scikit-learn's threads do not spin."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    os.environ.update({name: value for name, value in SINGLE_THREADED.items() if name not in os.environ})
