"""Tables of a results file, in Markdown, for docs/explanation/faults.md."""

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.faults.daemon.campaign import RESULTS
from tests.faults.daemon.points import POINTS

Line = Mapping[str, Any]
COUNTED = (
    "records",
    "dead_letters",
    "kills",
    "broker_kills",
    "zombies",
    "swaps",
    "rollbacks",
    "refusals",
    "joins",
    "leaves",
)


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def kinds(lines: Sequence[Line]) -> str:
    """What was done, kind by kind."""
    rows = []
    for kind in sorted({line["kind"] for line in lines}):
        own = [line for line in lines if line["kind"] == kind]
        held = [line for line in own if "failure" not in line]
        gaps = [line["longest_gap_s"] for line in held]
        sums = [f"{sum(line.get(name, 0) for line in held):,}" for name in COUNTED]
        rows.append([kind, len(held), len(own) - len(held), *sums, median(gaps) if gaps else "", max(gaps, default="")])
    return table(["kind", "rounds", "failed", *COUNTED, "median of the longest gaps, s", "longest gap, s"], rows)


def points(lines: Sequence[Line]) -> str:
    """Where workers were killed, and how many transactions were open."""
    found: Counter[str] = Counter()
    for line in lines:
        if line["kind"] == "kill":
            found.update(line.get("points", {}))
    rows = [[name, found[name]] for name in sorted(POINTS)]
    return table(["killed at", "times"], [*rows, ["all named points", sum(found.values())]])


def opened(lines: Sequence[Line]) -> str:
    """Kills by the number of open transactions."""
    found: Counter[str] = Counter()
    for line in lines:
        if line["kind"] == "kill":
            found.update(line.get("open", {}))
    return table(["open transactions", "kills"], [[name, found[name]] for name in sorted(found)])


def zombies(lines: Sequence[Line]) -> str:
    """What became of those that woke up."""
    found: Counter[str] = Counter()
    for line in lines:
        found.update(line.get("outcomes", {}))
    return table(["succeeded by, and", "zombies"], sorted(found.items()))


def main() -> None:
    """Print all tables of the file that is named, by default of the results in the repository."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    print("\n".join((kinds(lines), points(lines), opened(lines), zombies(lines))))


if __name__ == "__main__":
    main()
