"""Will a flight out of New York arrive 15 or more minutes late? Predicted at its scheduled departure.

The features are the schedule's, and the weather at the airport as of the hour before. How late a flight really left
(``dep_delay``) would predict its arrival well, but is not known yet: it is declared here so that nobody uses it.
"""

from datetime import timedelta

from training import field
from training.definition import Estimator, Gates, Label, ModelDefinition, Source, between, months, table_lookup
from training.feature import category, day_of_week, elapsed, hour_of_day, number

NEW_YORK = "America/New_York"
WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")

flight_delay = ModelDefinition(
    name="flight_delay",
    source=Source(connection="warehouse", table="flights"),
    key="flight_id",
    event_time="scheduled_departure",
    fields=[
        *(field.string(name, required=True) for name in ("flight_id", "carrier", "origin", "dest")),
        field.string("tailnum"),
        field.number("flight"),
        field.number("distance", required=True),
        field.time("scheduled_departure", required=True),
        field.time("scheduled_arrival"),
        field.number("dep_delay", known_after=timedelta(hours=24)),
    ],
    lookups=[
        table_lookup(
            "weather",
            connection="warehouse",
            table="weather",
            match={"origin": "origin"},
            valid_at="time_hour",
            fields=WEATHER,
            lag=timedelta(hours=1),
            max_age=timedelta(hours=6),
            resolution=timedelta(hours=1),
        )
    ],
    features=[
        *(category(name) for name in ("carrier", "origin", "dest")),
        number("distance"),
        hour_of_day("scheduled_departure", zone=NEW_YORK),
        day_of_week("scheduled_departure", zone=NEW_YORK),
        elapsed("scheduled_arrival", since="scheduled_departure", name="scheduled_duration"),
        *(number(f"weather.{measure}") for measure in WEATHER),
    ],
    label=Label("arr_delay", at_least=15, known_after=timedelta(hours=24)),
    threshold=0.3,
    estimator=Estimator("sklearn.ensemble.HistGradientBoostingClassifier", random_state=0, early_stopping=False),
    tunable={"learning_rate": between(0.01, 0.3), "max_iter": between(50, 500)},
    gates=Gates(minimum={"auc": 0.60}, not_worse={"auc": 0.02}, slice_minimum={"auc": 0.55}),
    slices=["origin", "carrier"],
    pass_through=["carrier", "flight", "origin", "dest"],
    history=months(12),
    holdout=months(1),
    schedule="@monthly",
)
