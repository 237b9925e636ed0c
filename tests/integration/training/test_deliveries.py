"""A model of another shape through the same pipeline, on both databases, with nothing changed but its own file."""

from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from scoring.contract.errors import ConfigurationError
from scoring.contract.verdict import Judgement, Verdict
from scoring.lookups.sql import SqlLookups
from scoring.scorer.bundle import open_bundle
from scoring.scorer.scorer import Scorer
from tests.integration.training.conftest import NOW, Relay, parcels_in
from tests.support import deliveries
from tests.support.postgres import MakeDatabase
from training import pipeline
from training.definition import Source
from training.feature import number
from training.messages import messages
from training.pull import column_types
from training.results import BaselineKind, Validated
from training.snapshot import read_snapshot

PASSED = Validated(verdict=Verdict(gate="data", judgement=Judgement.PASS, sentence="taken as it is"), expectations=1)
APRIL = deliveries.START.replace(month=4)


def test_two_versions_of_a_regression_are_trained_judged_and_promoted(parcels: Relay) -> None:
    first = parcels.run(parcels.request(deliveries.START, APRIL))
    assert first.gated.accepted, first.gated.sentence
    assert first.evaluated
    assert first.evaluated.baseline.kind is BaselineKind.TRIVIAL
    assert first.evaluated.metrics["rmse"] < 0.6 * first.evaluated.baseline.metrics["rmse"]
    assert not first.evaluated.parity.exact
    assert 0 < (first.evaluated.parity.largest_difference or 0) < 1e-3

    second = parcels.run(parcels.request(*parcels.definition.interval_ending(deliveries.END)))
    assert second.gated.accepted, second.gated.sentence
    assert second.evaluated
    assert second.promoted
    assert second.evaluated.baseline.kind is BaselineKind.CHAMPION
    assert second.promoted.sequence == 2


def test_both_databases_give_the_same_snapshot(tmp_path: Path, make_postgres_database: MakeDatabase) -> None:
    found = []
    for name, url in (("lite", f"sqlite:///{tmp_path}/parcels.db"), ("large", make_postgres_database())):
        deliveries.fill(url)
        folder = tmp_path / name
        folder.mkdir()
        relay = parcels_in(folder, url)
        request = relay.request(deliveries.START, APRIL)
        pulled = pipeline.pull(relay.definition, request, relay.settings)
        found.append(pipeline.snapshot(relay.definition, request, relay.settings, pulled).sha256)
    assert found[0] == found[1]


def test_a_worker_looks_up_bit_for_bit_what_training_joined(parcels: Relay) -> None:
    """Records come in micro-batches, so that answers for some keys are cached and others not."""
    definition, settings = parcels.definition, parcels.settings
    request = parcels.request(deliveries.START, deliveries.END, effective_from=NOW)
    pulled = pipeline.pull(definition, request, settings)
    columns = read_snapshot(pipeline.snapshot(definition, request, settings, pulled), column_types(definition))
    lookups = SqlLookups(settings.need_connection, capacity_keys=500)
    fields = [field.name for field in definition.known_fields]
    with_values = 0
    for start in range(0, pulled.rows, 701):
        batch = {name: columns[name][start : start + 701] for name in fields}
        rows = len(batch["depot"])
        found = lookups.resolve(definition.schema, batch, rows)
        assert found["load.status"] == columns["load.status"][start : start + 701]
        queue, expected = np.asarray(found["load.queue"]), np.asarray(columns["load.queue"])[start : start + 701]
        assert (queue.view(np.int64) == expected.view(np.int64)).all()
        with_values += int((~np.isnan(queue)).sum())
    lookups.close()
    assert with_values > 0.9 * pulled.rows


def test_its_messages_score_as_its_estimator_did(parcels: Relay) -> None:
    found = parcels.run(parcels.request(deliveries.START, APRIL))
    assert found.registered.bundle
    scorer = Scorer(open_bundle(Path(found.registered.bundle), found.registered.manifest_digest))
    lookups = SqlLookups(parcels.settings.need_connection)
    sent = list(messages(parcels.definition, parcels.settings, APRIL.replace(month=3), APRIL))
    decoded = scorer.decode([message.value for message in sent])
    rows = len(decoded.rows)
    scores = scorer.score({**decoded.columns, **lookups.resolve(scorer.schema, decoded.columns, rows)}, rows)
    lookups.close()
    assert not decoded.failures
    assert 45 < scores.mean() < 65
    assert [message.key.decode() for message in sent[:1]] == [str(int(np.asarray(decoded.columns["order_id"])[0]))]
    assert b"courier" not in sent[0].value


def test_a_table_that_lost_a_column_is_told_by_its_name(parcels: Relay) -> None:
    other = parcels.changed(source=Source(connection="parcels", table="deliveries"))
    with pytest.raises(ConfigurationError, match=r"source 'deliveries'.*kilo"):
        other.run(other.request(deliveries.START, APRIL))


def test_a_snapshot_that_fails_its_suite_trains_nothing(parcels: Relay) -> None:
    found = parcels.run(parcels.request(deliveries.START, deliveries.START.replace(day=2)))
    assert found.gated.verdicts[0].judgement is Judgement.FAIL
    assert (found.trained, found.evaluated, found.registered.version, found.promoted) == (None, None, None, None)


def test_no_rows_at_all_are_a_refusal_and_no_crash(parcels: Relay) -> None:
    start = deliveries.START.replace(year=2020)
    found = parcels.run(parcels.request(start, start.replace(month=3)))
    assert found.pulled.rows == 0
    assert found.gated.verdicts[0].judgement is Judgement.FAIL
    assert found.gated.red


def test_a_champion_of_other_features_is_scored_on_the_same_rows_through_its_own_bundle(parcels: Relay) -> None:
    """What its bundle reads, and the new definition no longer pulls, is pulled for it."""
    parcels.run(parcels.request(deliveries.START, APRIL))
    interval = parcels.definition.interval_ending(deliveries.END)
    narrow = parcels.changed(
        fields=[field for field in parcels.definition.fields if field.name not in {"kilograms", "express"}],
        lookups=[],
        features=[number("kilometres")],
        slices=["depot"],
    )
    requests = [relay.request(*interval, "narrow") for relay in (narrow, parcels)]
    found = []
    for relay, request in zip((narrow, parcels), requests, strict=True):
        pulled = pipeline.pull(relay.definition, request, relay.settings)
        snapshot = pipeline.snapshot(relay.definition, request, relay.settings, pulled)
        trained = pipeline.train(relay.definition, request, relay.settings, snapshot, PASSED)
        evaluated = pipeline.evaluate(relay.definition, request, relay.settings, snapshot, trained)
        assert evaluated
        found.append(evaluated)
    assert found[0].baseline.error is None
    assert found[0].baseline.version == "1"
    assert found[0].baseline.metrics == found[1].baseline.metrics
    assert found[0].metrics != found[1].metrics


def test_a_champion_whose_records_are_gone_is_an_error_and_no_baseline(parcels: Relay) -> None:
    parcels.run(parcels.request(deliveries.START, APRIL))
    request = parcels.request(*parcels.definition.interval_ending(deliveries.END))
    narrow = parcels.changed(lookups=[], features=[number("kilometres")])
    pulled = pipeline.pull(narrow.definition, request, narrow.settings)
    snapshot = pipeline.snapshot(narrow.definition, request, narrow.settings, pulled)
    trained = pipeline.train(narrow.definition, request, narrow.settings, snapshot, PASSED)
    engine = sa.create_engine(narrow.settings.need_connection("parcels"))
    with engine.begin() as connection:
        connection.execute(sa.delete(deliveries.deliveries).where(deliveries.deliveries.c.order_id % 2 == 0))
    engine.dispose()
    evaluated = pipeline.evaluate(narrow.definition, request, narrow.settings, snapshot, trained)
    assert evaluated
    assert "has no row with the key" in (evaluated.baseline.error or "")
    assert evaluated.baseline.metrics == {}


def test_a_model_that_is_refitted_on_the_holdout_is_judged_before_and_says_so(parcels: Relay) -> None:
    again = parcels.changed(refit=True)
    found = again.run(again.request(deliveries.START, APRIL))
    assert found.gated.accepted, found.gated.sentence
    assert "it scores after a refit on the holdout too" in found.gated.sentence
    assert found.trained
    assert found.evaluated
    assert found.evaluated.refit_parity
    assert found.evaluated.refit_parity.rows == found.trained.holdout_rows
    assert (
        found.trained.refit_rows == found.trained.training_rows + found.trained.rows_in_gap + found.trained.holdout_rows
    )
    plain = parcels.run(parcels.request(deliveries.START, APRIL, "plain"))
    assert plain.evaluated is None or plain.evaluated.metrics == found.evaluated.metrics

    manifest = open_bundle(Path(str(found.registered.bundle)), found.registered.manifest_digest).manifest
    assert manifest.snapshot.refitted_on_holdout
    assert manifest.snapshot.training_rows == found.trained.refit_rows
    assert manifest.metrics == found.evaluated.metrics

    # A champion that has seen March is no baseline for March, but one for April.
    later = parcels.run(parcels.request(*parcels.definition.interval_ending(deliveries.END)))
    assert later.evaluated
    assert later.evaluated.baseline.error is None
    assert later.evaluated.baseline.trained_until == APRIL
    assert "was trained on events of 2024-01-01 to 2024-04-01" in plain.gated.sentence
