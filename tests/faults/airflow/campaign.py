"""Kill the tasks of a real Airflow while they promote, in chunks, and append a line for each round to a results file.

A round depends on its seed and number alone; what stands in the results file is not run again.
"""

import json
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from tests.faults.airflow.rounds import Line, kill_round
from tests.faults.airflow.stage import Stage, airflow_stage
from tests.faults.promotion.campaign import Results, Setting
from tests.faults.promotion.summary import table

# A chunk ends in time for the caller's ten minutes.
CHUNK_S = 420.0


def run_chunk(setting: Setting, todo: Sequence[int], results: Results, lanes: int, seconds: float) -> list[str]:
    """Play rounds until they are done, one failed, or no more should be begun; returns what failed."""
    waiting, failures = deque(todo), list[str]()
    deadline_s = time.monotonic() + seconds

    def lane(stage: Stage, model: str) -> None:
        while waiting and not failures and time.monotonic() < deadline_s:
            number = waiting.popleft()
            try:
                line = kill_round(stage, model, number, setting.seed)
            except AssertionError as error:
                failures.append(f"round {number}: {error}")
                results.append(round=number, failure=str(error)[:2_000])
                return
            results.append(round=number, **line)
            click.echo(f"round {number}: killed {', '.join(line['killed'])} ({line['seconds']} s)")

    with (
        tempfile.TemporaryDirectory(prefix="baton-airflow-kills-") as folder,
        airflow_stage(Path(folder), database=setting.database, lanes=lanes) as stage,
    ):
        with ThreadPoolExecutor(lanes) as pool:
            list(pool.map(lambda model: lane(stage, model), stage.house.models))
        results.append(chunk=len(todo) - len(waiting), **stage.house.check_history())
    return failures


def summary(lines: Sequence[Line]) -> str:
    """The results as the documentation quotes them."""
    rounds = [line for line in lines if "killed" in line]
    if not rounds:
        return "no round was finished"
    kills = Counter((task, line["plan"][task]) for line in rounds for task in line["killed"])
    rows: list[Sequence[object]] = [(*place, count) for place, count in sorted(kills.items())]
    rows.append(("all", "", sum(kills.values())))
    agreed = sorted(line["agreed_s"] for line in rounds)
    databases = dict(Counter(line["database"] for line in rounds))
    triggerer = sum(line["triggerer"] for line in rounds)
    handed_over = sum(line["handed_over"] for line in rounds)
    return "\n".join(
        (
            f"{len(rounds)} promotions on {databases}",
            f"in {handed_over} of them the triggerer waited, in {triggerer} it was killed meanwhile",
            f"failed: {sum('failure' in line for line in lines)}",
            f"agreed after the run's end: median {agreed[len(agreed) // 2]} s, longest {agreed[-1]} s",
            "",
            table(("task", "killed at", "kills"), rows),
        )
    )


@click.command()
@click.option("--rounds", default=20, show_default=True, help="Rounds of this setting in all, with those done before.")
@click.option("--seed", default=1, show_default=True)
@click.option("--database", type=click.Choice(["sqlite", "postgresql"]), default="sqlite", show_default=True)
@click.option("--lanes", default=2, show_default=True, help="Models that are promoted at the same time.")
@click.option("--results", "path", type=click.Path(path_type=Path), required=True, help="A line for each round.")
def main(rounds: int, seed: int, database: str, lanes: int, path: Path) -> None:
    """Kill task processes at every point of a promotion. Exit status 1 when something that must hold did not."""
    setting = Setting(campaign="airflow-kills", seed=seed, database=database)
    results = Results(path, setting)
    todo = [number for number in range(rounds) if number not in results.done()]
    click.echo(f"{rounds - len(todo)} of {rounds} rounds are done")
    failures = run_chunk(setting, todo, results, lanes, CHUNK_S) if todo else []
    for failure in failures:
        click.echo(f"FAILED {failure}", err=True)
    click.echo(summary([json.loads(line) for line in path.read_text().splitlines()]))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
