"""A real worker that keeps time: what ``bench.stages`` starts in the place of ``baton worker``.

Functions are wrapped by their dotted names before the worker starts, so that nothing in the worker knows of it; each
call costs about a microsecond more. At the end the totals go to the file that BENCH_STAGES names.
"""

import importlib
import json
import os
import threading
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from scoring.log import configure_logging
from scoring.settings import read_settings
from scoring.worker.process import Stop, run_worker, stop_on_signals

# Each with its stage; what a newer worker no longer has is told, not fatal. None of them is called per record: that
# would measure the clock.
STAGES = {
    "scoring.worker.loop.take": "consume",
    "scoring.worker.loop.take_more": "consume: more, during a commit",
    "scoring.worker.loop.outputs_of": "(between the stages of scoring)",
    "scoring.scorer.scorer.Scorer.decode": "decode",
    "scoring.lookups.sources.Sources.resolve": "enrich",
    "scoring.scorer.scorer.Scorer.score": "(between encode and run)",
    "scoring.contract.encoder.Encoder.encode": "encode",
    "scoring.scorer.compiled.CompiledModel.run": "score",
    "scoring.scorer.compiled.sigmoid": "sigmoid",
    "scoring.scorer.scorer.Scorer.decide": "decide",
    "scoring.worker.emit.Emitter.predictions": "emit: values",
    "scoring.worker.emit.Emitter.records": "emit: records",
    "scoring.worker.intake.sort": "consume: sort",
    "scoring.worker.scoring_step.screened": "screen",
    "scoring.worker.scoring_step.answered": "screen what was looked up",
    "scoring.worker.pipeline.Pipeline.begin": "wait for the flush before",
    "scoring.worker.pipeline.Pipeline.produce": "produce",
    "scoring.worker.pipeline.Pipeline.hand_over": "hand over",
    "scoring.worker.pipeline.Pipeline.collect": "collect",
    "scoring.worker.loop.Loop._between_batches": "between two micro-batches",
    "scoring.worker.loop.Loop._gather": "(around what comes during a commit)",
    "scoring.worker.loop.Loop._produce": "(around produce)",
    "scoring.worker.loop.Loop._commit": "(around hand over)",
    "scoring.worker.loop.Loop._turn": "(rest of the turn)",
    "scoring.worker.committer.Committer._flush": "committer: flush",
    "scoring.worker.delivery.ExactlyOnce.send_offsets": "committer: send offsets",
    "scoring.worker.delivery.ExactlyOnce.commit": "committer: commit",
}


class Times:
    """Wall and processor time of each stage without what it called of the others, per thread."""

    def __init__(self) -> None:
        self.wall_s: dict[str, float] = {}
        self.processor_s: dict[str, float] = {}
        self.calls: dict[str, int] = {}
        self.records = 0
        self._local = threading.local()

    def wrap(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""

        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            stack: list[list[float]] = self._local.__dict__.setdefault("stack", [])
            stack.append([0.0, 0.0])
            wall, processor = time.perf_counter(), time.thread_time()
            try:
                found = function(*args, **kwargs)
            finally:
                took, used = time.perf_counter() - wall, time.thread_time() - processor
                inner = stack.pop()
                if stack:
                    stack[-1][0] += took
                    stack[-1][1] += used
                self.wall_s[stage] = self.wall_s.get(stage, 0.0) + took - inner[0]
                self.processor_s[stage] = self.processor_s.get(stage, 0.0) + used - inner[1]
                self.calls[stage] = self.calls.get(stage, 0) + 1
            if stage == "consume":
                self.records += found.records
            return found

        return timed

    def as_json(self) -> str:
        """For the file."""
        return json.dumps(
            {"records": self.records, "wall_s": self.wall_s, "processor_s": self.processor_s, "calls": self.calls}
        )


def install(times: Times) -> list[str]:
    """Wrap every function that is there; the names of those that are not."""
    missing = []
    for path, stage in STAGES.items():
        owner, name = _owner(path)
        if owner is None or not hasattr(owner, name):
            missing.append(path)
            continue
        setattr(owner, name, times.wrap(stage, getattr(owner, name)))
    return missing


def _owner(path: str) -> tuple[Any, str]:
    """The module or class that has the function, or None."""
    head, _, name = path.rpartition(".")
    try:
        return importlib.import_module(head), name
    except ImportError:
        module, _, kind = head.rpartition(".")
        return getattr(importlib.import_module(module), kind, None), name


def main() -> None:
    times, stop = Times(), Stop()
    for path in install(times):
        print(f"stages: there is no {path}", flush=True)
    settings = read_settings()
    configure_logging(settings.log_format)
    with stop_on_signals(stop):
        run_worker(settings, stop)
    Path(os.environ["BENCH_STAGES"]).write_text(times.as_json())


if __name__ == "__main__":
    main()
