"""A first suite leaves room for what the next runs may look like."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from training.scaffold.kinds import typed
from training.scaffold.plan import plan_of
from training.scaffold.reading import Table
from training.scaffold.roles import Told, roles_of
from training.scaffold.suite import suite_of

ROWS, BEGIN = 200, datetime(2025, 1, 1, tzinfo=UTC)


def share_with_a_label(*, known_after: timedelta, busy: int = 0) -> float:
    """What the suite asks for, of two events a day; the last ``busy`` of them within one hour."""
    times = [BEGIN + timedelta(hours=12 * number) for number in range(ROWS - busy)]
    times += [times[-1] + timedelta(minutes=number / 2) for number in range(1, busy + 1)]
    columns: dict[str, Any] = {
        "order_id": [f"o{number}" for number in range(ROWS)],
        "placed_at": [moment.isoformat() for moment in times],
        "km": [number * 0.5 for number in range(ROWS)],
        "late": [number % 4 == 0 for number in range(ROWS)],
    }
    table = Table(columns=tuple(typed(n, n, each, UTC) for n, each in columns.items()), rows=ROWS, whole=True)
    roles, mistakes = roles_of(table, Told(label="late", known_after=known_after), None)
    assert roles is not None, mistakes
    suite = suite_of(plan_of("orders", "shop", "orders", "orders.csv", table, roles, "UTC"), ROWS)
    (rule,) = [
        rule.kwargs
        for rule in suite.expectations
        if rule.type == "expect_column_values_to_not_be_null" and rule.kwargs["column"] == "late"
    ]
    return float(rule["mostly"])


@pytest.mark.parametrize(
    ("known_after", "busy", "share"),
    [
        (timedelta(days=1), 0, 0.94),  # two events of 200 are younger, and the room
        (timedelta(days=10), 0, 0.85),
        (timedelta(days=1), 59, 0.64),  # at the busiest time
    ],
)
def test_labels_that_a_run_cannot_know_yet_are_not_missed(known_after: timedelta, busy: int, share: float) -> None:
    assert share_with_a_label(known_after=known_after, busy=busy) == pytest.approx(share)
