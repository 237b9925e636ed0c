"""A model of several classes from its definition to the predictions in the topic, on a real broker."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from local.kafka.broker import Broker
from scoring.contract.encoder import Floats
from scoring.contract.errors import ConfigurationError
from scoring.contract.manifest import FORMAT, Link, Task
from scoring.contract.prediction import decode_prediction
from scoring.scorer.bundle import open_bundle
from scoring.scorer.scorer import Scorer
from tests.integration.training.conftest import Relay
from tests.support import deliveries
from tests.support.arena import read_all
from tests.support.ground import Ground
from training import pipeline
from training.artifacts import artifacts_of
from training.compile import predict
from training.definition import Estimator, Gates, Label
from training.messages import messages
from training.pipeline import Finished
from training.pull import column_types
from training.results import BaselineKind
from training.rows import split, targets
from training.snapshot import read_snapshot
from training.train import fit

APRIL = deliveries.START.replace(month=4)
# Each is compiled in another way; the first is the definition's own.
FOREST = Estimator("sklearn.ensemble.RandomForestClassifier", n_estimators=30, min_samples_leaf=5, random_state=0)


@pytest.fixture
def ground(broker: Broker, tmp_path: Path) -> Iterator[Ground]:
    made = Ground(broker.bootstrap, tmp_path, session_timeout_ms=10_000)
    made.variables["BATON_TRANSACTION_TIMEOUT_MS"] = "10000"  # nobody restarts a worker that its broker has fenced
    yield made
    made.close()


def holdout_probabilities(relay: Relay, found: Finished) -> dict[str, Floats]:
    """What a new fit on the same rows says to ``predict_proba`` for each row of the holdout, by its key."""
    definition = relay.definition
    assert found.trained
    columns = read_snapshot(found.snapshot, column_types(definition))
    parts = split(definition, columns, found.trained.holdout_start)
    fitted = fit(definition, columns, parts.training, targets(definition, columns))
    keys = np.asarray(columns[definition.key])[parts.holdout].astype(int)
    probabilities = predict(fitted.estimator, definition.task, fitted.matrix[parts.holdout])
    assert (probabilities == fitted.estimator.predict_proba(fitted.matrix[parts.holdout])).all()
    return dict(zip(map(str, keys.tolist()), probabilities, strict=True))


@pytest.mark.parametrize("estimator", [None, FOREST], ids=["boosting", "forest"])
def test_predictions_in_the_topic_are_the_estimators_probabilities_bit_for_bit(
    ground: Ground, outcomes: Relay, estimator: Estimator | None
) -> None:
    relay = outcomes.changed(name=ground.model, topics=ground.topics)
    if estimator is not None:
        relay = relay.changed(estimator=estimator)
    found = relay.run(relay.request(deliveries.START, APRIL))
    assert found.gated.accepted, found.gated.sentence
    assert found.promoted
    assert found.registered.version == "1"
    expected = holdout_probabilities(relay, found)

    ground.digests[1] = str(found.registered.manifest_digest)
    ground.notify(1, 1)
    ground.variables["BATON_CONNECTIONS__PARCELS"] = relay.settings.need_connection("parcels")
    ground.start()
    ground.wait_for_state("live", sequence=1, timeout_s=120)
    sent = list(messages(relay.definition, relay.settings, APRIL.replace(month=3), APRIL))
    ground.send_all([(message.value, message.key) for message in sent])
    ground.feed_raw(b'{"order_id": 1}')
    ground.wait_until_done(timeout_s=120)

    assert len(ground.letters()) == 1
    told = read_all(ground.bootstrap, ground.topics.predictions)
    assert len(told) == len(sent) > len(expected) > 1_000
    labels = set()
    compared = 0
    for record in told:
        prediction = decode_prediction(record.value or b"")
        assert prediction.probabilities is not None
        assert [*prediction.probabilities] == [*relay.definition.label.classes]
        assert (
            prediction.score
            == prediction.probabilities[str(prediction.label)]
            == max(prediction.probabilities.values())
        )
        labels.add(prediction.label)
        if (record.key or b"").decode() in expected:  # the others have no label
            row = expected[(record.key or b"").decode()]
            assert np.array([*prediction.probabilities.values()]).tobytes() == row.tobytes()
            assert prediction.label == relay.definition.label.classes[int(row.argmax())]
            compared += 1
    assert compared == len(expected)
    assert labels == {*relay.definition.label.classes}


def test_two_versions_are_trained_judged_and_promoted_and_the_evidence_is_whole(outcomes: Relay) -> None:
    first = outcomes.run(outcomes.request(deliveries.START, APRIL))
    assert first.gated.accepted, first.gated.sentence
    assert first.evaluated
    assert first.evaluated.baseline.kind is BaselineKind.TRIVIAL
    assert set(first.evaluated.metrics) == {"auc", "log_loss", "brier", "accuracy"}
    trivial = first.evaluated.baseline.metrics
    assert trivial["auc"] == 0.5
    assert first.evaluated.metrics["log_loss"] < 0.8 * trivial["log_loss"]
    assert first.evaluated.parity.different_rows == 0
    assert {"roc-of-classes.png", "confusion.png", "reliability.png"} <= set(
        artifacts_of(first.trained, first.evaluated, first.gated)
    )

    second = outcomes.run(outcomes.request(*outcomes.definition.interval_ending(deliveries.END)))
    assert second.gated.accepted, second.gated.sentence
    assert second.evaluated
    assert second.promoted
    assert second.evaluated.baseline.kind is BaselineKind.CHAMPION
    assert {each.metric for each in second.evaluated.comparisons} == {"auc", "log_loss", "brier", "accuracy"}
    assert second.promoted.sequence == 2


def test_the_manifest_names_the_classes_and_the_golden_rows_hold_all_probabilities(outcomes: Relay) -> None:
    found = outcomes.run(outcomes.request(deliveries.START, APRIL))
    bundle = open_bundle(Path(str(found.registered.bundle)), found.registered.manifest_digest)
    output = bundle.manifest.output
    assert (bundle.manifest.format, output.task, output.link) == (FORMAT, Task.MULTICLASS, Link.ORDERED_SOFTMAX)
    assert output.classes == ("quick", "usual", "slow", "very slow")
    assert (output.exact, output.tolerance) == (False, 1e-12)
    assert all(isinstance(row.estimator, tuple) and len(row.estimator) == 4 for row in bundle.golden)
    assert all(row.estimator == row.compiled for row in bundle.golden)
    assert Scorer(bundle).manifest.output.threshold is None


def test_any_estimator_that_converts_may_choose_between_classes(outcomes: Relay) -> None:
    line = Estimator(
        "sklearn.pipeline.make_pipeline",
        Estimator("sklearn.impute.SimpleImputer"),
        Estimator("sklearn.preprocessing.StandardScaler"),
        Estimator("sklearn.linear_model.LogisticRegression", max_iter=500),
    )
    relay = outcomes.changed(estimator=line, gates=Gates(minimum={"accuracy": 0.5}), refit=True)
    found = relay.run(relay.request(deliveries.START, APRIL))
    assert found.gated.accepted, found.gated.sentence
    assert found.evaluated
    assert found.evaluated.refit_parity
    assert 0 < (found.evaluated.refit_parity.largest_difference or 0) < 1e-5


def test_whole_numbers_are_classes_by_their_text(outcomes: Relay) -> None:
    """The courier's tour, made of what the database has as an integer."""
    import sqlalchemy as sa

    engine = sa.create_engine(outcomes.settings.need_connection("parcels"))
    with engine.begin() as connection:
        connection.execute(sa.text("alter table deliveries add column tour integer"))
        connection.execute(sa.text("update deliveries set tour = min(3, 1 + cast(km / 6 as integer))"))
    engine.dispose()
    label = Label("tour", known_after=outcomes.definition.label.known_after, classes=("1", "2", "3"))
    relay = outcomes.changed(label=label, gates=Gates(minimum={"accuracy": 0.5}, off={"leakage": "it is the distance"}))
    found = relay.run(relay.request(deliveries.START, APRIL))
    assert found.gated.accepted, found.gated.sentence


def test_a_label_that_is_no_class_ends_the_pull_with_its_name(outcomes: Relay) -> None:
    label = Label("outcome", known_after=outcomes.definition.label.known_after, classes=("quick", "usual", "slow"))
    relay = outcomes.changed(label=label)
    request = relay.request(deliveries.START, APRIL)
    with pytest.raises(ConfigurationError, match=r"label 'outcome': the data have 'very slow' \(\d+ rows\)"):
        pipeline.pull(relay.definition, request, relay.settings)
