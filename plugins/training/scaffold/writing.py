"""The definition's file, from a plan."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from scoring.contract.features import FieldType
from scoring.contract.manifest import Task
from training.period import Period
from training.scaffold.kinds import Typed
from training.scaffold.layout import Call, lines, names, said, text
from training.scaffold.plan import Plan

_GROUPS = {FieldType.NUMBER: "NUMBERS", FieldType.BOOLEAN: "FLAGS", FieldType.STRING: "WORDS"}
_TRANSFORMS = {FieldType.NUMBER: "number", FieldType.BOOLEAN: "number", FieldType.STRING: "category"}


def definition_of(plan: Plan) -> str:
    """The text of the file."""
    body = [*_imports(plan), *_constants(plan), *lines(_call(plan)), ""]
    return "\n".join([_docstring(plan), "", *body])


def _docstring(plan: Plan) -> str:
    what = {
        Task.BINARY: f"Will {plan.roles.label.name} come about?",
        Task.REGRESSION: f"How much will {plan.roles.label.name} be?",
        Task.MULTICLASS: f"Which {plan.roles.label.name} will it be?",
    }[plan.roles.task]
    return f'"""{what} Told at {plan.roles.event_time.name}; a first draft by `baton new`, meant to be changed."""'


def _imports(plan: Plan) -> Iterator[str]:
    periods = {_period(plan.history).partition("(")[0], _period(plan.holdout).partition("(")[0]}
    source = ["Source"] if plan.file is None else []
    made = ["Estimator", "Gates", "Label", "ModelDefinition", *source, *sorted(periods)]
    yield "from datetime import timedelta"
    yield ""
    yield "from training import field"
    yield f"from training.definition import {', '.join(made)}"
    yield f"from training.feature import {', '.join(sorted(set(_transforms(plan))))}"
    if plan.file is not None:
        yield "from training.sources import files"
    yield ""


def _transforms(plan: Plan) -> Iterator[str]:
    yield from (_TRANSFORMS[each.kind] for each in plan.features if each.kind in _TRANSFORMS)
    if plan.of_kind(FieldType.TIME):
        yield "elapsed"
    if plan.by_hour:
        yield "hour_of_day"
    if plan.by_weekday:
        yield "day_of_week"


def _constants(plan: Plan) -> Iterator[str]:
    found = [line for kind, title in _GROUPS.items() for line in _constant(title, plan.of_kind(kind))]
    late = [each for kind in FieldType for each in _late(plan, kind)]
    yield from found
    for kind in FieldType:
        yield from _constant(f"LATE_{kind.name}S", _late(plan, kind))
    if found or len(late) > 1:
        yield ""


def _constant(title: str, columns: Sequence[Typed]) -> list[str]:
    return names(title, [each.name for each in columns]) if len(columns) > 1 else []


def _late(plan: Plan, kind: FieldType) -> list[Typed]:
    return [each for each in plan.late if each.kind is kind]


def _call(plan: Plan) -> Call:
    roles = plan.roles
    parts: list[Call | str] = [
        f"name={text(plan.name)}",
        _source(plan),
        said(f"key={text(roles.key.name)}", "another one in every row; it becomes the Kafka key"),
        said(f"event_time={text(roles.event_time.name)}", "the moment of the prediction"),
        Call("fields=[", tuple(_fields(plan)), "]", opened=True),
        Call("features=[", tuple(_features(plan)), "]", opened=True),
        _label(plan),
        Call("estimator=Estimator(", plan.estimator),
        Call("gates=Gates(", plan.gates, comment="from a quick fit; see bring-your-own-model for more of them"),
        said(f"history={_period(plan.history)}", "how far back a run reads"),
        said(f"holdout={_period(plan.holdout)}", "the newest part of it, on which a model is judged"),
    ]
    return Call(f"{plan.name} = ModelDefinition(", tuple(parts), opened=True)


def _source(plan: Plan) -> Call:
    used = (plan.roles.key, plan.roles.event_time, plan.roles.label, *plan.features, *plan.late)
    renamed = tuple(f"{text(each.name)}: {text(each.column)}" for each in used if each.name != each.column)
    columns = (Call("columns={", renamed, "}"),) if renamed else ()
    if plan.file is None:
        parts = (f"connection={text(plan.connection)}", f"table={text(plan.table)}")
        return Call("source=Source(", (*parts, *columns))
    delimiter = () if plan.delimiter == "," else (f"delimiter={text(plan.delimiter)}",)
    told = (text(plan.file), *delimiter, f"timezone={text(plan.zone)}")
    return Call("sources=[", (Call("files(", (*told, *columns)),), "]")


def _fields(plan: Plan) -> Iterator[str]:
    for each in (plan.roles.key, plan.roles.event_time):
        yield f"field.{each.kind.value}({text(each.name)}, required=True)"
    for kind, title in _GROUPS.items():
        yield from _declared(kind, title, plan.of_kind(kind), "")
    for each in plan.of_kind(FieldType.TIME):
        yield f"field.time({text(each.name)})"
    also = f", known_after={_timedelta(plan.roles.known_after)}"
    for kind in FieldType:
        yield from _declared(kind, f"LATE_{kind.name}S", _late(plan, kind), also)


def _declared(kind: FieldType, title: str, columns: Sequence[Typed], also: str) -> Iterator[str]:
    if len(columns) == 1:
        yield f"field.{kind.value}({text(columns[0].name)}{also})"
    elif columns:
        yield f"*(field.{kind.value}(name{also}) for name in {title})"


def _features(plan: Plan) -> Iterator[str]:
    for kind, title in _GROUPS.items():
        columns = plan.of_kind(kind)
        if len(columns) == 1:
            yield f"{_TRANSFORMS[kind]}({text(columns[0].name)})"
        elif columns:
            yield f"*({_TRANSFORMS[kind]}(name) for name in {title})"
    event_time = text(plan.roles.event_time.name)
    zone = "" if plan.zone == "UTC" else f", zone={text(plan.zone)}"
    for each in plan.of_kind(FieldType.TIME):
        yield f"elapsed({text(each.name)}, since={event_time})"
    if plan.by_hour:
        yield f"hour_of_day({event_time}{zone})"
    if plan.by_weekday:
        yield f"day_of_week({event_time}{zone})"


def _label(plan: Plan) -> Call:
    roles = plan.roles
    parts: list[Call | str] = [text(roles.label.name)]
    if roles.at_least is not None:
        parts.append(f"at_least={roles.at_least:g}")
    if roles.classes:
        parts.append(Call("classes=(", tuple(map(text, roles.classes))))
    positive = f"1 is {roles.positive!r}; " if roles.positive is not None else ""
    comment = f"{positive}known_after: make sure of it"
    return Call("label=Label(", (*parts, f"known_after={_timedelta(roles.known_after)}"), comment=comment)


def _period(period: Period) -> str:
    return f"months({period.months})" if period.months else f"days({period.days})"


def _timedelta(length: timedelta) -> str:
    if length.seconds == 0 and length.microseconds == 0:
        return f"timedelta(days={length.days})"
    hours = length / timedelta(hours=1)
    return f"timedelta(hours={hours:g})" if hours.is_integer() else f"timedelta(seconds={length.total_seconds():g})"
