"""Tables of a results file, in Markdown, for docs/explanation/faults.md."""

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.faults.daemon.summary import table
from tests.faults.sink.campaign import RESULTS
from tests.faults.sink.faulty_sink import POINTS

Line = Mapping[str, Any]
COUNTED = ("records", "kills", "server_kills", "process_kills", "frozen", "fenced", "seconds")


def kinds(lines: Sequence[Line]) -> str:
    """What was done, kind by kind."""
    rows = []
    for kind in sorted({line["kind"] for line in lines}):
        own = [line for line in lines if line["kind"] == kind]
        held = [line for line in own if "failure" not in line]
        sums = [f"{sum(line.get(name, 0) for line in held):,.0f}" for name in COUNTED]
        rows.append([kind, len(held), len(own) - len(held), *sums])
    return table(["kind", "rounds", "failed", *COUNTED], rows)


def points(lines: Sequence[Line]) -> str:
    """Where sinks died or froze."""
    found: Counter[str] = Counter()
    for line in lines:
        found.update(line.get("points", {}))
    rows = [[name, found[name]] for name in sorted(POINTS)]
    return table(["at", "times"], [*rows, ["all named points", sum(found.values())]])


def main() -> None:
    """Print all tables of the file that is named, by default of the results in the repository."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    print("\n".join((kinds(lines), points(lines))))


if __name__ == "__main__":
    main()
