"""Will a parcel be quick, usual, slow or very slow? Told when the order is placed.

A fourth shape: one of several classes, whose names are words of the source's own column.
"""

from datetime import timedelta

from scoring.contract.features import FieldType, LookupField
from training import field
from training.definition import Estimator, Gates, Label, ModelDefinition, Source, months, table_lookup
from training.feature import category, elapsed, hour_of_day, number

delivery_outcome = ModelDefinition(
    name="delivery_outcome",
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
        number("kilograms"),
        number("express"),
        hour_of_day("placed_at", zone="Europe/Berlin"),
        elapsed("promised_at", since="placed_at"),
        category("depot"),
        category("load.status"),
        number("load.queue"),
    ],
    label=Label("outcome", known_after=timedelta(hours=6), classes=("quick", "usual", "slow", "very slow")),
    estimator=Estimator(
        "sklearn.ensemble.HistGradientBoostingClassifier",
        random_state=0,
        early_stopping=False,
        max_iter=40,
        max_leaf_nodes=8,
        learning_rate=0.08,
    ),
    gates=Gates(minimum={"accuracy": 0.55}, maximum={"log_loss": 1.0}, not_worse={"accuracy": 0.04, "log_loss": 0.05}),
    slices=["depot"],
    pass_through=["depot"],
    history=months(3),
    partitions=2,
)
