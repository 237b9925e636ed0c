"""Run a campaign of the promotion protocol, in chunks, and append a line for each round to a results file.

Each chunk has a broker, a database, a registry and workers of its own. A round depends on its seed and number alone,
so a campaign that was interrupted goes on where it was; what stands in the results file is not run again.
"""

import faulthandler
import json
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import msgspec

from tests.faults.promotion.rounds import contest_round, first_promotion, kill_round
from tests.faults.promotion.theatre import DATABASES, REGISTRIES, WORKERS, RealWorkers, Theatre, theatre
from tests.support.bundles import score_of
from tests.support.oracle import examine

CAMPAIGNS: dict[str, Callable[[Theatre, str, int, int], dict[str, Any]]] = {
    "kills": kill_round,
    "contests": contest_round,
}


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What a campaign is run on; stands in each line of its results."""

    campaign: str = "kills"
    seed: int = 1
    database: str = "sqlite"
    registry: str = "folder"
    workers: str = "simulated"


class Results:
    """The results file: a line for each round, and one for each chunk."""

    def __init__(self, path: Path, setting: Setting) -> None:
        self._path = path
        self._setting = msgspec.to_builtins(setting)
        self._lock = threading.Lock()

    def done(self) -> set[int]:
        """The rounds of this setting that were run before."""
        if not self._path.exists():
            return set()
        lines = [json.loads(line) for line in self._path.read_text().splitlines()]
        own = [line for line in lines if self._setting.items() <= line.items() and "failure" not in line]
        return {line["round"] for line in own if "round" in line}

    def append(self, **line: object) -> None:
        """Add a line, whole."""
        with self._lock:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as file:
                file.write(json.dumps({**self._setting, **line}, separators=(",", ":")) + "\n")


class Chunk:
    """Some rounds in one theatre, spread over its models."""

    def __init__(self, setting: Setting, rounds: list[int], results: Results, deadline_s: float) -> None:
        self._setting = setting
        self._todo = deque(rounds)
        self._results = results
        self._deadline_s = deadline_s
        self.done = 0
        self.failures: list[str] = []

    def run(self, folder: Path, lanes: int) -> None:
        """Run the rounds until they are done, one failed, or the time is up; then look at the whole topic."""
        setting = self._setting
        with theatre(
            folder, database=setting.database, registry=setting.registry, workers=setting.workers, lanes=lanes
        ) as stage:
            with ThreadPoolExecutor(len(stage.models)) as pool:
                list(pool.map(lambda model: self._lane(stage, model), stage.models))
            self._close(stage)

    def _lane(self, stage: Theatre, model: str) -> None:
        play = CAMPAIGNS[self._setting.campaign]
        first_promotion(stage, model)
        while self._todo and not self.failures and time.monotonic() < self._deadline_s:
            try:
                number = self._todo.popleft()
            except IndexError:
                return
            try:
                line = play(stage, model, number, self._setting.seed)
            except AssertionError as error:
                self._fail(f"round {number}: {error}", round=number)
                return
            self._results.append(round=number, **line)
            self.done += 1

    def _close(self, stage: Theatre) -> None:
        try:
            found = stage.check_history()
            if isinstance(stage.workers, RealWorkers):
                found |= _examined(stage.workers)
        except AssertionError as error:
            self._fail(f"the whole topic: {error}")
        else:
            self._results.append(chunk=self.done, **found)

    def _fail(self, failure: str, **more: object) -> None:
        self.failures.append(failure)
        self._results.append(failure=failure[:2000], **more)


def _examined(workers: RealWorkers) -> dict[str, int]:
    """The stream that the real workers scored meanwhile."""
    workers.ground.wait_until_done(90)
    report = examine(workers.ground, score_of)
    assert report.faultless, report
    return {"records": report.inputs, "versions": len(report.versions)}


def run_campaign(
    setting: Setting,
    *,
    rounds: int,
    results: Results,
    lanes: int,
    minutes: float,
    chunk_rounds: int = 100,
    say: Callable[[str], None] = print,
) -> list[str]:
    """Run what is missing of ``rounds`` rounds for at most ``minutes``; returns what failed."""
    deadline_s = time.monotonic() + minutes * 60
    missing = [number for number in range(rounds) if number not in results.done()]
    say(f"{rounds - len(missing)} of {rounds} rounds are done")
    while missing and time.monotonic() < deadline_s:
        taken, missing = missing[:chunk_rounds], missing[chunk_rounds:]
        chunk = Chunk(setting, taken, results, deadline_s)
        with tempfile.TemporaryDirectory(prefix="baton-promotion-") as folder:
            chunk.run(Path(folder), lanes)
        say(f"{chunk.done} rounds of {msgspec.to_builtins(setting)}; {len(results.done())} of {rounds} are done")
        if chunk.failures:
            return chunk.failures
    return []


@click.command()
@click.option("--rounds", default=100, show_default=True, help="Rounds of this setting in all, with those done before.")
@click.option("--seed", default=1, show_default=True)
@click.option("--campaign", type=click.Choice(sorted(CAMPAIGNS)), default="kills", show_default=True)
@click.option("--database", type=click.Choice(DATABASES), default="sqlite", show_default=True)
@click.option("--registry", type=click.Choice(REGISTRIES), default="folder", show_default=True)
@click.option("--workers", type=click.Choice(WORKERS), default="simulated", show_default=True)
@click.option("--lanes", default=3, show_default=True, help="Models that are promoted at the same time.")
@click.option("--minutes", default=7.5, show_default=True, help="No round is begun after that; run again to go on.")
@click.option("--results", type=click.Path(path_type=Path), required=True, help="A line is added for each round.")
def main(
    rounds: int,
    seed: int,
    campaign: str,
    database: str,
    registry: str,
    workers: str,
    lanes: int,
    minutes: float,
    results: Path,
) -> None:
    """Kill deciding processes at every step (kills), or let eight decide at once (contests).

    Exit status 1 when something that must hold did not. ``python -m tests.faults.promotion.summary`` reads the results.
    """
    faulthandler.enable()
    setting = Setting(campaign=campaign, seed=seed, database=database, registry=registry, workers=workers)
    failures = run_campaign(
        setting, rounds=rounds, results=Results(results, setting), lanes=lanes, minutes=minutes, say=click.echo
    )
    for failure in failures:
        click.echo(f"FAILED {failure}", err=True)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
