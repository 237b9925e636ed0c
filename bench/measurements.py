"""Results files: one measurement a line, with its settings; a run goes on where its lines end."""

import json
import math
import platform
import statistics
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
RESULTS = PROJECT / "bench" / "results"
FOLDER = PROJECT / "var" / "bench"
PLOTS = PROJECT / "docs" / "explanation" / "pictures"

Line = dict[str, Any]


class Results:
    """One results file and the run that is being made or looked at.

    Args:
        path: of the JSON lines; nothing is written where ``recording`` is false.
        run: the run's name; lines of other runs are left alone.
    """

    def __init__(self, path: Path, run: str, *, recording: bool = True) -> None:
        self.path = path
        self.run = run
        self._recording = recording
        self._lines: list[Line] = [line for line in read(path) if line["run"] == run]

    @property
    def lines(self) -> Sequence[Line]:
        """The run's measurements."""
        return self._lines

    def has(self, **identity: Any) -> bool:
        """Whether the run has a measurement with these values."""
        return any(all(line.get(name) == value for name, value in identity.items()) for line in self._lines)

    def add(self, **measured: Any) -> Line:
        """Keep a measurement."""
        line = {"run": self.run, **measured, "at": datetime.now(UTC).isoformat(timespec="seconds"), **_machine()}
        self._lines.append(line)
        if self._recording:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+") as file:
                file.seek(0)
                cut_off = (text := file.read()) and not text.endswith("\n")
                file.write(("\n" if cut_off else "") + json.dumps(line) + "\n")
        return line

    def of(self, **identity: Any) -> list[Line]:
        """The run's measurements with these values."""
        return [line for line in self._lines if all(line.get(name) == value for name, value in identity.items())]


def read(path: Path) -> list[Line]:
    """All lines of a results file; none where it is not there. A line that a kill cut off is left out."""
    if not path.exists():
        return []
    return [found for line in path.read_text().splitlines() if (found := _whole(line)) is not None]


def _whole(line: str) -> Line | None:
    try:
        found: Line = json.loads(line)
    except ValueError:  # a kill cut it off
        return None
    return found


def newest_run(path: Path) -> str | None:
    """The run of the last line."""
    lines = read(path)
    return str(lines[-1]["run"]) if lines else None


def new_run() -> str:
    """The name of a new run: the moment."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")


def medians(lines: Iterable[Line], by: str, value: str) -> dict[str, float]:
    """The median of a value for each name in ``by``, in the order in which the names come first."""
    found: dict[str, list[float]] = defaultdict(list)
    for line in lines:
        if line.get(value) is not None:
            found[str(line[by])].append(float(line[value]))
    return {name: statistics.median(values) for name, values in found.items()}


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _machine() -> Mapping[str, str | int]:
    return {"revision": _revision(), "python": platform.python_version()}


def _revision() -> str:
    """The commit, with a + where the tree differs from it."""
    command = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty=+", "--exclude", "*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
