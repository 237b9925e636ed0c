"""One round of each kind: what is hurt, and what has to hold afterwards. Each returns a line of results."""

import random
import time
from collections import Counter
from typing import Any

from tests.faults.daemon.crew import Crew
from tests.faults.daemon.field import Field
from tests.faults.daemon.oracle import Verdict, judge
from tests.faults.daemon.points import plans
from tests.faults.daemon.reader import Reader
from tests.faults.daemon.stage import Stage

# For each kill.
RECORDS = 10_000
TIMEOUT_S = 24.0


def kill_round(stage: Stage, number: int, seed: int, kills: int, *, records: int | None = None) -> dict[str, Any]:
    """Workers die at named points while versions change and partitions move.

    Args:
        records: how many are scored at least.
    """
    chooser = random.Random(f"kill {seed} {number}")
    field = stage.field(f"kill-{number}", wind=number % 4 == 3)
    started = time.monotonic()
    with Reader(field) as reader:
        crew = Crew(field, reader, chooser, plans(chooser, kills, number * kills))
        crew.run(records=RECORDS * kills if records is None else records, timeout_s=max(240.0, TIMEOUT_S * kills))
        crew.close()
        return result(field, reader, crew, started)


def result(field: Field, reader: Reader, crew: Crew, started_s: float) -> dict[str, Any]:
    """Judge the round; its line of results.

    Raises:
        AssertionError: something that must hold did not.
    """
    verdict = judge(field, reader)
    assert verdict.faultless, f"{verdict}"
    acted = field.acted()
    return {
        **_told(verdict),
        "kills": len(acted) + sum(post.anywhere for post in crew.posts),
        "points": dict(Counter(str(line["point"]) for line in acted)),
        "open": {str(n): c for n, c in sorted(Counter(str(line["open"]) for line in acted).items())},
        "anywhere": sum(post.anywhere for post in crew.posts),
        "restarts": sum(post.restarts for post in crew.posts),
        **dict(crew.counts),
        "longest_gap_s": round(reader.longest_gap_s, 2),
        "seconds": round(time.monotonic() - started_s, 1),
    }


def _told(verdict: Verdict) -> dict[str, int]:
    return {
        "records": verdict.records,
        "predictions": verdict.predictions,
        "dead_letters": verdict.dead_letters,
        "sequences": verdict.sequences,
    }
