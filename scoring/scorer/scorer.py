"""The scorer of one bundle: decode, encode, run. Worker, gates, API and backfill all score through it."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from scoring.contract import asof
from scoring.contract.encoder import Column, Columns, Encoder, Floats
from scoring.contract.errors import BundleRejected
from scoring.contract.features import FeatureSchema, FieldType, FrozenLookup
from scoring.contract.frozen import decode_table, file_of
from scoring.contract.golden import Value
from scoring.scorer.bundle import Bundle
from scoring.scorer.compiled import CompiledModel
from scoring.scorer.decode import Decoded, Decoder


class Scorer:
    """Turns records into scores with one bundle.

    Args:
        checked: the bundle passed its trial before (``scoring.scorer.trial``); its graph is not checked again.

    Attributes:
        lap: told of each part of scoring, ``encode`` and ``score``, when it is done; for who takes the time.

    Raises:
        BundleRejected: the compiled model breaks a rule, cannot be run, or does not fit the features.
    """

    def __init__(self, bundle: Bundle, *, checked: bool = False) -> None:
        self.bundle = bundle
        self.manifest = bundle.manifest
        self.schema = bundle.manifest.schema
        self._decoder = Decoder(self.schema.fields, self.schema.records)
        self._encoder = _encoder(self.schema)
        self._frozen = [_frozen(lookup, bundle) for lookup in self.schema.lookups if isinstance(lookup, FrozenLookup)]
        self.lap: Callable[[str], None] = _untold
        self._model = CompiledModel(bundle.model, bundle.manifest.output, checked=checked)
        taken, given = self._model.features, len(self.schema.features)
        if taken != given:
            raise BundleRejected(f"compiled model: it takes {taken} features, the manifest has {given}")

    @property
    def kernel(self) -> str:
        """What runs the compiled model (see ``CompiledModel.kernel``)."""
        return self._model.kernel

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Columns of the records that decode, and the failures."""
        return self._decoder.decode(values)

    def frozen(self, columns: Columns, rows: int) -> dict[str, Column]:
        """The columns of the lookups that are frozen into the bundle, by ``lookup.field``.

        Args:
            columns: the fields of the records by name.
        """
        found: dict[str, Column] = {}
        for lookup, index in self._frozen:
            found.update(asof.answer(lookup, asof.ask(lookup, columns, rows, self.schema.event_time), index))
        return found

    def features(self, columns: Columns, rows: int) -> Floats:
        """The matrix that the model sees, of shape (rows, features), from the columns that ``score`` takes."""
        if any(f"{lookup.name}.{field.name}" not in columns for lookup, _ in self._frozen for field in lookup.fields):
            columns = {**columns, **self.frozen(columns, rows)}
        return self._encoder.encode(columns, rows)

    def score(self, columns: Columns, rows: int) -> Floats:
        """Scores from the records' columns and the looked-up ones (``lookup.field``).

        Columns of frozen lookups that are not given are looked up here.

        Returns:
            of shape (rows,); of a model of several classes their probabilities, of shape (rows, classes).
        """
        matrix = self.features(columns, rows)
        self.lap("encode")
        scores = self.run(matrix)
        self.lap("score")
        return scores

    def run(self, matrix: Floats) -> Floats:
        """Scores from the matrix that the model sees."""
        return self._model.run(matrix)

    def decide(self, scores: Floats) -> npt.NDArray[np.bool_] | None:
        """Whether each score reaches the definition's threshold; None where there is no threshold."""
        threshold = self.manifest.output.threshold
        return None if threshold is None else scores >= threshold


def finite(scores: Floats) -> npt.NDArray[np.bool_]:
    """Which records have a score that is a number, of several classes all of theirs; of shape (rows,)."""
    found: npt.NDArray[np.bool_] = np.isfinite(scores)
    if found.ndim > 1:
        found = np.logical_and.reduce(found, axis=1)
    return found


def described(classes: Sequence[str], scores: Floats) -> Iterator[dict[str, object]]:
    """Each record's score as a prediction has it: of several classes with the label and all probabilities."""
    for score in scores.tolist():
        if classes:
            place = int(np.argmax(score))
            named = dict(zip(classes, score, strict=True))
            yield {"score": score[place], "label": classes[place], "probabilities": named}
        else:
            yield {"score": score}


def _frozen(lookup: FrozenLookup, bundle: Bundle) -> tuple[FrozenLookup, asof.Index]:
    types = bundle.manifest.schema.column_types()
    kinds = [types[field] for _, field in lookup.match]
    return lookup, asof.Index(decode_table(lookup, kinds, bundle.frozen[file_of(lookup.name)]))


def _untold(_part: str) -> None:
    """Nobody takes the time."""


def _encoder(schema: FeatureSchema) -> Encoder:
    try:
        return Encoder(schema)
    except (OSError, ValueError, KeyError) as error:  # a time zone that is none: some names are folders, or lead away
        raise BundleRejected(f"features: {type(error).__name__}: {error}") from error


def lookup_columns(scorer: Scorer, rows: Sequence[Mapping[str, Mapping[str, Value]]]) -> dict[str, Column]:
    """Columns ``lookup.field`` from looked-up values that travel with records (golden rows, predictions).

    Those of frozen lookups do not travel: ``Scorer.score`` finds them in the bundle.
    """
    columns: dict[str, Column] = {}
    for lookup in scorer.schema.lookups:
        if isinstance(lookup, FrozenLookup):
            continue
        for field in lookup.fields:
            values = [row.get(lookup.name, {}).get(field.name) for row in rows]
            columns[f"{lookup.name}.{field.name}"] = _column(field.type, values)
    return columns


def _column(field_type: FieldType, values: list[Value]) -> Column:
    if field_type is FieldType.STRING:
        return [None if value is None else str(value) for value in values]
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BundleRejected(f"looked-up values: {error}") from error
