"""A small model definition and a request, to be changed where a test needs it otherwise."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from training import field
from training.definition import Estimator, Gates, Label, ModelDefinition, Source
from training.feature import number
from training.results import RunRequest

ROOT = Path(__file__).parents[2]
START, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC)


def definition(**changes: Any) -> ModelDefinition:
    """What a taxi ride will cost."""
    values: dict[str, Any] = {
        "name": "fare",
        "source": Source(connection="warehouse", table="trips"),
        "key": "trip_id",
        "event_time": "pickup",
        "fields": [field.string("trip_id", required=True), field.time("pickup", required=True), field.number("miles")],
        "label": Label("fare", known_after=timedelta(hours=1)),
        "features": [number("miles")],
        "estimator": Estimator("sklearn.linear_model.LinearRegression"),
        "gates": Gates(maximum={"rmse": 5.0}),
    }
    return ModelDefinition(**{**values, **changes})


def classification(**changes: Any) -> ModelDefinition:
    """How a ride will be paid for."""
    values: dict[str, Any] = {
        "label": Label("payment", known_after=timedelta(hours=1), classes=("cash", "card", "voucher")),
        "estimator": Estimator("sklearn.ensemble.HistGradientBoostingClassifier"),
        "gates": Gates(minimum={"accuracy": 0.5}, maximum={"log_loss": 1.0}),
    }
    return definition(**{**values, **changes})


def request(**changes: Any) -> RunRequest:
    """A run over the first three months of 2024."""
    values: dict[str, Any] = {
        "model": "fare",
        "start": START,
        "end": END,
        "run_id": "manual__2024-04-01T00:00:00+00:00",
        "requested_at": datetime(2024, 4, 3, tzinfo=UTC),
        "actor": "somebody",
    }
    return RunRequest(**{**values, **changes})
