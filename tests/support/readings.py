"""Made-up sensor readings of five months: the third data set, the same every time."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa

START = datetime(2025, 1, 1, tzinfo=UTC)
END = datetime(2025, 6, 1, tzinfo=UTC)
READINGS = 15_000
KINDS = ("press", "lathe", "mill", "robot")
HALLS = ("A", "B", "C")

_metadata = sa.MetaData()
readings = sa.Table(
    "readings",
    _metadata,
    sa.Column("reading_id", sa.String(12), primary_key=True),
    sa.Column("read_at", sa.DateTime(timezone=True), nullable=False, index=True),
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("hall", sa.String(1), nullable=False),
    sa.Column("temperature", sa.Float),
    sa.Column("vibration", sa.Float, nullable=False),
    sa.Column("pressure", sa.Float),
    sa.Column("current", sa.Float),
    sa.Column("turns", sa.Float),
    sa.Column("hours_since_service", sa.Float, nullable=False),
    sa.Column("repair_minutes", sa.Float),
    sa.Column("failed", sa.Float),
)


def fill(url: str, seed: int = 5) -> None:
    """Make and fill the table."""
    engine = sa.create_engine(url)
    _metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(readings), list(_readings(np.random.default_rng(seed))))
    engine.dispose()


def _readings(random: np.random.Generator) -> Iterator[dict[str, Any]]:
    seconds = np.sort(random.integers(0, int((END - START).total_seconds()), READINGS))
    for number, second in enumerate(seconds.tolist()):
        kind, hall = KINDS[int(random.choice(4, p=(0.4, 0.3, 0.2, 0.1)))], HALLS[int(random.integers(3))]
        service = float(random.gamma(2.0, 150.0))
        turns = float(random.normal(1_500.0, 250.0))
        vibration = float(random.gamma(3.0, 1.2)) + service / 400.0
        temperature = 45.0 + 0.008 * turns + 1.5 * vibration + float(random.normal(scale=4.0))
        current = 0.02 * turns * (1.3 if kind == "press" else 1.0) + float(random.normal(scale=3.0))
        worn = 0.55 * vibration + 0.0035 * service + 0.05 * (temperature - 60.0) + 0.05 * (current - 30.0)
        failed = bool(random.random() < 1.0 / (1.0 + np.exp(6.2 - worn - (0.8 if kind == "mill" else 0.0))))
        yield {
            "reading_id": f"r{number:07d}",
            "read_at": START + timedelta(seconds=second, microseconds=number * 3),
            "kind": kind,
            "hall": hall,
            "temperature": None if random.random() < 0.04 else round(temperature, 1),
            "vibration": round(min(vibration, 39.0), 2),
            "pressure": None if random.random() < 0.1 else round(float(random.normal(6.0, 0.8)), 2),
            "current": round(current, 1),
            "turns": round(turns, 0),
            "hours_since_service": round(min(service, 1_990.0), 1),
            "repair_minutes": round(float(random.gamma(3.0, 30.0)), 0) if failed else None,
            "failed": None if random.random() < 0.01 else float(failed),
        }
