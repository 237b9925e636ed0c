"""Made-up deliveries of four months: the second data set, the same every time."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa

START = datetime(2024, 1, 1, tzinfo=UTC)
END = datetime(2024, 5, 1, tzinfo=UTC)
ORDERS = 6_000
DEPOTS = ("harbour", "north", "south")
# Up to how many minutes an ending is called so.
OUTCOMES = {"quick": 38.0, "usual": 55.0, "slow": 75.0, "very slow": float("inf")}

_metadata = sa.MetaData()
_Time = sa.DateTime(timezone=True)
deliveries = sa.Table(
    "deliveries",
    _metadata,
    sa.Column("order_id", sa.Integer, primary_key=True),
    sa.Column("placed_at", _Time, nullable=False, index=True),
    sa.Column("promised_at", _Time),
    sa.Column("depot", sa.String(20), nullable=False),
    sa.Column("km", sa.Numeric(8, 3), nullable=False),
    sa.Column("kg", sa.Float),
    sa.Column("express", sa.Boolean),
    sa.Column("courier", sa.String(20)),
    sa.Column("minutes", sa.Float),
    sa.Column("outcome", sa.String(20)),
)
depot_load = sa.Table(
    "depot_load",
    _metadata,
    sa.Column("row_id", sa.Integer, primary_key=True),
    sa.Column("depot", sa.String(20), nullable=False),
    sa.Column("valid_at", _Time, nullable=False),
    sa.Column("known_at", _Time, nullable=False),
    sa.Column("queue", sa.Float),
    sa.Column("status", sa.String(20)),
    sa.Index("depot_load_by_time", "depot", "valid_at"),
)


def fill(url: str, seed: int = 1) -> None:
    """Make and fill both tables."""
    engine = sa.create_engine(url)
    random = np.random.default_rng(seed)
    loads = list(_loads(random))
    _metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(depot_load), loads)
        connection.execute(sa.insert(deliveries), list(_orders(random, _known(loads))))
    engine.dispose()


def _loads(random: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Every hour per depot, known twenty minutes later; one in ten is corrected three hours later."""
    hours = int((END - START) / timedelta(hours=1))
    for depot in DEPOTS:
        for hour in range(hours):
            valid_at = START + timedelta(hours=hour)
            for late, chance in ((timedelta(minutes=20), 0.97), (timedelta(hours=3), 0.1)):
                if random.random() < chance:
                    queue = round(float(random.gamma(3.0, 8.0)), 1)
                    yield {
                        "depot": depot,
                        "valid_at": valid_at,
                        "known_at": valid_at + late,
                        "queue": None if queue > 80 else queue,
                        "status": "closed" if queue < 4 else "busy" if queue > 30 else "calm",
                    }


def _known(loads: list[dict[str, Any]]) -> dict[tuple[str, datetime], float]:
    return {(row["depot"], row["valid_at"]): row["queue"] or 40.0 for row in loads}


def _orders(random: np.random.Generator, queues: dict[tuple[str, datetime], float]) -> Iterator[dict[str, Any]]:
    seconds = np.sort(random.integers(0, int((END - START).total_seconds()), ORDERS))
    for number, second in enumerate(seconds.tolist()):
        placed_at = START + timedelta(seconds=second, microseconds=number * 7)
        depot = DEPOTS[int(random.integers(len(DEPOTS)))]
        km, kg = round(float(random.gamma(2.0, 4.0)) + 0.3, 3), round(float(random.gamma(1.5, 3.0)), 2)
        express = bool(random.random() < 0.3)
        queue = queues.get((depot, placed_at.replace(minute=0, second=0, microsecond=0)), 20.0)
        minutes = 15.0 + 2.5 * km + 0.8 * queue - 12.0 * express + kg + float(random.normal(scale=6.0))
        yield {
            "order_id": 100_000 + number,
            "placed_at": placed_at,
            "promised_at": None if random.random() < 0.1 else placed_at + timedelta(minutes=90 + 60 * (not express)),
            "depot": depot,
            "km": km,
            "kg": None if random.random() < 0.15 else kg,
            "express": None if random.random() < 0.05 else express,
            "courier": None if random.random() < 0.5 else "c" + str(number % 9),
            **_ending(None if random.random() < 0.03 else max(round(minutes, 1), 1.0)),
        }


def _ending(minutes: float | None) -> dict[str, Any]:
    """How long it took, and the word for it."""
    if minutes is None:
        return {"minutes": None, "outcome": None}
    word = next(word for word, limit in OUTCOMES.items() if minutes <= limit)
    return {"minutes": minutes, "outcome": word}
