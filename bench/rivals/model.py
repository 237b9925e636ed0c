"""What the alternatives share: the MLflow model on micro-batches of records, and the answer. Needs no Baton.

DataFrames through ``mlflow.pyfunc``, as their users do it; BENCH_PREDICT=matrix spares them the DataFrame and gives
the scikit-learn estimator a matrix of numbers.
"""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Record = Mapping[str, Any]
Predict = Callable[[Sequence[Record]], list[float]]
THRESHOLD = 0.3


class Environment:
    """What the harness says by environment variables."""

    def __init__(self) -> None:
        self.bootstrap = os.environ["BENCH_BOOTSTRAP"]
        self.source = os.environ["BENCH_SOURCE"]
        self.target = os.environ["BENCH_TARGET"]
        self.group = os.environ["BENCH_GROUP"]
        self.model = Path(os.environ["BENCH_MODEL"])
        self.batch_records = int(os.environ.get("BENCH_BATCH_RECORDS", "1024"))


def open_model(folder: Path) -> Predict:
    """The function from records to scores."""
    import mlflow.pyfunc  # noqa: PLC0415  after the environment was set up
    import pandas as pd  # noqa: PLC0415

    columns = json.loads((folder / "columns.json").read_text())
    numbers, words = columns["numbers"], columns["words"]
    model = mlflow.pyfunc.load_model(str(folder))
    if os.environ.get("BENCH_PREDICT") == "matrix":
        return _matrix(model, numbers, words)
    kinds = dict.fromkeys(numbers, "float64")

    def predict(records: Sequence[Record]) -> list[float]:
        frame = pd.DataFrame.from_records(records, columns=[*numbers, *words]).astype(kinds)
        scores: list[float] = model.predict(frame)[:, 1].tolist()
        return scores

    return predict


def _matrix(model: Any, numbers: Sequence[str], words: Sequence[str]) -> Predict:
    import numpy as np  # noqa: PLC0415

    encoder, estimator = (step for _, step in model.unwrap_python_model().steps)
    codes = [
        {word: float(code) for code, word in enumerate(known)}
        for known in encoder.named_transformers_["words"].categories_
    ]

    def predict(records: Sequence[Record]) -> list[float]:
        matrix = np.empty((len(records), len(numbers) + len(words)))
        for place, name in enumerate(numbers):
            matrix[:, place] = [float("nan") if record[name] is None else record[name] for record in records]
        for place, (name, code) in enumerate(zip(words, codes, strict=True), len(numbers)):
            matrix[:, place] = [code.get(record[name], float("nan")) for record in records]
        scores: list[float] = estimator.predict_proba(matrix)[:, 1].tolist()
        return scores

    return predict


def answer(record: Record, score: float) -> dict[str, Any]:
    """What is answered for a record."""
    return {
        "flight_id": record["flight_id"],
        "model": "flights",
        "version": "1",
        "score": score,
        "decision": score >= THRESHOLD,
        "scored_at": time.time(),
    }
