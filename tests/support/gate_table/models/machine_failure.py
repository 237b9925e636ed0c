"""Will a machine fail within a day of this reading? Told when the reading arrives.

A third shape: a rare yes, many numbers and hardly a word, no lookup, and an answer that is known a day later.
"""

from datetime import timedelta

from training import field
from training.definition import Estimator, Gates, Label, ModelDefinition, Source, months
from training.feature import category, difference, hour_of_day, number, ratio

SENSORS = ("temperature", "vibration", "pressure", "current", "turns")

machine_failure = ModelDefinition(
    name="machine_failure",
    source=Source(connection="plant", table="readings"),
    key="reading_id",
    event_time="read_at",
    fields=[
        field.string("reading_id", required=True),
        field.time("read_at", required=True),
        field.string("kind", required=True),
        field.string("hall", required=True),
        *(field.number(name, required=name == "vibration") for name in SENSORS),
        field.number("hours_since_service", required=True),
        field.number("repair_minutes", known_after=timedelta(days=2)),
    ],
    features=[
        category("kind"),
        category("hall"),
        *(number(name) for name in SENSORS),
        number("hours_since_service"),
        ratio("current", by="turns"),
        difference("temperature", minus="pressure"),
        hour_of_day("read_at"),
    ],
    label=Label("failed", at_least=1, known_after=timedelta(hours=24)),
    threshold=0.2,
    estimator=Estimator(
        "sklearn.ensemble.HistGradientBoostingClassifier",
        random_state=0,
        early_stopping=False,
        max_iter=60,
        learning_rate=0.08,
        max_leaf_nodes=12,
    ),
    gates=Gates(minimum={"auc": 0.70}, slice_minimum={"auc": 0.60}),
    slices=["kind"],
    pass_through=["hall"],
    history=months(4),
    partitions=3,
)
