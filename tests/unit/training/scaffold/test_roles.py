"""Key, event time, label and task are guessed, told or asked; what is unclear is told all at once."""

from collections.abc import Sequence
from datetime import UTC, timedelta
from typing import Any

import pytest

from scoring.contract.manifest import Task
from training.scaffold.kinds import typed
from training.scaffold.reading import Table
from training.scaffold.roles import Roles, Told, roles_of

ROWS = 40
DAYS = [f"2025-01-{1 + number % 28:02}T{number % 24:02}:00:00Z" for number in range(ROWS)]


def table(**columns: Sequence[Any]) -> Table:
    values: dict[str, Sequence[Any]] = {
        "order_id": [f"o{number}" for number in range(ROWS)],
        "placed_at": DAYS,
        "km": [number * 0.5 for number in range(ROWS)],
        "late": [number % 4 == 0 for number in range(ROWS)],
        **columns,
    }
    return Table(columns=tuple(typed(name, name, each, UTC) for name, each in values.items()), rows=ROWS, whole=True)


def good(found: Table, **told: Any) -> Roles:
    roles, mistakes = roles_of(found, Told(**{"label": "late", **told}), None)
    assert not mistakes
    assert roles is not None
    return roles


def test_what_is_unique_and_named_like_an_id_is_the_key_and_the_only_time_the_event() -> None:
    roles = good(table())
    assert (roles.key.name, roles.event_time.name, roles.task) == ("order_id", "placed_at", Task.BINARY)
    assert {guess.what for guess in roles.guesses} == {"key", "event time", "task", "known after"}


def test_of_several_times_the_one_that_looks_like_the_beginning_counts_and_the_end_gives_the_delay() -> None:
    closed = [f"2025-02-{1 + number % 28:02}T{number % 24:02}:00:00Z" for number in range(ROWS)]
    roles = good(table(closed_at=closed))
    assert roles.event_time.name == "placed_at"
    assert roles.late == ("closed_at",)
    assert roles.known_after == timedelta(days=31)


@pytest.mark.parametrize(
    ("values", "told", "task", "classes"),
    [
        (["yes" if number % 4 else "no" for number in range(ROWS)], {}, Task.BINARY, ()),
        (["bad" if number % 4 == 0 else "good" for number in range(ROWS)], {}, Task.BINARY, ()),
        ([number % 3 for number in range(ROWS)], {}, Task.MULTICLASS, ("0", "1", "2")),
        ([number % 3 for number in range(ROWS)], {"regression": True}, Task.REGRESSION, ()),
        ([number * 1.5 for number in range(ROWS)], {}, Task.REGRESSION, ()),
        ([number * 1.5 for number in range(ROWS)], {"at_least": 20.0}, Task.BINARY, ()),
        (["abc"[number % 3] for number in range(ROWS)], {"classes": ("a", "b", "c")}, Task.MULTICLASS, ("a", "b", "c")),
    ],
)
def test_the_task_follows_from_the_labels_values_or_from_what_was_told(
    values: list[Any], told: dict[str, Any], task: Task, classes: tuple[str, ...]
) -> None:
    roles = good(table(late=values), **told)
    assert (roles.task, roles.classes) == (task, classes)


def test_of_two_texts_the_rarer_one_is_what_is_predicted() -> None:
    roles = good(table(late=["bad" if number % 4 == 0 else "good" for number in range(ROWS)]))
    assert (roles.positive, roles.at_least) == ("bad", 1.0)


def test_everything_that_is_unclear_is_told_at_once() -> None:
    unclear = table(order_id=["same"] * ROWS, placed_at=["a", "b"] * 20)
    roles, mistakes = roles_of(unclear, Told(), None)
    assert roles is None
    assert [mistake.partition(":")[0] for mistake in mistakes] == ["key", "event time", "label"]
    assert "--event-time" in mistakes[1]


def test_wrong_flags_are_told_at_once_with_the_closest_name() -> None:
    roles, mistakes = roles_of(table(), Told(label="lat", key="km", event_time="late"), None)
    assert roles is None
    assert "did you mean 'late'?" in mistakes[0]
    assert "holds no times" in mistakes[1]


def test_a_measurement_that_is_never_the_same_is_no_key() -> None:
    measured = table(order_id=["a", "b"] * 20, km=[number + 0.25 for number in range(ROWS)])
    _, mistakes = roles_of(measured, Told(label="late"), None)
    assert mistakes == ["key: no column has a value of its own in every row; add an id, or name one with --key"]


def test_somebody_who_is_there_is_asked_where_it_is_unclear() -> None:
    asked = []

    def ask(question: str, choices: Sequence[str], default: str | None) -> str:
        asked.append((question, default))
        return "late" if "predicted" in question else choices[-1]

    roles, mistakes = roles_of(table(other_id=[f"x{number}" for number in range(ROWS)]), Told(), ask)
    assert not mistakes
    assert roles is not None
    assert (roles.key.name, roles.label.name) == ("other_id", "late")
    assert asked == [
        ("Which column identifies a record?", "order_id"),
        ("Which column is to be predicted?", "other_id"),
    ]
