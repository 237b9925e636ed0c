"""Run fault campaigns of the daemon, in chunks, and append a line for each round to a results file.

Each chunk has a broker and workers of its own. A round depends on its kind, seed and number alone, so a campaign that
was interrupted goes on where it was; what stands in the results file is not run again.
"""

import faulthandler
import json
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import click

from tests.faults.daemon.outage_rounds import broker_round, network_round
from tests.faults.daemon.rounds import kill_round
from tests.faults.daemon.stage import Stage, stage
from tests.faults.daemon.zombie_rounds import zombie_round


class Kind(NamedTuple):
    """A kind of round, and how much is hurt in one."""

    run: Callable[[Stage, int, int, int], dict[str, Any]]
    actions: int


KINDS = {
    "kill": Kind(kill_round, 10),
    "broker": Kind(broker_round, 5),
    "zombie": Kind(zombie_round, 10),
    "network": Kind(network_round, 8),
}
RESULTS = Path(__file__).parents[3] / "bench" / "results" / "daemon-faults.jsonl"


class Results:
    """The results file."""

    def __init__(self, path: Path, seed: int) -> None:
        self._path = path
        self._seed = seed

    def done(self, kind: str) -> set[int]:
        """The rounds of a kind that were run before and held."""
        if not self._path.exists():
            return set()
        lines = [json.loads(line) for line in self._path.read_text().splitlines()]
        own = [line for line in lines if (line["kind"], line["seed"]) == (kind, self._seed)]
        return {line["round"] for line in own if "failure" not in line}

    def append(self, kind: str, number: int, **line: object) -> None:
        """Add a round's line, whole."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        whole = {"kind": kind, "seed": self._seed, "round": number, **line}
        with self._path.open("a") as file:
            file.write(json.dumps(whole, separators=(",", ":")) + "\n")


def missing(results: Results, kinds: list[str], rounds: int) -> Iterator[tuple[str, int]]:
    """The rounds that are still to be run, kind by kind."""
    for kind in kinds:
        done = results.done(kind)
        yield from ((kind, number) for number in range(rounds) if number not in done)


def run_campaign(
    results: Results, kinds: list[str], *, rounds: int, seed: int, actions: int | None, minutes: float
) -> list[str]:
    """Run what is missing of ``rounds`` rounds of each kind for at most ``minutes``; returns what failed."""
    deadline = time.monotonic() + minutes * 60
    todo = list(missing(results, kinds, rounds))
    click.echo(f"{len(todo)} rounds are left")
    if not todo:
        return []
    folder = Path(tempfile.mkdtemp(prefix="baton-daemon-"))
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
                failures.append(f"{kind} round {number}: {error}")
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
@click.option(
    "--actions", type=click.IntRange(1), help="Kills, freezes or cuts in a round; each kind has its own number."
)
@click.option("--minutes", default=7.5, show_default=True, help="No round is begun after that; run again to go on.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="A line is added for each round.")
def main(rounds: int, seed: int, kinds: str, actions: int | None, minutes: float, results: Path) -> None:
    """Hurt real workers on a real broker, and hold every record to the promise.

    kill: SIGKILL at named points. broker: SIGKILL of the lone broker. zombie: workers that freeze, are succeeded and
    wake up. network: connections that are cut, stalled or slow. One seed keeps to one number of actions. Exit status 1
    when something that must hold did not.
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
