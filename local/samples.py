"""Three CSV files of different shape to try Baton with, each with a time column whose newest rows are of yesterday.

``python -m local.samples churn churn.csv``
"""

import csv
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np


def churn(path: Path, *, leak: bool = False, rows: int = 3_000) -> Path:
    """Whether a customer leaves: a yes or no, with text, flags, gaps and ids of text; times in ISO 8601."""
    random = np.random.default_rng(1)
    made = []
    for number, moment in enumerate(_moments(random, rows, 200)):
        plan, calls = str(random.choice(["basic", "plus", "pro"])), int(random.poisson(2))
        minutes, paperless = float(round(random.gamma(3, 40), 1)), bool(random.random() < 0.5)
        odds = -1.6 + 0.55 * calls - 0.01 * (minutes - 120) + {"basic": 0.7, "plus": 0.0, "pro": -0.7}[plan]
        left = bool(random.random() < 1 / (1 + np.exp(-odds)))
        row: dict[str, Any] = {
            "customer_id": f"c{number:06}",
            "called_at": moment.isoformat(),
            "plan": plan,
            "support calls": calls,
            "minutes": "" if random.random() < 0.08 else minutes,
            "paperless": str(paperless).lower(),
            "comment": f"comment {random.integers(10**9)}",
            "left": "yes" if left else "no",
        }
        if leak:
            row["goodbye_letters"] = int(left) + (random.random() < 0.01)
        made.append(row)
    return _write(path, made)


def progression(path: Path, *, leak: bool = False) -> Path:
    """The diabetes of scikit-learn, three times over with a little noise, with a time: a number; days first."""
    from sklearn.datasets import load_diabetes  # it takes a second to import

    random, found = np.random.default_rng(2), load_diabetes(scaled=False)
    measured, wanted = np.tile(found.data, (3, 1)), np.tile(found.target, 3)
    order = random.permutation(len(wanted))
    made = []
    for number, (place, moment) in enumerate(zip(order.tolist(), _moments(random, len(order), 120), strict=True)):
        noisy = measured[place] * (1 + random.normal(scale=0.02, size=measured.shape[1]))
        row: dict[str, Any] = {"visit": 5_000 + number, "Date of visit": moment.strftime("%d.%m.%Y %H:%M")}
        row |= {name: round(float(value), 4) for name, value in zip(found.feature_names, noisy, strict=True)}
        row["progression"] = round(float(wanted[place] + random.normal(scale=5)), 1)
        if leak:
            row["dose"] = round(row["progression"] * 0.3 + random.normal(scale=0.5), 2)
        made.append(row)
    return _write(path, made, delimiter=";")


def wines(path: Path, *, leak: bool = False) -> Path:
    """The wines of scikit-learn, five times over with noise, tasted at seconds since 1970: one of three cultivars."""
    from sklearn.datasets import load_wine

    random, found = np.random.default_rng(3), load_wine()
    measured, wanted = np.tile(found.data, (5, 1)), np.tile(found.target, 5)
    order = random.permutation(len(wanted))
    spread = measured.std(axis=0)
    made = []
    for number, (place, moment) in enumerate(zip(order.tolist(), _moments(random, len(order), 60), strict=True)):
        noisy = measured[place] + random.normal(scale=0.8, size=measured.shape[1]) * spread
        row: dict[str, Any] = {"bottle_id": f"b-{number}", "tasted_at": int(moment.timestamp())}
        row |= {name: round(float(value), 3) for name, value in zip(found.feature_names, noisy, strict=True)}
        row["cultivar"] = int(wanted[place])
        if leak:
            row["shelf"] = "abc"[wanted[place]]
        made.append(row)
    return _write(path, made)


def _moments(random: np.random.Generator, rows: int, days: int) -> list[datetime]:
    """Sorted, of the days before last midnight; each day has some, so that the newest are of yesterday."""
    seconds = np.sort(random.integers(0, days * 86_400, rows))
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return [midnight - timedelta(days=days) + timedelta(seconds=int(second)) for second in seconds]


def _write(path: Path, rows: Sequence[dict[str, Any]], delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


SAMPLES: Mapping[str, Callable[..., Path]] = MappingProxyType(
    {"churn": churn, "progression": progression, "wines": wines}
)


def main() -> None:
    """Write the sample that the command line names."""
    if len(sys.argv) != 3 or sys.argv[1] not in SAMPLES:
        sys.exit(f"usage: python -m local.samples {{{','.join(SAMPLES)}}} FILE")
    print(SAMPLES[sys.argv[1]](Path(sys.argv[2])))


if __name__ == "__main__":
    main()
