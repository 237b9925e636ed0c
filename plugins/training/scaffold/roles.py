"""Which column identifies a record, when it happened, and what is to be predicted: guessed, told or asked."""

import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from difflib import get_close_matches

import msgspec
import numpy as np

from scoring.contract.features import FieldType
from scoring.contract.manifest import Task
from training.scaffold.kinds import Typed
from training.scaffold.reading import Table

_ID = re.compile(r"(^|_)(id|ids|uuid|guid|key|number|no|nr|code)$", re.IGNORECASE)
_LABEL = re.compile(
    r"^(y|label|labels|target|class|outcome|churn|churned|default|defaulted|fraud|is_fraud|converted|survived|species)$",
    re.IGNORECASE,
)
_EVENT = re.compile(r"(event|created|placed|ordered|start|opened|received|occurred|timestamp|time)", re.IGNORECASE)
_LATER = re.compile(
    r"(^|_)(after|closed|ended|end|finished|delivered|completed|resolved|returned|refund|refunded|updated|modified|"
    r"outcome|result|actual|final|arrived|landed|shipped|approved|rejected|expired|cancelled|canceled|paid_back|settled)(_|$)",
    re.IGNORECASE,
)
A_DAY = timedelta(days=1)
MOST_CLASSES = 100
FEW_NUMBERS = 10

# Asks a person: the question, the choices and what is taken by default; None where nobody is there.
Ask = Callable[[str, Sequence[str], str | None], str] | None


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What was told by flags; None is to be guessed."""

    key: str | None = None
    event_time: str | None = None
    label: str | None = None
    at_least: float | None = None
    classes: tuple[str, ...] = ()
    regression: bool = False
    known_after: timedelta | None = None


class Guess(msgspec.Struct, frozen=True):
    """One decision, with its reason."""

    what: str
    value: str
    why: str


class Roles(msgspec.Struct, frozen=True, kw_only=True):
    """The columns with a part of their own.

    Attributes:
        positive: the text that becomes 1, of a label that is one of two texts.
        late: columns that are known only after the event, by the looks of them.
    """

    key: Typed
    event_time: Typed
    label: Typed
    task: Task
    at_least: float | None
    classes: tuple[str, ...]
    positive: str | None
    known_after: timedelta
    late: tuple[str, ...]
    guesses: tuple[Guess, ...]


def roles_of(table: Table, told: Told, ask: Ask) -> tuple[Roles | None, list[str]]:
    """The roles; or None and every mistake, a sentence each."""
    mistakes, guesses = list[str](), list[Guess]()
    key = _chosen(table, "--key", told.key, mistakes) or _key(table, ask, guesses, mistakes, told.key)
    event_time = _chosen(table, "--event-time", told.event_time, mistakes) or _event_time(
        table, ask, guesses, mistakes, told.event_time
    )
    label = _chosen(table, "--label", told.label, mistakes) or _label(table, ask, guesses, mistakes, told.label)
    mistakes += _misfits(key, event_time, label)
    if key is None or event_time is None or label is None or mistakes:
        return None, mistakes
    task, at_least, classes, positive = _task(label, told, guesses, mistakes)
    known_after = told.known_after or _delay(table, event_time, label, guesses)
    late = tuple(each.name for each in table.columns if each not in (key, event_time, label) and _looks_late(each))
    if mistakes:
        return None, mistakes
    return (
        Roles(
            key=key,
            event_time=event_time,
            label=label,
            task=task,
            at_least=at_least,
            classes=classes,
            positive=positive,
            known_after=known_after,
            late=late,
            guesses=tuple(guesses),
        ),
        [],
    )


def _chosen(table: Table, flag: str, name: str | None, mistakes: list[str]) -> Typed | None:
    if name is None:
        return None
    found = table.named(name)
    if found is None:
        names = [each.name for each in table.columns]
        near = get_close_matches(name, names, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names)}"
        mistakes.append(f"{flag}: there is no column {name!r}; {hint}")
    return found


def _key(table: Table, ask: Ask, guesses: list[Guess], mistakes: list[str], told: str | None) -> Typed | None:
    if told is not None:
        return None
    unique = [each for each in table.columns if _is_unique(each, table.rows) and _can_be_key(each)]
    named = [each for each in unique if _ID.search(each.name)] or unique
    if not named:
        mistakes.append("key: no column has a value of its own in every row; add an id, or name one with --key")
        return None
    best = min(named, key=lambda each: (each.name.lower() != "id", table.columns.index(each)))
    if len(named) > 1 and ask is not None:
        best = table.named(ask("Which column identifies a record?", [each.name for each in named], best.name)) or best
    guesses.append(Guess("key", best.name, "no two rows have the same value, and none lacks one"))
    return best


def _event_time(table: Table, ask: Ask, guesses: list[Guess], mistakes: list[str], told: str | None) -> Typed | None:
    if told is not None:
        return None
    times = [each for each in table.columns if each.kind is FieldType.TIME]
    if not times:
        mistakes.append(
            "event time: no column holds times, and without one nothing can be split into past and future; add the "
            "moment at which each prediction would have been made (2024-01-31T15:04:05Z), or name one with --event-time"
        )
        return None
    whole = [each for each in times if each.gone == 0 and not _LATER.search(each.name)] or times
    best = min(
        whole, key=lambda each: (not _EVENT.search(each.name), float(np.nanmean(np.asarray(each.values, float))))
    )
    if len(times) > 1 and ask is not None:
        best = table.named(ask("When is the prediction made?", [each.name for each in times], best.name)) or best
    why = "the only column of times" if len(times) == 1 else "of the columns of times it looks most like the beginning"
    guesses.append(Guess("event time", best.name, f"{why}{f', written as {best.written}' if best.written else ''}"))
    return best


def _label(table: Table, ask: Ask, guesses: list[Guess], mistakes: list[str], told: str | None) -> Typed | None:
    if told is not None:
        return None
    names = [each.name for each in table.columns]
    named = [each for each in table.columns if _LABEL.search(each.name)]
    if ask is not None:
        default = named[0].name if named else names[-1]
        return table.named(ask("Which column is to be predicted?", names, default))
    if len(named) == 1:
        guesses.append(Guess("label", named[0].name, "its name says so"))
        return named[0]
    mistakes.append(f"label: say with --label which column is to be predicted (there are: {', '.join(names)})")
    return None


def _misfits(key: Typed | None, event_time: Typed | None, label: Typed | None) -> list[str]:
    found = []
    if event_time is not None and event_time.kind is not FieldType.TIME:
        found.append(
            f"event time: {event_time.column!r} holds no times, its values are of type {event_time.kind.value}"
        )
    if event_time is not None and event_time.gone == 1:
        found.append(f"event time: {event_time.column!r} is empty")
    if key is not None and not _is_unique(key, len(key.values)):
        found.append(
            f"key: {key.column!r} has {key.different:,} different values in {len(key.values):,} rows; take another"
        )
    if label is not None and label in (key, event_time):
        found.append(f"label: {label.column!r} is the key or the event time, which are known at the event")
    if label is not None and label.kind is FieldType.TIME:
        found.append(f"label: {label.column!r} holds times; predict a number made from it, such as the days until then")
    if label is not None and label.different < 2:
        found.append(f"label: {label.column!r} has the same value everywhere, so there is nothing to learn")
    return found


_TaskOf = tuple[Task, float | None, tuple[str, ...], str | None]


def _task(label: Typed, told: Told, guesses: list[Guess], mistakes: list[str]) -> _TaskOf:
    """What kind of model it takes."""
    if told.classes:
        strange = sorted(set(map(_text, label.there)) - set(told.classes))
        if strange:
            mistakes.append(f"--classes: {label.column!r} also has {', '.join(strange[:5])}; name all of them")
        return Task.MULTICLASS, None, told.classes, None
    if told.at_least is not None:
        if label.kind is FieldType.STRING:
            mistakes.append(f"--at-least: {label.column!r} holds text, which has no order")
        return Task.BINARY, told.at_least, (), None
    if told.regression:
        if label.kind is FieldType.STRING:
            mistakes.append(f"--regression: {label.column!r} holds text, not numbers")
        return Task.REGRESSION, None, (), None
    return _guessed_task(label, guesses, mistakes)


def _guessed_task(label: Typed, guesses: list[Guess], mistakes: list[str]) -> _TaskOf:
    values, words = sorted(set(label.there)), label.kind is FieldType.STRING
    if len(values) == 2:
        if words:
            positive = min(values, key=label.there.count)
            guesses.append(Guess("task", "binary", f"{label.name} has two values; 1 is the rarer one, {positive!r}"))
            return Task.BINARY, 1.0, (), positive
        guesses.append(Guess("task", "binary", f"{label.name} has the values {values[0]:g} and {values[1]:g}"))
        return Task.BINARY, float(values[1]), (), None
    whole = not words and all(float(value).is_integer() for value in values)
    if words or (whole and len(values) <= FEW_NUMBERS):
        if len(values) > MOST_CLASSES:
            mistakes.append(
                f"label: {label.column!r} is text with {len(values):,} different values, too many for classes"
            )
        classes = tuple(map(_text, values))
        guesses.append(
            Guess("task", "multiclass", f"{label.name} has {len(values)} values; --regression takes a number")
        )
        return Task.MULTICLASS, None, classes, None
    guesses.append(Guess("task", "regression", f"{label.name} is a number with {len(values):,} values"))
    return Task.REGRESSION, None, (), None


def _delay(table: Table, event_time: Typed, label: Typed, guesses: list[Guess]) -> timedelta:
    """By a later time of the same rows, where there is one that looks like the end of the matter."""
    start = np.asarray(event_time.values, dtype=np.float64)
    for each in table.columns:
        if each.kind is FieldType.TIME and each is not event_time and _LATER.search(each.name):
            waits = np.asarray(each.values, dtype=np.float64) - start
            longest = float(np.nanquantile(waits, 0.95)) if np.isfinite(waits).any() else 0.0
            if longest > 0:
                days = timedelta(days=int(np.ceil(longest / 86_400.0)))
                guesses.append(Guess("known after", f"{days.days} d", f"{each.name} comes by then in 95% of the rows"))
                return days
    guesses.append(Guess("known after", "1 d", f"nothing says when {label.name} is known: set it with --known-after"))
    return A_DAY


def _looks_late(column: Typed) -> bool:
    return bool(_LATER.search(column.name))


def _is_unique(column: Typed, rows: int) -> bool:
    return column.gone == 0 and column.different == rows


def _can_be_key(column: Typed) -> bool:
    """A text or a whole number: a measurement that happens to be unique is no name."""
    if column.kind is FieldType.NUMBER:
        return all(float(value).is_integer() for value in column.there)
    return column.kind is FieldType.STRING


def _text(value: object) -> str:
    """A class as the source has it: a whole number has no decimals there."""
    return f"{value:g}" if isinstance(value, float) else str(value)
