from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import sqlalchemy as sa

from local.demo.quality import (
    FEWEST_LABELS_A_DAY,
    Scored,
    area_under_curve,
    by_day,
    by_version,
    outcomes_of,
    quality_of,
)
from scoring.contract.clock import epoch_s
from training import field
from training.definition import Estimator, Gates, Label, ModelDefinition, Source
from training.feature import number

NOON = datetime(2013, 5, 1, 16, tzinfo=UTC)


def scored(key: str, score: float, *, version: str = "1", at: datetime = NOON) -> Scored:
    return Scored(key, epoch_s(at), version, score)


def test_the_area_equals_that_of_scikit_learn_also_with_ties() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(7)
    labels = rng.random(2_000) < 0.3
    scores = np.asarray((rng.random(2_000) + 0.2 * labels) * 50 // 1 / 50, dtype=np.float64)
    assert area_under_curve(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_there_is_no_area_where_only_one_outcome_occurred() -> None:
    assert area_under_curve(np.array([True, True]), np.array([0.1, 0.9])) is None


def test_records_whose_outcome_never_comes_count_as_records_only() -> None:
    found = quality_of([scored("a", 0.9), scored("b", 0.1), scored("cancelled", 0.5)], {"a": True, "b": False})
    assert (found.records, found.labelled, found.auc, found.base_rate) == (3, 2, 1.0, 0.5)
    assert quality_of([scored("cancelled", 0.5)], {}).auc is None


def test_each_version_is_judged_on_what_it_scored() -> None:
    happened = {"a": True, "b": False, "c": True, "d": False}
    predictions = [scored("a", 0.9), scored("b", 0.1), scored("c", 0.1, version="2"), scored("d", 0.9, version="2")]
    found = by_version(predictions, happened)
    assert (found["1"].auc, found["2"].auc) == (1.0, 0.0)


def test_days_are_local_and_days_with_few_outcomes_are_left_out() -> None:
    late = datetime(2013, 5, 2, 2, tzinfo=UTC)  # still the first of May in New York
    many = [scored(f"a{n}", n / 1000, at=late) for n in range(FEWEST_LABELS_A_DAY)]
    few = [scored(f"b{n}", n / 1000, at=late + timedelta(days=1)) for n in range(10)]
    happened = {prediction.key: prediction.score > 0.005 for prediction in (*many, *few)}
    assert by_day([*many, *few], happened, ZoneInfo("America/New_York")) == {date(2013, 5, 1): 1.0}


def test_outcomes_are_read_from_the_source_without_those_that_never_come(tmp_path: object) -> None:
    url = f"sqlite:///{tmp_path}/w.db"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("create table trips (trip_id text, pickup timestamp, delay float)"))
        rows = [("a", 20.0, 1), ("b", 3.0, 1), ("gone", None, 1), ("later", 30.0, 40)]
        for key, delay, days in rows:
            moment = (datetime(2013, 5, 1, tzinfo=UTC) + timedelta(days=days)).strftime("%Y-%m-%d %H:%M:%S.%f")
            connection.execute(sa.text("insert into trips values (:k, :t, :d)"), {"k": key, "t": moment, "d": delay})
    engine.dispose()
    definition = ModelDefinition(
        name="trip",
        source=Source(connection="warehouse", table="trips"),
        key="trip_id",
        event_time="pickup",
        fields=[field.string("trip_id", required=True), field.time("pickup", required=True), field.number("miles")],
        label=Label("delay", known_after=timedelta(hours=1), at_least=15),
        features=[number("miles")],
        estimator=Estimator("sklearn.linear_model.LogisticRegression"),
        gates=Gates(minimum={"auc": 0.5}),
    )
    found = outcomes_of(definition, url, datetime(2013, 5, 1, tzinfo=UTC), datetime(2013, 6, 1, tzinfo=UTC))
    assert found == {"a": True, "b": False}
