"""Run fault campaigns of the sink, in chunks, and append a line for each round to a results file.

Each chunk has a broker, a PostgreSQL server and sinks of its own. A round depends on its kind, seed and number alone,
so a campaign that was interrupted goes on where it was; what stands in the results file is not run again.
"""

import faulthandler
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import click

from tests.faults.daemon.campaign import Results, missing
from tests.faults.sink.rounds import database_round, postgres_round, sqlite_round, zombie_round
from tests.faults.sink.stage import Stage, stage


class Kind(NamedTuple):
    """A kind of round, and how much is hurt in one."""

    run: Callable[[Stage, int, int, int], dict[str, Any]]
    actions: int


KINDS = {
    "sqlite": Kind(sqlite_round, 30),
    "postgres": Kind(postgres_round, 30),
    "database": Kind(database_round, 15),
    "zombie": Kind(zombie_round, 6),
}
RESULTS = Path(__file__).parents[3] / "bench" / "results" / "sink-faults.jsonl"


def run_campaign(
    results: Results, kinds: list[str], *, rounds: int, seed: int, actions: int | None, minutes: float
) -> list[str]:
    """Run what is missing of ``rounds`` rounds of each kind for at most ``minutes``; returns what failed."""
    deadline = time.monotonic() + minutes * 60
    todo = sorted(missing(results, kinds, rounds), key=lambda work: work[1])
    click.echo(f"{len(todo)} rounds are left")
    if not todo:
        return []
    folder = Path(tempfile.mkdtemp(prefix="baton-sink-"))
    failures: list[str] = []
    with ExitStack() as stack:
        stack.callback(lambda: None if failures else shutil.rmtree(folder, ignore_errors=True))
        ground = stack.enter_context(stage(folder))
        for kind, number in todo:
            if time.monotonic() > deadline:
                break
            try:
                line = KINDS[kind].run(ground, number, seed, actions or KINDS[kind].actions)
            except Exception as error:
                failures.append(f"{kind} round {number}: {str(error)[:2000]}")
                results.append(kind, number, failure=str(error)[:2000])
                click.echo(f"{traceback.format_exc()}\nlogs and records are kept in {folder}")
                return failures
            results.append(kind, number, **line)
            click.echo(f"{kind} {number}: {line}")
            ground.clear()
    return failures


@click.command()
@click.option("--rounds", default=4, show_default=True, help="Rounds of each kind in all, with those done before.")
@click.option("--seed", default=1, show_default=True)
@click.option("--kinds", default=",".join(KINDS), show_default=True, help="Comma-separated.")
@click.option("--actions", type=click.IntRange(1), help="Kills or freezes in a round; each kind has its own number.")
@click.option("--minutes", default=7.5, show_default=True, help="No round is begun after that; run again to go on.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="A line is added for each round.")
def main(rounds: int, seed: int, kinds: str, actions: int | None, minutes: float, results: Path) -> None:
    """Hurt real sinks and their database, and compare the tables with the topics row for row.

    sqlite, postgres: SIGKILL of sinks at named points and anywhere. database: SIGKILL of the PostgreSQL server and of
    its processes. zombie: sinks that freeze, are succeeded and wake up. One seed keeps to one number of actions. Exit
    status 1 when something that must hold did not.
    """
    faulthandler.enable()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends in order; the round under way is run again
    wanted = kinds.split(",")
    unknown = set(wanted) - KINDS.keys()
    if unknown:
        raise click.BadParameter(f"unknown kinds: {', '.join(sorted(unknown))}; known are {', '.join(KINDS)}")
    kept = Results(results, seed)
    failures = run_campaign(kept, wanted, rounds=rounds, seed=seed, actions=actions, minutes=minutes)
    for failure in failures:
        click.echo(f"FAILED {failure}", err=True)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
