"""MLflow's loader module of a bundle: ``mlflow.pyfunc.load_model`` calls ``_load_pyfunc`` and wraps what it returns.

Loading opens and verifies the bundle; no code and no pickle comes from it, so that it also loads with
``MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false``.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np

from scoring.contract.clock import epoch_s, rfc3339
from scoring.contract.encoder import Floats
from scoring.contract.errors import ContractError
from scoring.contract.golden import Value
from scoring.scorer.bundle import open_bundle
from scoring.scorer.golden import check_golden
from scoring.scorer.scorer import Scorer, lookup_columns


class Frame(Protocol):
    """What is used of a pandas DataFrame; pandas itself is not imported."""

    @property
    def to_dict(self) -> Callable[..., Any]:
        """Records, with ``orient="records"``."""
        ...


class RecordModel:
    """A bundle as a function from records to scores.

    A column of the input is a field of the record; a looked-up value is a column ``lookup.field``, missing where there
    is no such column (nothing is queried here).
    """

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer

    def predict(self, model_input: Frame | Sequence[Mapping[str, Any]], params: Mapping[str, Any] | None = None) -> Any:
        """Scores in the order of the rows: float64 of shape (rows,).

        Of a model of several classes a DataFrame, or a list of mappings where the input is a list, with the columns
        ``label``, ``score`` (the label's probability) and ``probability.<class>`` for every class.

        Args:
            params: MLflow passes it; none is known here.

        Raises:
            ContractError: a row is not a record of this model; the message names the first one and its field.
        """
        if params:
            raise ContractError(f"this model takes no parameters: {sorted(params)}")
        rows = model_input if isinstance(model_input, Sequence) else model_input.to_dict(orient="records")
        records = [{name: _plain(value) for name, value in row.items()} for row in rows]
        classes = self.scorer.manifest.output.classes
        scores = self._scores(rows, records) if records else np.empty((0, len(classes)) if classes else 0)
        return _columns(model_input, classes, scores) if classes else scores

    def _scores(self, rows: Sequence[Mapping[str, Any]], records: list[dict[str, Any]]) -> Floats:
        decoded = self.scorer.decode([msgspec.json.encode(record) for record in records])
        if decoded.failures:
            first = decoded.failures[0]
            raise ContractError(
                f"{len(decoded.failures)} of {len(records)} rows are no records of {self.scorer.manifest.model}; "
                f"row {first.index}: {first.detail}"
            )
        looked_up = lookup_columns(self.scorer, [self._lookups(row) for row in rows])
        return self.scorer.score({**decoded.columns, **looked_up}, len(records))

    def _lookups(self, row: Mapping[str, Any]) -> dict[str, dict[str, Value]]:
        return {
            lookup.name: {field.name: _looked_up(row.get(f"{lookup.name}.{field.name}")) for field in lookup.fields}
            for lookup in self.scorer.schema.lookups
        }


def _load_pyfunc(data_path: str) -> RecordModel:
    """MLflow's entry point: the bundle in ``data_path``, verified against its digests and its golden rows."""
    scorer = Scorer(open_bundle(Path(data_path)))
    check_golden(scorer)
    return RecordModel(scorer)


def _columns(model_input: Any, classes: Sequence[str], scores: Floats) -> Any:
    chosen = scores.argmax(axis=1)
    columns = {
        "label": [classes[place] for place in chosen.tolist()],
        "score": scores[np.arange(len(scores)), chosen].tolist(),
        **{f"probability.{name}": scores[:, place].tolist() for place, name in enumerate(classes)},
    }
    if not isinstance(model_input, Sequence):
        return type(model_input)(columns, index=model_input.index)
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _looked_up(value: Any) -> Value:
    """A looked-up value as golden rows and predictions carry it: times are seconds since 1970."""
    plain = _plain(value)
    return epoch_s(value) if isinstance(value, datetime) and plain is not None else plain


def _plain(value: Any) -> Any:
    """A value of a DataFrame as JSON has it; NaN, NaT and pandas' NA are null."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if type(value).__name__ in {"NaTType", "NAType"}:
        return None
    if isinstance(value, datetime):
        return rfc3339(value.to_pydatetime() if hasattr(value, "to_pydatetime") else value)
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and np.isnan(value):
        return None
    return value
