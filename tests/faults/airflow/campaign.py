"""Kill parts of a real Airflow, in chunks, and append a line for each round to a results file.

Two kinds of rounds: ``promotions``, whose tasks are killed at every point of a promotion, and ``requests``, messages
that ask for retrains while triggerer, scheduler or tasks are killed. A round depends on its seed and number alone;
what stands in the results file is not run again.
"""

import json
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from tests.faults.airflow import rounds as promotions
from tests.faults.airflow import waking_rounds as requests
from tests.faults.airflow.rounds import Line
from tests.faults.airflow.stage import Stage, airflow_stage
from tests.faults.airflow.waking import Waking
from tests.faults.promotion.campaign import Results, Setting
from tests.faults.promotion.summary import table

# A chunk ends in time for the caller's ten minutes.
CHUNK_S = 420.0

# Plays a round of that number and seed with a model.
Play = Callable[[Stage, str, int, int], Line]


def request_round(stage: Stage, model: str, number: int, seed: int) -> Line:
    """Ask for retrains of a model while a part of Airflow is killed."""
    return requests.kill_round(Waking(stage, model), *requests.plan_of(number, seed))


_CAMPAIGNS = {"promotions": "airflow-kills", "requests": "airflow-requests"}
PLAYS: dict[str, Play] = {"promotions": promotions.kill_round, "requests": request_round}


def run_chunk(
    setting: Setting, play: Play, todo: Sequence[int], results: Results, lanes: int, seconds: float
) -> list[str]:
    """Play rounds until they are done, one failed, or no more should be begun; returns what failed."""
    waiting, failures = deque(todo), list[str]()
    deadline_s = time.monotonic() + seconds

    def lane(stage: Stage, model: str) -> None:
        while waiting and not failures and time.monotonic() < deadline_s:
            number = waiting.popleft()
            try:
                line = play(stage, model, number, setting.seed)
            except AssertionError as error:
                failures.append(f"round {number}: {error}")
                results.append(round=number, failure=str(error)[:2_000])
                return
            results.append(round=number, **line)
            click.echo(f"round {number}: killed {line['killed']} ({line['seconds']} s)")

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
    told = _of_requests(rounds) if "victim" in rounds[0] else _of_promotions(rounds)
    return "\n".join((f"failed: {sum('failure' in line for line in lines)}", *told))


def _of_promotions(rounds: Sequence[Line]) -> Sequence[str]:
    kills = Counter((task, line["plan"][task]) for line in rounds for task in line["killed"])
    rows: list[Sequence[object]] = [(*place, count) for place, count in sorted(kills.items())]
    rows.append(("all", "", sum(kills.values())))
    agreed = sorted(line["agreed_s"] for line in rounds)
    triggerer = sum(line["triggerer"] for line in rounds)
    handed_over = sum(line["handed_over"] for line in rounds)
    return (
        f"{len(rounds)} promotions on {dict(Counter(line['database'] for line in rounds))}",
        f"in {handed_over} of them the triggerer waited, in {triggerer} it was killed meanwhile",
        f"agreed after the run's end: median {agreed[len(agreed) // 2]} s, longest {agreed[-1]} s",
        "",
        table(("task", "killed at", "kills"), rows),
    )


def _of_requests(rounds: Sequence[Line]) -> Sequence[str]:
    kills = Counter[str]()
    for line in rounds:
        kills[line["victim"]] += line["killed"]
    asked = len(rounds) * (requests.BEFORE + requests.AFTER)
    return (
        f"{len(rounds)} rounds on {dict(Counter(line['database'] for line in rounds))}",
        f"{asked} requests were covered by {sum(line['runs'] for line in rounds)} runs",
        "",
        table(("part", "processes killed"), sorted(kills.items())),
    )


@click.command()
@click.option("--kind", type=click.Choice(list(PLAYS)), default="promotions", show_default=True)
@click.option("--rounds", default=20, show_default=True, help="Rounds of this setting in all, with those done before.")
@click.option("--seed", default=1, show_default=True)
@click.option("--database", type=click.Choice(["sqlite", "postgresql"]), default="sqlite", show_default=True)
@click.option("--lanes", default=2, show_default=True, help="Models at the same time; requests take one.")
@click.option("--results", "path", type=click.Path(path_type=Path), required=True, help="A line for each round.")
def main(kind: str, rounds: int, seed: int, database: str, lanes: int, path: Path) -> None:
    """Kill parts of Airflow while it promotes, or while it is asked to. Exit status 1 when something did not hold."""
    setting = Setting(campaign=_CAMPAIGNS[kind], seed=seed, database=database)
    results = Results(path, setting)
    todo = [number for number in range(rounds) if number not in results.done()]
    click.echo(f"{rounds - len(todo)} of {rounds} rounds are done")
    if kind == "requests":  # whoever kills a scheduler kills it for all models
        lanes = 1
    failures = run_chunk(setting, PLAYS[kind], todo, results, lanes, CHUNK_S) if todo else []
    for failure in failures:
        click.echo(f"FAILED {failure}", err=True)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    click.echo(summary([line for line in lines if line["campaign"] == setting.campaign]))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
