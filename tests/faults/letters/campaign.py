"""Run a campaign of replays, in chunks, and append a line for each round to a results file.

A round depends on its seed and number alone, so a campaign that was interrupted goes on where it was. Each chunk has a
broker of its own.
"""

import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from tests.faults.letters.replays import Nursery
from tests.faults.letters.rounds import at_once, frozen, killed
from tests.support.broker import _broker

KINDS = ("killed", "at-once", "frozen")


def play(kind: str, bootstrap: str, nursery: Nursery, chance: random.Random, folder: Path) -> dict[str, Any]:
    """One round."""
    if kind == "killed":
        return killed(bootstrap, nursery, chance)
    if kind == "at-once":
        return at_once(bootstrap, nursery, chance, folder)
    return frozen(bootstrap, nursery, chance)


def done(results: Path, seed: int) -> set[int]:
    """The rounds of a seed that were run before."""
    if not results.exists():
        return set()
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    return {line["round"] for line in lines if line["seed"] == seed and "failure" not in line}


def append(results: Path, line: dict[str, Any]) -> None:
    """Add a line, whole."""
    results.parent.mkdir(parents=True, exist_ok=True)
    with results.open("a") as file:
        file.write(json.dumps(line, separators=(",", ":")) + "\n")


@click.command()
@click.option("--rounds", default=100, show_default=True, help="Rounds of this seed in all, with those done before.")
@click.option("--seed", default=1, show_default=True)
@click.option("--minutes", default=7.5, show_default=True, help="No round is begun after that; run again to go on.")
@click.option("--results", type=click.Path(path_type=Path), required=True, help="A line is added for each round.")
def main(rounds: int, seed: int, minutes: float, results: Path) -> None:
    """Kill replays at their steps, run several at once, freeze and wake them; count what was put back by origin.

    Exit status 1 when a record was put back twice, altered, or not at all.
    """
    deadline_s = time.monotonic() + minutes * 60
    missing = [number for number in range(rounds) if number not in done(results, seed)]
    click.echo(f"{rounds - len(missing)} of {rounds} rounds are done")
    with tempfile.TemporaryDirectory(prefix="baton-letters-") as name:
        folder = Path(name)
        with _broker(folder / "kafka") as broker, Nursery(folder) as nursery:
            for number in missing:
                if time.monotonic() > deadline_s:
                    break
                kind = KINDS[number % len(KINDS)]
                line: dict[str, Any] = {"seed": seed, "round": number, "kind": kind}
                try:
                    line |= play(kind, broker.bootstrap, nursery, random.Random(f"{seed}/{number}"), folder)
                except AssertionError as error:
                    append(results, {**line, "failure": str(error)[:2000]})
                    click.echo(f"FAILED round {number}: {error}", err=True)
                    sys.exit(1)
                append(results, line)
    click.echo(f"{len(done(results, seed))} of {rounds} rounds are done")


if __name__ == "__main__":
    main()
