"""What the definition will say: which columns are read, how far back, how much is held out, with what it is learnt."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np

from scoring.contract.clock import from_epoch_s
from scoring.contract.features import FieldType
from scoring.contract.manifest import Task
from training.period import Period, days, months
from training.scaffold.kinds import Typed
from training.scaffold.reading import Table
from training.scaffold.roles import Guess, Roles

# A category has at most so many values, and where it has more than a few, so many rows of each on average.
MOST_WORDS, FEW_WORDS, ROWS_PER_WORD = 200, 10, 20
MOST_SMALL_NUMBERS = 50
_DAY_S = 86_400.0
_FEW_ROWS = 2_000


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is written.

    Attributes:
        features: columns that the model reads.
        late: columns that are known only after the event.
        file: that is read as it stands; None reads the table.
        delimiter: of that file.
        zone: of hours and days of the week.
        gates: keywords of the gates, as they are written.
        guesses: what was decided, and why.
        left_out: columns that are in neither, with the reason.
    """

    name: str
    connection: str
    table: str
    told_from: str
    roles: Roles
    features: tuple[Typed, ...]
    late: tuple[Typed, ...]
    left_out: tuple[Guess, ...]
    zone: str
    by_hour: bool
    by_weekday: bool
    history: Period
    holdout: Period
    estimator: tuple[str, ...]
    end: datetime
    gates: tuple[str, ...] = ()
    guesses: tuple[Guess, ...] = ()
    file: str | None = None
    delimiter: str = ","

    def of_kind(self, kind: FieldType) -> tuple[Typed, ...]:
        """The features' columns of one type."""
        return tuple(each for each in self.features if each.kind is kind)


def plan_of(name: str, connection: str, source: str, told_from: str, table: Table, roles: Roles, zone: str) -> Plan:
    """The plan before anything was fitted."""
    parts = (roles.key, roles.event_time, roles.label)
    others = [each for each in table.columns if each not in parts]
    late = tuple(each for each in others if each.name in roles.late)
    read, left_out = _readable([each for each in others if each not in late])
    times = np.asarray(roles.event_time.values, dtype=np.float64)
    times = times[np.isfinite(times)]
    history, holdout, end = _periods(times)
    return Plan(
        name=name,
        connection=connection,
        table=source,
        told_from=told_from,
        roles=roles,
        features=tuple(read),
        late=late,
        left_out=tuple(left_out),
        zone=zone,
        by_hour=bool((np.mod(times, 3600.0) != 0).any()),
        by_weekday=bool(times.max() - times.min() >= 14 * _DAY_S),
        history=history,
        holdout=holdout,
        estimator=_estimator(roles.task, table.rows),
        end=end,
        guesses=roles.guesses,
    )


def without_leaks(plan: Plan, names: Sequence[str]) -> Plan:
    """The same with these columns declared as known after the event."""
    moved = tuple(each for each in plan.features if each.name in names)
    kept = tuple(each for each in plan.features if each.name not in names)
    return msgspec.structs.replace(plan, features=kept, late=(*plan.late, *moved))


def _readable(columns: Sequence[Typed]) -> tuple[list[Typed], list[Guess]]:
    """The columns that can be features, and why the others cannot."""
    read, left_out = list[Typed](), list[Guess]()
    for each in columns:
        why = _why_not(each)
        if why is None:
            read.append(each)
        else:
            left_out.append(Guess("left out", each.name, why))
    return read, left_out


def _why_not(column: Typed) -> str | None:
    if column.gone == 1:
        return "it has no value in any row"
    if column.different == 1 and column.gone == 0:
        return "it has the same value in every row"
    if column.kind is FieldType.STRING and column.different > _most_words(len(column.there)):
        return f"a text with {column.different:,} different values is an id or free text"
    whole = column.kind is FieldType.NUMBER and all(float(value).is_integer() for value in column.there)
    if (
        whole
        and column.gone == 0
        and column.different == len(column.values)
        and len(column.values) > MOST_SMALL_NUMBERS
    ):
        return "a whole number that is another one in every row is an id"
    return None


def _most_words(rows: int) -> int:
    return min(MOST_WORDS, max(rows // ROWS_PER_WORD, min(FEW_WORDS, rows // 2)))


def _periods(times: np.typing.NDArray[np.float64]) -> tuple[Period, Period, datetime]:
    """History and holdout from the span of the events, and the end of the data."""
    first, last = from_epoch_s(float(times.min())), from_epoch_s(float(times.max()))
    midnight = last.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    end, span = midnight + timedelta(days=1), (last - first) / timedelta(days=1)
    if span < 90:
        return days(math.ceil(span) + 2), days(max(1, round(span * 0.2))), end
    enough = (months(count) for count in range(1, 13) if months(count).before(end) <= first)
    return next(enough, months(12)), months(1) if span >= 150 else days(round(span * 0.2)), end


def _estimator(task: Task, rows: int) -> tuple[str, ...]:
    name = "HistGradientBoostingRegressor" if task is Task.REGRESSION else "HistGradientBoostingClassifier"
    few = ("max_iter=50",) if rows < _FEW_ROWS else ()
    return f'"sklearn.ensemble.{name}"', *few, "random_state=0", "early_stopping=False"
