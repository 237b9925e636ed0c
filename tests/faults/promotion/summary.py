"""Say what results files hold, as the tables that the documentation quotes."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from tests.support.promoter import ANYWHERE, STEPS

Line = dict[str, Any]


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [list(map(str, headings)), ["---"] * len(headings), *(list(map(str, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def of_kills(lines: Sequence[Line]) -> str:
    """Kills by step: how many, how many had decided, and how long agreement took."""
    rows = []
    for step in (*STEPS, ANYWHERE):
        own = [line for line in lines if line["step"] == step]
        if own:
            rows.append((step, len(own), sum(line["decided"] for line in own), *_seconds(own)))
    rows.append(("all", len(lines), sum(line["decided"] for line in lines), *_seconds(lines)))
    return table(("killed at", "rounds", "had decided", "median s", "longest s"), rows)


def of_registries(lines: Sequence[Line]) -> str:
    """How long agreement took, by what the kill fell upon."""
    rows = []
    for registry, workers in sorted({(line["registry"], line["workers"]) for line in lines}):
        own = [line for line in lines if (line["registry"], line["workers"]) == (registry, workers)]
        after = max((line["after_s"] for line in own if "after_s" in line), default="-")
        rows.append((registry, workers, len(own), *_seconds(own), after))
    headings = ("registry", "workers", "rounds", "median s from the kill", "longest", "longest after reconciling")
    return table(headings, rows)


def of_settings(lines: Sequence[Line]) -> str:
    """Rounds by what they were run on."""
    counts = Counter((line["campaign"], line["database"], line["registry"], line["workers"]) for line in lines)
    return table(
        ("campaign", "database", "registry", "workers", "rounds"), [(*k, n) for k, n in sorted(counts.items())]
    )


def of_contests(lines: Sequence[Line]) -> str:
    """Contests by their form."""
    rows = []
    for form in sorted({line["form"] for line in lines}):
        own = [line for line in lines if line["form"] == form]
        rows.append((form, len(own), *(sum(line[name] for line in own) for name in ("entries", "won", "lost"))))
    rows.append(("all", len(lines), *(sum(line[name] for line in lines) for name in ("entries", "won", "lost"))))
    return table(("form", "rounds", "entries", "told that they won", "told that they lost"), rows)


def _seconds(lines: Sequence[Line]) -> tuple[float, float]:
    seconds = [line["agreed_s"] for line in lines]
    return round(float(np.median(seconds)), 1), max(seconds)


def summary(lines: Sequence[Line]) -> str:
    """Everything, failures first."""
    failures = [line for line in lines if "failure" in line]
    rounds = [line for line in lines if "agreed_s" in line]
    chunks = [line for line in lines if "chunk" in line]
    parts = [f"failed: {len(failures)}", *(f"  {line['failure'][:300]}" for line in failures), ""]
    kills = [line for line in rounds if line["campaign"] == "kills"]
    contests = [line for line in rounds if line["campaign"] == "contests"]
    parts += [of_settings(rounds), ""]
    if kills:
        promotions = sum(line["kind"] == "promote" for line in kills)
        parts += [
            f"{promotions} promotions and {len(kills) - promotions} rollbacks",
            "",
            of_kills(kills),
            "",
            of_registries(kills),
            "",
        ]
    if contests:
        parts += [of_contests(contests), ""]
    totals = {
        name: sum(line.get(name, 0) for line in chunks) for name in ("entries", "committed", "aborted", "records")
    }
    parts.append(f"over {len(chunks)} chunks: {totals}")
    return "\n".join(parts)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def main(files: tuple[Path, ...]) -> None:
    """Print the tables of the results FILES."""
    click.echo(summary([json.loads(line) for file in files for line in file.read_text().splitlines()]))


if __name__ == "__main__":
    main()
