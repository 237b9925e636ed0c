"""What a record costs in each scorer, by kind of model and size of micro-batch, and what a new model costs the old one.

Models of 20 features are fitted on generated data, compiled, and run in one thread: by ONNX Runtime alone, by each
kernel alone where it takes the model (numpy; the compiled ones, bits and walk), and as the worker runs them, with the
compiled kernels and without (numpy-worker). Every figure is the smallest of several rounds that take turns, in
microseconds of processor time per record. Then, for each model, how long it takes to load, and for how long at most
another thread, busy in Python meanwhile, stands still.

    python -m bench.kernels
    python -m bench.kernels --kinds boosting-31 forest-deep --sizes 1 2048 --results bench/results/kernels.jsonl
"""

import argparse
import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from sklearn import ensemble as e
from sklearn import tree as t

from scoring.contract.encoder import Floats
from scoring.contract.manifest import Task
from scoring.scorer import library
from scoring.scorer.compiled import CompiledModel
from scoring.scorer.graph import parse_graph
from scoring.scorer.kernels import Unsuitable, kernels
from training.compile import Compiled, compile_model

FEATURES = 20
TRAINING_ROWS = 20_000
SIZES = (1, 64, 256, 2048)
# So long is one size repeated in a round.
SPAN_S = 0.05

Run = Callable[[Floats], Floats]


def kinds() -> dict[str, tuple[Task, Callable[[], Any]]]:
    """Estimators by their name in the results."""

    def boosting(**parameters: Any) -> Any:
        return e.HistGradientBoostingClassifier(max_iter=100, early_stopping=False, random_state=0, **parameters)

    def forest(**parameters: Any) -> Any:
        return e.RandomForestClassifier(100, random_state=0, n_jobs=2, **parameters)

    return {
        "boosting-31": (Task.BINARY, boosting),
        "boosting-64": (Task.BINARY, lambda: boosting(max_leaf_nodes=64)),
        "boosting-categories": (Task.BINARY, lambda: boosting(categorical_features=[0, 1, 2])),
        "boosting-1000-trees": (Task.BINARY, lambda: boosting().set_params(max_iter=1000)),
        "gradient-boosting": (Task.BINARY, lambda: e.GradientBoostingClassifier(n_estimators=100, random_state=0)),
        "forest-31": (Task.BINARY, lambda: forest(max_leaf_nodes=31)),
        "forest-64": (Task.BINARY, lambda: forest(max_leaf_nodes=64)),
        "forest-128": (Task.BINARY, lambda: forest(max_leaf_nodes=128)),
        "forest-deep": (Task.BINARY, forest),
        "extra-trees-64": (
            Task.REGRESSION,
            lambda: e.ExtraTreesRegressor(100, max_leaf_nodes=64, random_state=0, n_jobs=2),
        ),
        "decision-tree": (Task.REGRESSION, lambda: t.DecisionTreeRegressor(max_leaf_nodes=64, random_state=0)),
    }


def sample(rows: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Codes, numbers, and numbers that are missing in one row of ten where the estimator takes that."""
    random = np.random.default_rng(seed)
    codes = random.integers(0, 40, (rows, 3)).astype(np.float64)
    matrix = np.column_stack([codes, random.normal(size=(rows, FEATURES - 3))])
    target = np.sin(codes[:, 0]) + matrix[:, 3:] @ random.normal(size=FEATURES - 3) * 0.3
    return matrix, target + random.normal(scale=0.5, size=rows)


def compiled(task: Task, estimator: Any) -> Compiled:
    """The estimator, fitted and compiled."""
    matrix, target = sample(TRAINING_ROWS)
    estimator.fit(matrix, (target > 0).astype(np.int64) if task is Task.BINARY else target)
    return compile_model(estimator, task, matrix, tolerance=0.0)


def runs(made: Compiled) -> dict[str, Run]:
    """The ways to run a compiled model, by name."""
    found: dict[str, Run] = {
        "worker": CompiledModel(made.graph, made.output).run,
        "numpy-worker": numpy_worker(made),
        "onnxruntime": CompiledModel(made.graph, made.output, kernel=False).run,
    }
    graph = parse_graph(made.graph)
    for name, make in kernels().items():
        with suppress(Unsuitable):
            found[name] = make(graph).run
    return found


def numpy_worker(made: Compiled) -> Run:
    """As the worker runs it where there is no library."""
    with mock.patch.object(library, "load", return_value=None):
        return CompiledModel(made.graph, made.output).run


def per_record_us(ways: dict[str, Run], sizes: Sequence[int], rounds: int) -> dict[str, dict[int, float]]:
    """Microseconds per record, by way and size."""
    matrix, _ = sample(max(sizes), seed=1)
    best = {way: dict.fromkeys(sizes, float("inf")) for way in ways}
    for _ in range(rounds):
        for size in sizes:
            for way, run in ways.items():
                best[way][size] = min(best[way][size], round(_seconds(run, matrix[:size]) / size * 1e6, 2))
    return best


def _seconds(run: Run, matrix: Floats) -> float:
    """The smallest processor time of a call."""
    best, until = float("inf"), time.perf_counter() + SPAN_S
    while time.perf_counter() < until or best == float("inf"):
        started = time.thread_time()
        run(matrix)
        took = time.thread_time() - started
        best = min(best, took) if took > 0 else best  # the system's account of a thread may lag behind
    return best


def loading_ms(work: Callable[[], object], rounds: int) -> dict[str, float]:
    """Processor time of work, and how long a thread that is busy in Python beside it stands still; least of rounds.

    Such a thread takes turns of Python's own length (``sys.getswitchinterval``, 5 ms) with what runs in Python beside
    it. What is longer is a call that keeps the interpreter's lock.
    """
    alone, beside = [], []
    for _ in range(max(1, rounds)):
        started = time.thread_time()
        work()
        alone.append(time.thread_time() - started)
        beside.append(_longest_s(work))
    return {"alone": round(min(alone) * 1e3, 2), "longest_stop": round(min(beside) * 1e3, 2)}


def _longest_s(work: Callable[[], object]) -> float:
    """The most that the working thread got done while this one stood still: not what the system did meanwhile."""
    ready, started, finished = threading.Event(), threading.Event(), threading.Event()

    def run() -> None:
        ready.set()
        started.wait()
        work()
        finished.set()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    clock = time.pthread_getcpuclockid(thread.ident or 0)
    longest, before, worked = 0.0, time.perf_counter(), time.clock_gettime(clock)
    started.set()
    while not finished.is_set():
        try:
            now, done = time.perf_counter(), time.clock_gettime(clock)
        except OSError:  # the thread has ended just now
            break
        longest, before, worked = max(longest, min(now - before, done - worked)), now, done
    thread.join()
    return longest


def measured(kind: str, sizes: Sequence[int], rounds: int) -> dict[str, Any]:
    """One line of the results."""
    task, make = kinds()[kind]
    made = compiled(task, make())
    ways = runs(made)
    loading: dict[str, Callable[[], object]] = {
        "worker": lambda: CompiledModel(made.graph, made.output, checked=True),
        "onnxruntime": lambda: CompiledModel(made.graph, made.output, checked=True, kernel=False),
        "parse": lambda: parse_graph(made.graph),
    }
    parsed = parse_graph(made.graph)
    loading |= {name: partial(make, parsed) for name, make in kernels().items() if name in ways}
    return {
        "kind": kind,
        "graph_bytes": len(made.graph),
        "us_per_record": per_record_us(ways, sizes, rounds),
        "loading_ms": {name: loading_ms(work, rounds) for name, work in loading.items()},
    }


def main() -> None:
    """Measure, print a line for each kind, and append it to the results."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.kernels", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kinds", nargs="+", default=[*kinds()], choices=[*kinds()])
    parser.add_argument("--sizes", nargs="+", type=int, default=[*SIZES])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--results", type=Path, help="a file of JSON lines to append to")
    asked = parser.parse_args()
    for kind in asked.kinds:
        line = json.dumps(measured(kind, asked.sizes, asked.rounds))
        print(line, flush=True)
        if asked.results is not None:
            with asked.results.open("a") as file:
                file.write(line + "\n")


if __name__ == "__main__":
    main()
