"""What a taxi ride will cost, for tests of the wiring; nothing is ever trained from it."""

from datetime import timedelta

from training import field
from training.definition import Estimator, Gates, Label, ModelDefinition, Source
from training.feature import number

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
    schedule="@monthly",
)
