"""What a manifest must not say, however well it is signed: all of it together, a sentence each."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from scoring.contract.features import Category
from scoring.contract.source import mistakes_of

if TYPE_CHECKING:
    from scoring.contract.manifest import Manifest

MAXIMUM_FILES = 64
MAXIMUM_BUNDLE_BYTES = 2 * 2**30
MAXIMUM_COLUMNS = 10_000
# How far a compiled probability may lie from the estimator's: with more, the golden rows would show nothing.
MAXIMUM_PROBABILITY_TOLERANCE = 0.01
# With two classes, a model is binary; with more, a prediction would hold thousands of numbers.
CLASSES = (3, 100)
MAXIMUM_CLASS_CHARACTERS = 200

# Older workers do not know what this format added.
FORMAT_OF_CLASSES = 2
_SOFTMAX = {"softmax", "ordered-softmax"}

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_TOPIC_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
# Kafka's own topics, and the ones that all models share: records of a model there would be taken for something else.
_RESERVED_TOPICS = ("__", "baton.")


def manifest_mistakes(manifest: "Manifest", manifest_file: str) -> Iterator[str]:
    """Every mistake, a sentence each.

    Args:
        manifest_file: the name of the manifest's own file, which is none of the bundle's other files.
    """
    yield from _file_mistakes(manifest, manifest_file)
    yield from _topic_mistakes(manifest)
    yield from _output_mistakes(manifest)
    yield from _class_mistakes(manifest)
    yield from _schema_mistakes(manifest)
    for source in manifest.sources:
        yield from mistakes_of(source)
    snapshot = manifest.snapshot
    if not snapshot.start <= snapshot.holdout_start <= snapshot.end:
        yield "snapshot: the holdout does not begin between start and end"
    if snapshot.training_rows < 0 or snapshot.holdout_rows < 0:
        yield "snapshot: there are fewer rows than none"


def _file_mistakes(manifest: "Manifest", manifest_file: str) -> Iterator[str]:
    names = [*manifest.files]
    if len(names) > MAXIMUM_FILES:
        yield f"files: {len(names)} of them, at most {MAXIMUM_FILES} are allowed"
    for name in names:
        if not _FILE_NAME.fullmatch(name):
            yield f"files: {name[:100]!r} is not the name of a file in a bundle"
    for name in _repeated(name.casefold() for name in (*names, manifest_file)):
        yield f"files: {name!r} is there twice, but for upper and lower case"
    size_bytes = sum(file.size_bytes for file in manifest.files.values())
    if size_bytes > MAXIMUM_BUNDLE_BYTES:
        yield f"files: {size_bytes} bytes, at most {MAXIMUM_BUNDLE_BYTES} are allowed"


def _topic_mistakes(manifest: "Manifest") -> Iterator[str]:
    topics = (manifest.topics.input, manifest.topics.predictions, manifest.topics.dead_letters)
    for name in topics:
        if not _TOPIC_NAME.fullmatch(name) or name in {".", ".."}:
            yield f"topics: {name[:100]!r} is not the name of a topic"
        elif name.startswith(_RESERVED_TOPICS):
            yield f"topics: {name!r} is not a model's topic"
    for name in _repeated(topics):
        yield f"topics: {name[:100]!r} is there twice; input, predictions and dead letters are three topics"


def _output_mistakes(manifest: "Manifest") -> Iterator[str]:
    output = manifest.output
    binary = output.task == "binary"
    if output.tolerance < 0 or (output.task != "regression" and output.tolerance > MAXIMUM_PROBABILITY_TOLERANCE):
        yield f"output: a tolerance of {output.tolerance:g} lets anything pass"
    if binary and output.threshold is not None and not 0 <= output.threshold <= 1:
        yield f"output: the threshold {output.threshold:g} is no probability"
    if output.column > MAXIMUM_COLUMNS:
        yield f"output: there is no column {output.column}"


def _class_mistakes(manifest: "Manifest") -> Iterator[str]:
    output = manifest.output
    if output.task != "multiclass":
        if output.classes:
            yield f"output: a {output.task} model has no classes"
        if output.link in _SOFTMAX:
            yield f"output: a {output.task} model has no {output.link}"
        return
    if manifest.format < FORMAT_OF_CLASSES:
        yield f"output: format {manifest.format} knows no multiclass model; format {FORMAT_OF_CLASSES} does"
    yield from class_mistakes(output.classes, "output")
    if output.threshold is not None:
        yield "output: a multiclass model has no threshold"
    if output.column != 0:
        yield f"output: column {output.column} is named, but of a multiclass model all columns are read"
    if output.link not in {"identity", *_SOFTMAX}:
        yield f"output: a multiclass model has no {output.link}"


def class_mistakes(classes: Sequence[str], where: str) -> Iterator[str]:
    """What is wrong with the names of a model's classes, a sentence each that begins with ``where``."""
    least, most = CLASSES
    if not least <= len(classes) <= most:
        yield f"{where}: there are {len(classes)} classes, {least} to {most} are allowed"
    for name in classes:
        if not name.strip() or len(name) > MAXIMUM_CLASS_CHARACTERS:
            yield f"{where}: the class {name[:100]!r} must have 1 to {MAXIMUM_CLASS_CHARACTERS} characters"
    for name in _repeated(classes):
        yield f"{where}: the class {name[:100]!r} is there twice"


def _schema_mistakes(manifest: "Manifest") -> Iterator[str]:
    schema = manifest.schema
    known = {field.name for field in schema.fields}
    for name in manifest.pass_through:
        if name not in known:
            yield f"pass_through: {name[:100]!r} is not a field"
    for name in _repeated(manifest.pass_through):
        yield f"pass_through: {name[:100]!r} is there twice"
    if len(schema.features) > MAXIMUM_COLUMNS or len(schema.fields) > MAXIMUM_COLUMNS:
        yield f"schema: {len(schema.features)} features of {len(schema.fields)} fields, at most {MAXIMUM_COLUMNS}"
    for feature in schema.features:
        if isinstance(feature, Category) and len(set(feature.vocabulary)) < len(feature.vocabulary):
            yield f"schema: the vocabulary of {feature.name[:100]!r} names a word twice"


def _repeated(names: Iterable[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)
