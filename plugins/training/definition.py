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
from typing import TYPE_CHECKING

import msgspec

from scoring.contract import manifest
from scoring.contract.errors import ConfigurationError
from scoring.contract.features import Feature, FeatureSchema, Field, FieldType, Lookup
from scoring.contract.manifest import Task, Topics
from scoring.contract.records import ORDINARY, RecordRules
from training import limits
from training.budget import LoadBudget
from training.estimator import Estimator
from training.lookup import frozen_lookup, table_lookup, topic_lookup
from training.mistakes import mistakes
from training.period import Period, days, months
from training.sources import DeclaredSource, resolve, sql
from training.tunable import Bounds, between, one_of, tunable_mistakes
from training.wake import NewLabels, cool_down_mistakes

if TYPE_CHECKING:
    from training.gates.evidence import Gate

__all__ = [
    "Approval",
    "Estimator",
    "Gates",
    "Label",
    "LoadBudget",
    "ModelDefinition",
    "NewLabels",
    "Period",
    "RecordRules",
    "Source",
    "between",
    "days",
    "frozen_lookup",
    "months",
    "one_of",
    "table_lookup",
    "topic_lookup",
]


class Source(msgspec.Struct, frozen=True):
    """The one table that the records and their labels are pulled from; ``training.sources`` has what else there is.

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
            number itself, or one of the classes.
        known_after: how long after the event time the label is known.
        classes: the values of the column, as text, between which the model chooses: 3 to 100. An integer or a boolean
            counts as its text. Any other value in the data is an error.
    """

    column: str
    known_after: timedelta
    at_least: float | None = None
    classes: Sequence[str] = ()


class Gates(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of the gates; what is not stated has the default of ``training.limits``.

    Attributes:
        minimum, maximum: limits of metrics on the holdout, such as ``minimum={"auc": 0.6}``; at least one.
        not_worse: margins by metric: the candidate must be shown, at ``confidence``, to be less than this worse than
            the champion on the same rows; 0 asks for a better one. The first version must be shown to be better than
            the trivial baseline. By default in the metrics of ``minimum`` and ``maximum``.
        confidence: of every bound that a gate goes by, one-sided.
        slice_minimum, slice_maximum: limits of metrics in each slice; a slice is refused when it is shown to miss one.
        slice_margin: a slice is refused when it is shown to be more than this worse than the champion's, by metric.
        slice_rows: smaller slices are not judged.
        calibration: largest calibration error (``training.measured.Calibration``); where the champion's is larger on
            the same rows, because the world has changed, that one.
        newest_within: the newest event may be this much older than the end of the interval, and the newest usable row
            (with a label and every required field) older than what could be known.
        minimum_rows: usable rows that a snapshot must have.
        rows_as_before: smallest and largest ratio of the rows now to those that the champion's snapshot had of the
            same time.
        values_as_before: share of the rows that both have in which a column must have the value that it had then.
        thinnest_week: the seven days with the fewest usable rows must have this share of the median week's.
        single_feature: a feature that predicts the holdout better than this by itself (AUC, of several classes their
            mean AUC, or R²) is taken for a leak.
        parity_tolerance: largest absolute difference between the compiled model and the estimator over the holdout;
            models that compile exactly must be equal bit for bit, whatever it is.
        load: what the bundle may cost where it scores (``training.budget``).
        off: gates that are turned off, each with the reason, which every verdict repeats.
        own: gates of this model: functions from ``training.gates.evidence.Evidence`` to a ``Verdict``, each called by
            its name; what they refuse, somebody has to look into.
    """

    minimum: Mapping[str, float] = {}
    maximum: Mapping[str, float] = {}
    not_worse: Mapping[str, float] = {}
    confidence: float = limits.CONFIDENCE
    slice_minimum: Mapping[str, float] = {}
    slice_maximum: Mapping[str, float] = {}
    slice_margin: Mapping[str, float] = {}
    slice_rows: int = limits.SLICE_ROWS
    calibration: float = limits.CALIBRATION
    newest_within: timedelta = limits.NEWEST_WITHIN
    minimum_rows: int = limits.MINIMUM_ROWS
    rows_as_before: tuple[float, float] = limits.ROWS_AS_BEFORE
    values_as_before: float = limits.VALUES_AS_BEFORE
    thinnest_week: float = limits.THINNEST_WEEK
    single_feature: float = limits.SINGLE_FEATURE
    parity_tolerance: float = limits.PARITY_TOLERANCE
    load: LoadBudget = LoadBudget()
    off: Mapping[str, str] = {}
    own: Sequence["Gate"] = ()


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """A person approves each promotion; a rejection, or nobody's answer in time, is a refusal.

    Attributes:
        within: how long the run waits for the answer.
        by: ids of the Airflow users who may answer; empty: everybody who may change the DAG's runs.
    """

    within: timedelta = timedelta(hours=24)
    by: Sequence[str] = ()

    def mistakes(self) -> Iterator[str]:
        """Every mistake, a sentence each."""
        if not timedelta(0) < self.within <= timedelta(days=30):
            yield f"approval: within is {self.within}; give people some time, and at most 30 days"
        if isinstance(self.by, str) or not all(str(user).strip() for user in self.by):
            yield f'approval: by is {self.by!r}; list the ids of users, such as by=["ada"]'
        elif len(set(self.by)) < len(self.by):
            yield "approval: by names a user twice"


class ModelDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """One model: where its records come from, what is predicted from what, and what a new version must show.

    Attributes:
        name: of the model, its DAG and its topics.
        source: the table that all of it comes from; several sources, or one of another kind, are ``sources``.
        sources: where the records come from, and what others add to them (``training.sources``).
        key: field that identifies a record; it becomes the Kafka key.
        event_time: field with the moment of the prediction; features may only use what is known then.
        fields: of the input record.
        lookups: values that training and workers look up for a record as of its event.
        records: what a record may be beyond its fields' types; what breaks these rules becomes a dead letter.
        threshold: the decision of a binary model is ``score >= threshold``; other models have none.
        pass_through: fields that each prediction repeats.
        history: how far a scheduled run's data reach back from the end of its interval.
        holdout: the latest part of the data, on which the candidate is judged.
        refit: the model that scores is fitted once more, on the holdout too; the gates judge the one that was not.
        slices: names of fields, looked-up values or features whose every value is judged by itself.
        tunable: parameters of the estimator (of a pipeline's last part) that a run by hand may set, with their bounds:
            ``{"learning_rate": between(0.01, 0.3), "loss": one_of("log_loss", "exponential")}``.
        schedule: Airflow's, such as ``"@monthly"``; None runs by hand only.
        retrain_on: new labels that start a run by themselves; None: none do. A message starts one in any case.
        cool_down: between the starts of two runs that were started by events.
        topics: by default ``<name>.input``, ``<name>.predictions`` and ``<name>.dead-letters``.
        partitions: of the three topics.
        approval: a person approves each promotion; None: nobody is asked.
        suite: path of the Great Expectations suite; ``load_definitions`` sets it to
            ``expectations/<name>/snapshot.json`` beside the folder of the definition.
        description: for people; ``load_definitions`` sets it to the module's docstring.

    Raises:
        ConfigurationError: lists every mistake.
    """

    name: str
    source: Source | None = None
    sources: Sequence[DeclaredSource] = ()
    key: str
    event_time: str
    fields: Sequence[Field]
    label: Label
    features: Sequence[Feature]
    estimator: Estimator
    gates: Gates
    lookups: Sequence[Lookup] = ()
    records: RecordRules = ORDINARY
    threshold: float | None = None
    pass_through: Sequence[str] = ()
    history: Period = Period(months=12)
    holdout: Period = Period(months=1)
    refit: bool = False
    slices: Sequence[str] = ()
    tunable: Mapping[str, Bounds] = {}
    schedule: str | None = None
    retrain_on: NewLabels | None = None
    cool_down: timedelta = timedelta(hours=1)
    topics: Topics | None = None
    partitions: int = 4
    approval: Approval | None = None
    suite: str | None = None
    description: str = ""

    def __post_init__(self) -> None:
        found = [*mistakes(self), *tunable_mistakes(self), *cool_down_mistakes(self.cool_down)]
        for part in (self.approval, self.retrain_on):
            found += part.mistakes() if part else ()
        if found:
            raise ConfigurationError(f"model definition {self.name!r}:\n" + "\n".join(f"  - {line}" for line in found))

    @property
    def task(self) -> Task:
        """Binary where the label has a limit, multi-class where it has classes, otherwise regression."""
        if self.label.classes:
            return Task.MULTICLASS
        return Task.REGRESSION if self.label.at_least is None else Task.BINARY

    @property
    def schema(self) -> FeatureSchema:
        """The feature schema, with vocabularies still empty."""
        return FeatureSchema(
            key=self.key,
            event_time=self.event_time,
            fields=self.known_fields,
            lookups=tuple(self.lookups),
            features=tuple(self.features),
            records=self.records,
        )

    @property
    def known_fields(self) -> tuple[Field, ...]:
        """The fields that are known at the event: what a message carries."""
        return tuple(field for field in self.fields if field.known_after_s <= 0)

    @property
    def all_topics(self) -> Topics:
        """The model's topics."""
        return self.topics or Topics.of(self.name)

    @property
    def declared_sources(self) -> tuple[DeclaredSource, ...]:
        """The sources in the one form that all are declared in, in their order."""
        short = self.source
        alone = () if short is None else (sql(short.connection, short.table, columns=short.columns),)
        return (*alone, *self.sources)

    @property
    def source_types(self) -> dict[str, FieldType]:
        """The type of every field and of the label: of all that the sources bring together."""
        kinds = {self.label.column: FieldType.NUMBER, **{field.name: field.type for field in self.fields}}
        # Classes are compared as text, whatever the column holds and a late field of the same name says.
        return {**kinds, self.label.column: FieldType.STRING} if self.label.classes else kinds

    @property
    def all_sources(self) -> tuple[manifest.Source, ...]:
        """The sources with the label and with the fields that are known late: what a run pulls."""
        names = dict.fromkeys([*(field.name for field in self.fields), self.label.column])
        return resolve(self.declared_sources, [*names])

    @property
    def manifest_sources(self) -> tuple[manifest.Source, ...]:
        """The sources as the manifest keeps them: the known fields, without the label."""
        return resolve(self.declared_sources, [field.name for field in self.known_fields])

    def interval_ending(self, end: datetime) -> tuple[datetime, datetime]:
        """The data interval ``[start, end)`` of event time of a run whose data end at ``end``."""
        return self.history.before(end), end

    def holdout_start(self, end: datetime) -> datetime:
        """The start of the holdout ``[holdout_start, end)``."""
        return self.holdout.before(end)
