"""A first suite: what the sample's values are like, with room to both sides."""

import math
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from scoring.contract.features import FieldType
from training.scaffold.kinds import Typed
from training.scaffold.plan import Plan
from training.scaffold.roles import Roles
from training.validate import Expectation, Suite

MOST_IN_SET = 20
# A share of missing values may grow by this, and a range by this share of its width.
_ROOM = 0.05
_MARGIN = 0.5
_MOSTLY = 0.99


def suite_of(plan: Plan, rows: int) -> Suite:
    """The suite of a plan's snapshot.

    Args:
        rows: that the history of a run has, as far as is known.
    """
    roles = plan.roles
    rules = [
        _rule("expect_table_row_count_to_be_between", min_value=max(1, rows // 2)),
        _rule("expect_column_values_to_be_unique", column=roles.key.name),
        _rule("expect_column_values_to_not_be_null", column=roles.key.name),
        _rule("expect_column_values_to_not_be_null", column=roles.event_time.name),
        *_of_label(plan),
        *(rule for column in plan.features for rule in _of_column(column)),
    ]
    return Suite(name=f"{plan.name}.snapshot", expectations=tuple(rules))


def encoded(suite: Suite) -> str:
    """The file, a rule a line."""
    rules = [msgspec.json.encode({"type": rule.type, "kwargs": rule.kwargs}).decode() for rule in suite.expectations]
    spaced = [msgspec.json.format(rule, indent=0) for rule in rules]
    body = ",\n".join(f"    {rule}" for rule in spaced)
    return f'{{\n  "name": {msgspec.json.encode(suite.name).decode()},\n  "expectations": [\n{body}\n  ]\n}}\n'


def _of_label(plan: Plan) -> Iterator[Expectation]:
    label = plan.roles.label
    yield from _filled(label, _unknown(plan.roles))
    if plan.roles.classes:
        yield _rule("expect_column_values_to_be_in_set", column=label.name, value_set=list(plan.roles.classes))
    elif label.kind is FieldType.NUMBER and plan.roles.positive is None:
        yield from _within(label)


def _of_column(column: Typed) -> Iterator[Expectation]:
    yield from _filled(column)
    if column.kind is FieldType.NUMBER:
        yield from _within(column)
    elif column.kind is FieldType.STRING and column.different <= MOST_IN_SET:
        values = sorted(set(column.there))
        yield _rule("expect_column_values_to_be_in_set", column=column.name, value_set=values, mostly=1 - _ROOM)


def _unknown(roles: Roles) -> float:
    """The share of the rows whose label a run cannot know yet, at the busiest time: a snapshot has none for them."""
    times = np.sort(np.asarray(roles.event_time.values, dtype=np.float64))
    times = times[np.isfinite(times)]
    younger = np.searchsorted(times, times + roles.known_after.total_seconds()) - np.arange(len(times))
    return float(younger.max(initial=0)) / max(1, len(times))


def _filled(column: Typed, unknown: float = 0.0) -> Iterator[Expectation]:
    """As many values as now, or a little fewer; a column that is mostly empty promises nothing."""
    gone = column.gone + unknown
    mostly = math.floor(100 * (1.0 - gone - (_ROOM if gone else 0.01))) / 100
    if mostly >= 0.1:
        yield _rule("expect_column_values_to_not_be_null", column=column.name, mostly=mostly)


def _within(column: Typed) -> Iterator[Expectation]:
    values = np.asarray(column.values, dtype=np.float64)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    room = _MARGIN * (high - low)
    least = 0.0 if low >= 0 and low - room < 0 else _round(low - room, math.floor)
    limits = {"min_value": _short(least), "max_value": _short(_round(high + room, math.ceil))}
    yield _rule("expect_column_values_to_be_between", column=column.name, **limits, mostly=_MOSTLY)


def _round(value: float, how: Any) -> float:
    """To two digits, away from the data."""
    if value == 0 or not math.isfinite(value):
        return value
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return float(f"{how(value / step) * step:.12g}")


def _short(value: float) -> float | int:
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def _rule(kind: str, **kwargs: Any) -> Expectation:
    return Expectation(kind, kwargs)
