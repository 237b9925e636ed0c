"""The manifest: the bundle's JSON, from which everything else in the bundle is checked and run."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import Annotated

import msgspec

from scoring.contract.clock import Moment
from scoring.contract.decoding import decodable
from scoring.contract.digest import Digest
from scoring.contract.errors import BundleRejected, ConfigurationError
from scoring.contract.features import FeatureSchema
from scoring.contract.manifest_rules import manifest_mistakes
from scoring.contract.notice import ModelName
from scoring.contract.source import Source
from scoring.contract.strict import require_unique_keys
from scoring.contract.verdict import Verdict

__all__ = [
    "FORMAT",
    "FORMATS",
    "GOLDEN_FILE",
    "MANIFEST_FILE",
    "MODEL_FILE",
    "File",
    "Link",
    "Manifest",
    "Output",
    "Snapshot",
    "Source",
    "Task",
    "Topics",
    "decode_manifest",
]

FORMAT = 2
"""What is written here. Format 2 added models of several classes; what else it knows, format 1 has as well."""
FORMATS = (1, FORMAT)
"""What is read here."""
MANIFEST_FILE = "manifest.json"
MODEL_FILE = "model.onnx"
GOLDEN_FILE = "golden.json"
MAXIMUM_MISTAKES_TOLD = 10


class Task(StrEnum):
    """What the model predicts."""

    BINARY = "binary"
    REGRESSION = "regression"
    MULTICLASS = "multiclass"


class Link(StrEnum):
    """What turns the graph's raw output into the score. All but the identity run outside the graph, in float64.

    Both kinds of softmax subtract the largest of a row, and divide its exponentials by their sum: ``softmax`` adds them
    up as numpy adds up a row, ``ordered-softmax`` one after the other, which from 8 classes on is another order.
    """

    IDENTITY = "identity"
    SIGMOID = "sigmoid"
    SOFTMAX = "softmax"
    ORDERED_SOFTMAX = "ordered-softmax"


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """How the graph's output becomes a score and a decision.

    Attributes:
        input_name, output_name: names in the ONNX graph.
        input_type: ``double`` or ``float``, the element type of the graph's input.
        column: which column of a two-dimensional output is the score; of several classes all columns are.
        threshold: the decision is ``score >= threshold``; None means that there is no decision.
        exact: the compiled model equals the estimator bit for bit (tree ensembles).
        tolerance: largest absolute difference between compiled and estimator that the golden rows allow; 0 if exact.
        classes: their names in the order of the graph's columns; empty but for a model of several classes.
    """

    task: Task
    link: Link = Link.IDENTITY
    input_name: str = "X"
    output_name: str = "raw"
    input_type: str = "double"
    column: Annotated[int, msgspec.Meta(ge=0)] = 0
    threshold: float | None = None
    exact: bool = False
    tolerance: float = 0.0
    classes: tuple[str, ...] = ()


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the bundle beside the manifest."""

    sha256: Digest
    size_bytes: Annotated[int, msgspec.Meta(ge=0)]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The training data: ``[start, end)`` of event time, of which ``[holdout_start, end)`` was held out.

    Attributes:
        known_by: no label that became known later had a part in it; None in bundles from before this was kept.
    """

    sha256: Digest
    start: Moment
    end: Moment
    holdout_start: Moment
    training_rows: int
    holdout_rows: int
    refitted_on_holdout: bool = False
    known_by: Moment | None = None

    @property
    def seen_until(self) -> datetime:
        """Of what happened before this moment the model may know something, by an event or by a label."""
        return self.end if self.known_by is None else max(self.end, self.known_by)


class Topics(msgspec.Struct, frozen=True, kw_only=True):
    """The model's three topics."""

    input: str
    predictions: str
    dead_letters: str

    @classmethod
    def of(cls, model: str) -> "Topics":
        """The topics by their standard names."""
        return cls(input=f"{model}.input", predictions=f"{model}.predictions", dead_letters=f"{model}.dead-letters")


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known about a bundle. Its SHA-256, over the bytes of the file, is the candidate's id.

    Attributes:
        pass_through: fields of the record that every prediction repeats.
        metrics: on the holdout, by name.
        environment: versions of the packages that made the bundle.
        files: every other file of the bundle by its name.
    """

    format: int
    model: ModelName
    created_at: Moment
    schema: FeatureSchema
    output: Output
    topics: Topics
    sources: tuple[Source, ...]
    pass_through: tuple[str, ...] = ()
    snapshot: Snapshot
    estimator: str
    metrics: Mapping[str, float]
    verdicts: tuple[Verdict, ...]
    environment: Mapping[str, str] = {}
    code_revision: str | None = None
    files: Mapping[str, File]

    def encode(self) -> bytes:
        """The bytes of ``manifest.json``: indented, with a stable order of keys."""
        return msgspec.json.format(msgspec.json.encode(self, order="sorted"), indent=1) + b"\n"


class _Format(msgspec.Struct):
    format: int


decodable(_Format, Manifest)


def decode_manifest(content: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        BundleRejected: it is malformed, contradicts itself, or is of a format that this version cannot read.
    """
    try:
        found = msgspec.json.decode(content, type=_Format).format
        if found not in FORMATS:
            known = ", ".join(map(str, FORMATS))
            raise BundleRejected(f"manifest: format {found} is unknown here (known: {known}); upgrade this worker")
        manifest = msgspec.json.decode(content, type=Manifest)
        require_unique_keys(content)
    except (msgspec.MsgspecError, ConfigurationError, RecursionError, ValueError) as error:
        raise BundleRejected(f"manifest: {error}") from error
    mistakes = list(islice(manifest_mistakes(manifest, MANIFEST_FILE), MAXIMUM_MISTAKES_TOLD))
    if mistakes:
        raise BundleRejected("manifest: " + "; ".join(mistakes))
    return manifest
