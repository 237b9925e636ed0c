"""What is wrong with a model definition: all of it together, before anything runs."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from scoring.contract.errors import ConfigurationError
from scoring.contract.features import Category, FeatureSchema, inputs_of
from scoring.contract.manifest import Task
from scoring.contract.manifest_rules import class_mistakes
from scoring.contract.notice import ModelName
from training.gate_mistakes import gate_mistakes
from training.schedule import schedule_mistakes
from training.source_mistakes import columns_read, source_mistakes

if TYPE_CHECKING:
    from training.definition import Label, ModelDefinition


def mistakes(definition: "ModelDefinition") -> Iterator[str]:
    """Every mistake, a sentence each."""
    yield from _name_mistakes(definition)
    yield from source_mistakes(definition)
    yield from _leaks(definition)
    yield from _schema_mistakes(definition)
    yield from definition.estimator.mistakes()
    yield from _kind_mistakes(definition)
    yield from _label_mistakes(definition)
    yield from gate_mistakes(definition)
    yield from _slice_mistakes(definition)
    yield from schedule_mistakes(definition.schedule)
    names = {field.name for field in definition.known_fields}
    for name in definition.pass_through:
        if name not in names:
            yield f"pass_through: {name!r} is not a field that is known at the event"
    if not definition.history or not definition.holdout:
        yield "history and holdout must be longer than nothing"
    if definition.partitions < 1:
        yield f"partitions: {definition.partitions} is not a positive number"


def _kind_mistakes(definition: "ModelDefinition") -> Iterator[str]:
    """A classifier of numbers would learn a class for each of them. By the name: nothing is imported here."""
    whole = definition.estimator
    name = (whole.parts[-1] if whole.parts and whole.path.endswith("make_pipeline") else whole).path
    if definition.task is Task.REGRESSION and name.endswith("Classifier"):
        yield (
            f"estimator: {name} is a classifier, but the label is a number; give it at_least or classes, or use a "
            "regressor"
        )
    if definition.task is not Task.REGRESSION and name.endswith("Regressor"):
        given = "at_least" if definition.task is Task.BINARY else "classes"
        yield f"estimator: {name} is a regressor, but the label has {given}; leave it out, or use a classifier"


def _name_mistakes(definition: "ModelDefinition") -> Iterator[str]:
    try:
        msgspec.convert(definition.name, ModelName)
    except msgspec.ValidationError:
        yield f"name: {definition.name!r} must be lower-case letters, digits and underscores, at most 63"


def _leaks(definition: "ModelDefinition") -> Iterator[str]:
    late = {field.name: field.known_after_s for field in definition.fields if field.known_after_s > 0}
    for feature in definition.features:
        for column, _ in inputs_of(feature):
            if column in late:
                yield f"feature {feature.name!r} is a leak: {column!r} is known {late[column]:.0f} s after the event"
    for name in sorted(late.keys() & {definition.key, definition.event_time}):
        yield f"{name!r} is the key or the event time and must be known at the event"
    delays = defaultdict(set)
    for field in definition.fields:
        for place in columns_read(definition, field.name):
            delays[place].add(field.known_after_s)
    for (_, column), found in delays.items():
        if len(found) > 1:
            yield f"column {column!r} of the source is read by several fields with another known_after each"


def _schema_mistakes(definition: "ModelDefinition") -> Iterator[str]:
    """The schema's own mistakes; leaks were told before, so late fields stand in as if they were known."""
    pretended = [msgspec.structs.replace(field, known_after_s=0.0) for field in definition.fields]
    try:
        schema = FeatureSchema(
            key=definition.key,
            event_time=definition.event_time,
            fields=tuple(pretended),
            lookups=tuple(definition.lookups),
            features=tuple(definition.features),
            records=definition.records,
        )
        msgspec.convert(msgspec.to_builtins(schema), FeatureSchema)
    except ConfigurationError as error:
        yield from (line.removeprefix("  - ") for line in str(error).splitlines()[1:])
    except msgspec.ValidationError as error:
        yield f"schema: {error}"
    for feature in definition.features:
        if isinstance(feature, Category) and feature.vocabulary:
            yield f"feature {feature.name!r}: the vocabulary is taken from the training rows; leave it empty"


def _label_mistakes(definition: "ModelDefinition") -> Iterator[str]:
    label = definition.label
    places = columns_read(definition, label.column)
    known = [field.name for field in definition.known_fields if columns_read(definition, field.name) & places]
    if label.known_after < timedelta(0):
        yield "label: known_after must not be negative"
    if known:
        names = ", ".join(repr(name) for name in known)
        yield (
            f"label: {label.column!r} is also a field that is known at the event, so nothing is left to predict "
            f"(column {min(column for _, column in places)!r} of the source, read by {names})"
        )
    if definition.threshold is not None and definition.task is Task.REGRESSION:
        yield "threshold: a regression has no decision; leave it out, or give the label at_least"
    if definition.threshold is not None and definition.task is Task.MULTICLASS:
        yield "threshold: a model of several classes decides for the most probable one; leave it out"
    yield from _class_mistakes(label)


def _class_mistakes(label: "Label") -> Iterator[str]:
    classes = label.classes
    if isinstance(classes, str) or not all(isinstance(name, str) for name in classes):
        yield f'label: classes is {classes!r}; list the values of the column as text, such as classes=("1", "2", "3")'
        return
    if not classes:
        return
    if label.at_least is not None:
        yield "label: at_least makes two classes of a number, classes names several; give one of them"
    if len(set(classes)) == 2:
        yield "label: of two classes a binary model is made; give at_least on a column of numbers instead of classes"
        return
    yield from class_mistakes(classes, "label")


def _slice_mistakes(definition: "ModelDefinition") -> Iterator[str]:
    known = {field.name for field in definition.known_fields} | {feature.name for feature in definition.features}
    known |= {f"{lookup.name}.{field.name}" for lookup in definition.lookups for field in lookup.fields}
    for name in definition.slices:
        if name not in known:
            yield f"slices: {name!r} is no field that is known at the event, no looked-up value and no feature"
    if len(set(definition.slices)) < len(definition.slices):
        yield "slices: a name is there twice"
