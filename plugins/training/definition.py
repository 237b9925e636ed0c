"""The model definition: all that a user writes to add a model. Importing this module imports no training library.

::

    from datetime import timedelta
    from training.definition import Estimator, Gates, Label, ModelDefinition, Source
    from training.feature import number
    from training import field

    fare = ModelDefinition(
        name="fare",
        source=Source(connection="warehouse", table="trips"),
        key="trip_id",
        event_time="pickup",
        fields=[field.string("trip_id", required=True), field.time("pickup", required=True), field.number("miles")],
        label=Label("fare", known_after=timedelta(hours=1)),
        features=[number("miles")],
        estimator=Estimator("sklearn.linear_model.LinearRegression"),
        gates=Gates(maximum={"rmse": 5.0}),
    )

All mistakes of a definition are reported together, when it is made.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from scoring.contract import manifest
from scoring.contract.errors import ConfigurationError
from scoring.contract.features import (
    Category,
    Feature,
    FeatureSchema,
    Field,
    Lookup,
    LookupField,
    TableLookup,
    inputs_of,
)
from scoring.contract.manifest import Task, Topics
from scoring.contract.notice import ModelName
from training.estimator import Estimator
from training.period import Period, days, months

__all__ = [
    "Estimator",
    "Gates",
    "Label",
    "ModelDefinition",
    "Period",
    "Source",
    "days",
    "months",
    "table_lookup",
]


class Metric(NamedTuple):
    """A metric of the evaluation: for which task, and whether more of it is better."""

    task: Task
    more_is_better: bool


METRICS: Mapping[str, Metric] = {
    "auc": Metric(Task.BINARY, more_is_better=True),
    "log_loss": Metric(Task.BINARY, more_is_better=False),
    "brier": Metric(Task.BINARY, more_is_better=False),
    "r2": Metric(Task.REGRESSION, more_is_better=True),
    "mae": Metric(Task.REGRESSION, more_is_better=False),
    "rmse": Metric(Task.REGRESSION, more_is_better=False),
}


class Source(msgspec.Struct, frozen=True):
    """The table that the records and their labels are pulled from.

    Attributes:
        connection: the *name* of a database connection (``BATON_CONNECTIONS__<NAME>``).
        columns: column of the table by field, where the names differ.
    """

    connection: str
    table: str
    columns: Mapping[str, str] = {}

    def column(self, field: str) -> str:
        """The table's column for a field or label."""
        return self.columns.get(field, field)


class Label(msgspec.Struct, frozen=True):
    """What the model learns to predict.

    Attributes:
        column: of the source; null where the outcome never comes (a cancelled flight).
        at_least: the positive class is ``column >= at_least`` (1 for a column of booleans); None predicts the
            number itself.
        known_after: how long after the event time the label is known.
    """

    column: str
    known_after: timedelta
    at_least: float | None = None


class Gates(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of the gates.

    Attributes:
        minimum, maximum: limits of metrics on the holdout, such as ``minimum={"auc": 0.6}``; at least one.
        not_worse: by how much a metric may be worse than the champion's on the same rows. The first version must
            beat the trivial baseline in the same metrics, by any amount.
        parity_tolerance: largest absolute difference between the compiled model and the estimator over the holdout;
            models that compile exactly must be equal bit for bit, whatever it is.
    """

    minimum: Mapping[str, float] = {}
    maximum: Mapping[str, float] = {}
    not_worse: Mapping[str, float] = {}
    parity_tolerance: float = 1e-5


class ModelDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """One model: where its records come from, what is predicted from what, and what a new version must show.

    Attributes:
        name: of the model, its DAG and its topics.
        key: field that identifies a record; it becomes the Kafka key.
        event_time: field with the moment of the prediction; features may only use what is known then.
        fields: of the input record.
        lookups: values that training and workers look up for a record as of its event.
        threshold: the decision of a binary model is ``score >= threshold``.
        pass_through: fields that each prediction repeats.
        history: how far a scheduled run's data reach back from the end of its interval.
        holdout: the latest part of the data, on which the candidate is judged.
        schedule: Airflow's, such as ``"@monthly"``; None runs by hand only.
        topics: by default ``<name>.input``, ``<name>.predictions`` and ``<name>.dead-letters``.
        partitions: of the three topics.
        suite: path of the Great Expectations suite; ``load_definitions`` sets it to
            ``expectations/<name>/snapshot.json`` beside the folder of the definition.
        description: for people; ``load_definitions`` sets it to the module's docstring.

    Raises:
        ConfigurationError: lists every mistake.
    """

    name: str
    source: Source
    key: str
    event_time: str
    fields: Sequence[Field]
    label: Label
    features: Sequence[Feature]
    estimator: Estimator
    gates: Gates
    lookups: Sequence[Lookup] = ()
    threshold: float | None = None
    pass_through: Sequence[str] = ()
    history: Period = Period(months=12)
    holdout: Period = Period(months=1)
    schedule: str | None = None
    topics: Topics | None = None
    partitions: int = 4
    suite: str | None = None
    description: str = ""

    def __post_init__(self) -> None:
        found = list(_mistakes(self))
        if found:
            raise ConfigurationError(f"model definition {self.name!r}:\n" + "\n".join(f"  - {line}" for line in found))

    @property
    def task(self) -> Task:
        """Binary where the label has a limit, otherwise regression."""
        return Task.REGRESSION if self.label.at_least is None else Task.BINARY

    @property
    def schema(self) -> FeatureSchema:
        """The feature schema, with vocabularies still empty."""
        return _schema(self)

    @property
    def known_fields(self) -> tuple[Field, ...]:
        """The fields that are known at the event: what a message carries."""
        return tuple(field for field in self.fields if field.known_after_s <= 0)

    @property
    def all_topics(self) -> Topics:
        """The model's topics."""
        return self.topics or Topics.of(self.name)

    @property
    def manifest_source(self) -> manifest.Source:
        """The source as the manifest keeps it: the known fields, without the label."""
        columns = tuple((field.name, self.source.column(field.name)) for field in self.known_fields)
        return manifest.Source(connection=self.source.connection, table=self.source.table, columns=columns)

    def interval_ending(self, end: datetime) -> tuple[datetime, datetime]:
        """The data interval ``[start, end)`` of event time of a run whose data end at ``end``."""
        return self.history.before(end), end

    def holdout_start(self, end: datetime) -> datetime:
        """The start of the holdout ``[holdout_start, end)``."""
        return self.holdout.before(end)


def table_lookup(
    name: str,
    *,
    connection: str,
    table: str,
    match: Mapping[str, str],
    valid_at: str,
    fields: Sequence[str | LookupField],
    known_at: str | None = None,
    lag: timedelta = timedelta(0),
    max_age: timedelta = timedelta(days=1),
    resolution: timedelta = timedelta(seconds=1),
) -> TableLookup:
    """Values from a table as of the event: the newest row that is older than the event by ``lag`` or more.

    Args:
        match: field of the record by column of the table.
        valid_at: column with the time from which the row holds.
        known_at: column with the time at which the row became known, where the table has one.
        max_age: rows that are older than the event minus ``lag`` by this or more are not used.
        fields: columns to bring; a plain name is a number.
        resolution: event times within one step share a row.
    """
    return TableLookup(
        name=name,
        connection=connection,
        table=table,
        match=tuple(match.items()),
        valid_at=valid_at,
        known_at=known_at,
        lag_s=lag.total_seconds(),
        max_age_s=max_age.total_seconds(),
        resolution_s=resolution.total_seconds(),
        fields=tuple(LookupField(name=field) if isinstance(field, str) else field for field in fields),
    )


def _schema(definition: ModelDefinition) -> FeatureSchema:
    return FeatureSchema(
        key=definition.key,
        event_time=definition.event_time,
        fields=definition.known_fields,
        lookups=tuple(definition.lookups),
        features=tuple(definition.features),
    )


def _mistakes(definition: ModelDefinition) -> Iterator[str]:
    yield from _name_mistakes(definition)
    yield from _leaks(definition)
    yield from _schema_mistakes(definition)
    yield from definition.estimator.mistakes()
    yield from _label_mistakes(definition)
    yield from _gate_mistakes(definition)
    names = {field.name for field in definition.known_fields}
    for name in definition.pass_through:
        if name not in names:
            yield f"pass_through: {name!r} is not a field that is known at the event"
    if not definition.history or not definition.holdout:
        yield "history and holdout must be longer than nothing"
    if definition.partitions < 1:
        yield f"partitions: {definition.partitions} is not a positive number"


def _name_mistakes(definition: ModelDefinition) -> Iterator[str]:
    try:
        msgspec.convert(definition.name, ModelName)
    except msgspec.ValidationError:
        yield f"name: {definition.name!r} must be lower-case letters, digits and underscores, at most 63"


def _leaks(definition: ModelDefinition) -> Iterator[str]:
    late = {field.name: field.known_after_s for field in definition.fields if field.known_after_s > 0}
    for feature in definition.features:
        for column, _ in inputs_of(feature):
            if column in late:
                yield f"feature {feature.name!r} is a leak: {column!r} is known {late[column]:.0f} s after the event"
    for name in sorted(late.keys() & {definition.key, definition.event_time}):
        yield f"{name!r} is the key or the event time and must be known at the event"


def _schema_mistakes(definition: ModelDefinition) -> Iterator[str]:
    """The schema's own mistakes; leaks were told before, so late fields stand in as if they were known."""
    pretended = [msgspec.structs.replace(field, known_after_s=0.0) for field in definition.fields]
    try:
        schema = FeatureSchema(
            key=definition.key,
            event_time=definition.event_time,
            fields=tuple(pretended),
            lookups=tuple(definition.lookups),
            features=tuple(definition.features),
        )
        msgspec.convert(msgspec.to_builtins(schema), FeatureSchema)
    except ConfigurationError as error:
        yield from (line.removeprefix("  - ") for line in str(error).splitlines()[1:])
    except msgspec.ValidationError as error:
        yield f"schema: {error}"
    for feature in definition.features:
        if isinstance(feature, Category) and feature.vocabulary:
            yield f"feature {feature.name!r}: the vocabulary is taken from the training rows; leave it empty"


def _label_mistakes(definition: ModelDefinition) -> Iterator[str]:
    label = definition.label
    known = {field.name for field in definition.known_fields}
    if label.known_after < timedelta(0):
        yield "label: known_after must not be negative"
    if label.column in known:
        yield f"label: {label.column!r} is also a field that is known at the event, so nothing is left to predict"
    if definition.threshold is not None and label.at_least is None:
        yield "threshold: a regression has no decision; leave it out, or give the label at_least"


def _gate_mistakes(definition: ModelDefinition) -> Iterator[str]:
    gates, task = definition.gates, definition.task
    if not gates.minimum and not gates.maximum:
        yield f"gates: state a minimum or maximum, such as {_example(task)}; without one any model would do"
    for name in sorted({*gates.minimum, *gates.maximum, *gates.not_worse}):
        metric = METRICS.get(name)
        if metric is None or metric.task is not task:
            choices = ", ".join(name for name, metric in METRICS.items() if metric.task is task)
            yield f"gates: {name!r} is no metric of a {task.value} model (there are: {choices})"
        elif name in gates.minimum and not metric.more_is_better:
            yield f"gates: less {name} is better, so give it a maximum"
        elif name in gates.maximum and metric.more_is_better:
            yield f"gates: more {name} is better, so give it a minimum"
    for name, margin in gates.not_worse.items():
        if not margin >= 0:
            yield f"gates: the margin of {name!r} must not be negative"
    if not gates.parity_tolerance >= 0:
        yield "gates: parity_tolerance must not be negative"


def _example(task: Task) -> str:
    return 'minimum={"auc": 0.6}' if task is Task.BINARY else 'maximum={"rmse": 5.0}'
