"""How often the gate "not-worse" is wrong: by simulation on the flights of 2013.

Models are trained on days of January to March and score April to December: 249,453 flights on 275 days, which are the
population. Two are strangers, trained on the odd and on the even days; two are relatives, as a champion and its retrain
are, trained on all days and on four of five. Noise is mixed into the better one until it is worse than the other by
exactly what a scenario says, over the whole population. A round draws a holdout of some days, or of some whole weeks,
from the population, and asks the gate, which resamples that holdout as it does in a run.

    python bench/non_inferiority.py run --rounds 2000 --results bench/results/non-inferiority.jsonl
    python bench/non_inferiority.py summary --results bench/results/non-inferiority.jsonl

A run goes on where the file ends; a line is a chunk of rounds with a seed of its own, so that the result is the same
however often it was interrupted.
"""

import argparse
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from local import warehouse
from scoring.contract.clock import epoch_s
from scoring.contract.digest import digest_of
from scoring.contract.encoder import Floats
from scoring.contract.manifest import Task
from scoring.contract.verdict import Judgement, Verdict
from scoring.settings import Settings
from training import pipeline
from training.catalog import load_definition
from training.compile import predict
from training.definition import Gates, ModelDefinition
from training.evidence import bootstrap
from training.evidence.sums import sums_of
from training.gates import baseline
from training.gates.evidence import Evidence
from training.measured import Resampling
from training.metrics import auc
from training.pull import column_types
from training.results import Baseline, BaselineKind, Evaluated, Parity, RunRequest, Validated
from training.rows import split, targets
from training.snapshot import read_snapshot
from training.train import fit

PROJECT = Path(__file__).resolve().parents[1]
CHUNK_ROUNDS = 100
DAY_S = 86_400.0
START, HOLDOUT, END = (
    datetime(2013, 1, 1, tzinfo=UTC),
    datetime(2013, 4, 1, tzinfo=UTC),
    datetime(2014, 1, 1, tzinfo=UTC),
)


@dataclass(frozen=True)
class Scenario:
    """What is simulated.

    Attributes:
        worse: the candidate's true loss of area under the curve.
        pair: ``strangers`` or ``relatives``.
        drawn: ``days``, or ``weeks`` of days in a row.
    """

    pair: str
    worse: float
    margin: float
    days: int
    drawn: str

    @property
    def name(self) -> str:
        return f"{self.pair}, {self.worse:g} worse, margin {self.margin:g}, {self.days} days as {self.drawn}"


SCENARIOS = [
    Scenario(pair, worse, 0.02, days, drawn)
    for pair, days, drawn in (
        ("relatives", 30, "days"),
        ("strangers", 30, "days"),
        ("relatives", 28, "weeks"),
        ("relatives", 14, "days"),
    )
    for worse in (0.02, 0.0)
]


@dataclass(frozen=True)
class Population:
    """Scores as logits, labels and days, each of shape (rows,)."""

    champion: Floats
    other: Floats
    labels: Floats
    day: npt.NDArray[np.intp]
    noise: Floats

    def candidate(self, worse: float) -> Floats:
        """The other model with so much noise that it is worse by this over the whole population."""
        wanted, low, high = auc(self.champion, self.labels) - worse, 0.0, 20.0
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if auc(self.other + middle * self.noise, self.labels) > wanted else (low, middle)
        return self.other + low * self.noise


PAIRS = {"strangers": ("odd", "even"), "relatives": ("all", "most")}
TRAINED_ON: Mapping[str, Callable[[npt.NDArray[np.intp]], npt.NDArray[np.bool_]]] = {
    "odd": lambda day: day % 2 == 1,
    "even": lambda day: day % 2 == 0,
    "all": lambda day: day >= 0,
    "most": lambda day: day % 5 != 0,
}


def population(folder: Path, pair: str) -> Population:
    """Trained and scored once, then kept in ``folder``."""
    kept = folder / "population.npz"
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = _scored(folder)
        np.savez(kept, **arrays)
    found = np.load(kept)
    better, worse = sorted(PAIRS[pair], key=lambda name: auc(found[name], found["labels"]))[::-1]
    noise = np.random.default_rng(5).normal(size=len(found["labels"]))
    # The candidate is the better one, so that noise can make it equal.
    return Population(found[worse], found[better], found["labels"], found["day"], noise)


def _scored(folder: Path) -> dict[str, npt.NDArray[np.generic]]:
    definition, settings = load_definition(PROJECT / "models", "flight_delay"), _settings(folder)
    request = RunRequest(
        model=definition.name, start=START, end=END, run_id="bench", requested_at=datetime.now(UTC), actor="bench"
    )
    pulled = pipeline.pull(definition, request, settings)
    columns = read_snapshot(pipeline.snapshot(definition, request, settings, pulled), column_types(definition))
    parts, wanted = split(definition, columns, HOLDOUT), targets(definition, columns)
    day = np.floor((np.asarray(columns[definition.event_time], dtype=np.float64) - epoch_s(START)) / DAY_S).astype(
        np.intp
    )
    found: dict[str, npt.NDArray[np.generic]] = {"labels": wanted[parts.holdout], "day": day[parts.holdout]}
    for name, chosen in TRAINED_ON.items():
        fitted = fit(definition, columns, parts.training & chosen(day), wanted)
        scores = predict(fitted.estimator, definition.task, fitted.matrix[parts.holdout])
        found[name] = np.log(scores / (1.0 - scores))
    return found


def _settings(folder: Path) -> Settings:
    url = f"sqlite:///{folder / 'warehouse.db'}"
    warehouse.fill(url)
    return Settings(snapshot_dir=folder / "snapshots", connections={"warehouse": url})


def rounds(scenario: Scenario, people: Population, definition: ModelDefinition, chunk: int, seed: int) -> list[bool]:
    """Whether the gate passes the candidate, in each round of a chunk."""
    random = np.random.default_rng([seed, chunk, SCENARIOS.index(scenario)])
    order = np.argsort(people.day, kind="stable")
    edges = np.searchsorted(people.day[order], np.arange(people.day.min(), people.day.max() + 2))
    candidate = people.candidate(scenario.worse)
    found = []
    for number in range(CHUNK_ROUNDS):
        days = _days(scenario, len(edges) - 1, random)
        rows = np.concatenate([order[edges[day] : edges[day + 1]] for day in days])
        place = np.repeat(np.arange(len(days)), [edges[day + 1] - edges[day] for day in days])
        blocks = bootstrap.Blocks("day", place, len(days))
        label = f"{seed}/{scenario.name}/{chunk}/{number}"
        found.append(_passes(people, candidate, rows, blocks, definition, label))
    return found


def _days(scenario: Scenario, count: int, random: np.random.Generator) -> npt.NDArray[np.intp]:
    if scenario.drawn == "days":
        return random.integers(0, count, scenario.days)
    starts = random.integers(0, count - 6, scenario.days // 7)
    return (starts[:, None] + np.arange(7)).ravel()


def _passes(
    people: Population,
    candidate: Floats,
    rows: npt.NDArray[np.intp],
    blocks: bootstrap.Blocks,
    definition: ModelDefinition,
    label: str,
) -> bool:
    weights = bootstrap.draw(blocks.count, digest_of(label.encode()))
    confidence = definition.gates.confidence
    ours, theirs = (
        sums_of(Task.BINARY, _probability(scores[rows]), people.labels[rows], blocks.of_row, blocks.count)
        for scores in (candidate, people.champion)
    )
    evaluated = Evaluated(
        metrics={},
        baseline=Baseline(kind=BaselineKind.CHAMPION, version="1", sequence=1),
        parity=Parity(exact=True, tolerance=0, rows=0, different_rows=0, largest_difference=0, changed_decisions=0),
        rows=len(rows),
        resampling=Resampling(unit="day", blocks=blocks.count, resamples=len(weights), confidence=confidence),
        comparisons=bootstrap.compare(ours, theirs, weights, confidence),
    )
    data = Verdict(gate="data", judgement=Judgement.PASS, sentence="taken as it is")
    evidence = Evidence(definition=definition, validated=Validated(verdict=data, expectations=1), evaluated=evaluated)
    return baseline.gate(evidence).judgement is Judgement.PASS


def _probability(logits: Floats) -> Floats:
    found: Floats = 1.0 / (1.0 + np.exp(-logits))
    return found


def run(options: argparse.Namespace) -> None:
    definition = load_definition(PROJECT / "models", "flight_delay")
    pairs = {pair: population(options.folder, pair) for pair in PAIRS}
    done = {(line["scenario"], line["seed"], line["chunk"]) for line in lines(options.results)}
    for pair, people in pairs.items():
        areas = [auc(scores, people.labels) for scores in (people.champion, people.other)]
        days = len(np.unique(people.day))
        print(
            f"{pair}: {len(people.labels):,} flights on {days} days, AUC {areas[0]:.4f} and {areas[1]:.4f}", flush=True
        )
    until = time.monotonic() + options.minutes * 60
    for chunk in range(options.rounds // CHUNK_ROUNDS):
        for scenario in SCENARIOS:
            if (scenario.name, options.seed, chunk) in done or time.monotonic() > until:
                continue
            gates = Gates(minimum={"auc": 0.5}, not_worse={"auc": scenario.margin})
            judged = msgspec.structs.replace(definition, gates=gates, slices=())
            passed = sum(rounds(scenario, pairs[scenario.pair], judged, chunk, options.seed))
            line = {
                "scenario": scenario.name,
                "seed": options.seed,
                "chunk": chunk,
                "rounds": CHUNK_ROUNDS,
                "passed": passed,
            }
            with options.results.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(line, flush=True)


def lines(results: Path) -> Iterator[dict[str, object]]:
    if results.exists():
        yield from map(json.loads, results.read_text().splitlines())


def summary(options: argparse.Namespace) -> None:
    rounds_of, passed = defaultdict(int), defaultdict(int)  # type: ignore[var-annotated]
    for line in lines(options.results):
        rounds_of[line["scenario"]] += int(str(line["rounds"]))
        passed[line["scenario"]] += int(str(line["passed"]))
    print("| the candidate is | rounds | passed | standard error |\n|---|---|---|---|")
    for name, count in rounds_of.items():
        share = passed[name] / count
        print(f"| {name} | {count:,} | {share:.1%} | {(share * (1 - share) / count) ** 0.5:.1%} |")


def main() -> None:
    parser = argparse.ArgumentParser(description="Error rates of the gate not-worse, by simulation on the flights.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, verb in (("run", run), ("summary", summary)):
        command = verbs.add_parser(name)
        command.set_defaults(verb=verb)
        command.add_argument("--results", type=Path, default=PROJECT / "bench/results/non-inferiority.jsonl")
    command = verbs.choices["run"]
    command.add_argument("--rounds", type=int, default=2_000, help="of each scenario, a multiple of 100")
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--minutes", type=float, default=9.0, help="stop after this; start again to go on")
    command.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()) / "baton-non-inferiority", help="for the population"
    )
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before scikit-learn is loaded: its threads would spin
    options.verb(options)


if __name__ == "__main__":
    main()
