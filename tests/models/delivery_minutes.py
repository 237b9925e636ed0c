"""How many minutes a parcel will take from order to door, told when the order is placed.

Another shape than the flights: a number instead of a yes or no, a pipeline instead of trees, columns of the table under
other names, and a lookup whose rows become known later than they hold and are corrected afterwards.
"""

from datetime import timedelta

from scoring.contract.features import FieldType, LookupField
from training import field
from training.definition import Estimator, Gates, Label, ModelDefinition, Source, months, table_lookup
from training.feature import category, elapsed, hour_of_day, is_missing, log, number, ratio

delivery_minutes = ModelDefinition(
    name="delivery_minutes",
    source=Source(connection="parcels", table="deliveries", columns={"kilometres": "km", "kilograms": "kg"}),
    key="order_id",
    event_time="placed_at",
    fields=[
        field.number("order_id", required=True),
        field.time("placed_at", required=True),
        field.time("promised_at"),
        field.string("depot", required=True),
        field.number("kilometres", required=True),
        field.number("kilograms"),
        field.boolean("express"),
        field.string("courier", known_after=timedelta(minutes=30)),
    ],
    lookups=[
        table_lookup(
            "load",
            connection="parcels",
            table="depot_load",
            match={"depot": "depot"},
            valid_at="valid_at",
            known_at="known_at",
            fields=["queue", LookupField(name="status", type=FieldType.STRING)],
            max_age=timedelta(hours=4),
            resolution=timedelta(minutes=5),
        )
    ],
    features=[
        number("kilometres"),
        log("kilograms"),
        is_missing("kilograms"),
        ratio("kilograms", by="kilometres"),
        number("express"),
        hour_of_day("placed_at", zone="Europe/Berlin"),
        elapsed("promised_at", since="placed_at"),
        category("load.status"),
        number("load.queue"),
    ],
    label=Label("minutes", known_after=timedelta(hours=6)),
    estimator=Estimator(
        "sklearn.pipeline.make_pipeline",
        Estimator("sklearn.impute.SimpleImputer"),
        Estimator("sklearn.preprocessing.StandardScaler"),
        Estimator("sklearn.linear_model.Ridge", alpha=1.0),
    ),
    gates=Gates(maximum={"rmse": 14.0}, not_worse={"rmse": 0.5}, parity_tolerance=1e-3),
    slices=["depot", "express"],
    pass_through=["depot"],
    history=months(3),
    partitions=2,
)
