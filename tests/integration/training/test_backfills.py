"""Backfills: candidates for old intervals, judged as they would have been then, that promote nothing."""

from datetime import datetime

import pytest

from scoring.promotion.ledger import Ledger
from scoring.registry.open import open_registry
from tests.integration.training.conftest import Promoted, Relay, month
from training import pipeline
from training.pipeline import Finished
from training.refusals import Refusal
from training.results import BaselineKind, Purpose


def backfill(relay: Relay, start: datetime, end: datetime, run_id: str = "backfill") -> Finished:
    """What Airflow asks for: the run was due at the end of its interval, and counts from nowhere."""
    request = relay.request(
        start, end, run_id, requested_at=end, effective_from=None, purpose=Purpose.BACKFILL, actor="ada"
    )
    return relay.run(request)


@pytest.fixture
def relay(promoted: Promoted, tmp_path_factory: pytest.TempPathFactory) -> Relay:
    """With version 1 live from April on."""
    return promoted.copy(tmp_path_factory.mktemp("backfills"))


def test_a_second_backfill_of_an_interval_trains_and_registers_nothing_anew(relay: Relay) -> None:
    first = backfill(relay, month(1), month(5), "first")
    again = backfill(relay, month(1), month(5), "second")
    assert first.gated.accepted, first.gated.sentence
    assert first.trained
    assert again.trained
    assert (first.pulled.reused, again.pulled.reused) == (False, True)
    assert (first.trained.reused, again.trained.reused) == (False, True)
    assert (first.registered.reused, again.registered.reused) == (False, True)
    assert again.snapshot.reused
    assert again.registered.version == first.registered.version
    assert again.evaluated
    assert first.evaluated
    assert again.evaluated.metrics == first.evaluated.metrics


def test_a_backfill_moves_no_champion_even_where_its_promotion_is_called(relay: Relay) -> None:
    before = Ledger.open(relay.settings.need_ledger_url()).entries("flight_delay")
    found = backfill(relay, month(2), month(6))
    assert found.gated.accepted, found.gated.sentence
    assert found.promoted
    assert found.promoted.sequence is None
    assert found.promoted.refusal == Refusal.NOT_FOR_PROMOTION
    assert Ledger.open(relay.settings.need_ledger_url()).entries("flight_delay") == before
    assert len(before) == 1


def test_a_backfill_is_held_against_what_was_live_when_its_holdout_began(relay: Relay) -> None:
    """Version 1 counts from April on: it is no baseline for March, though the ledger's head names it."""
    early, late = backfill(relay, month(1), month(4)), backfill(relay, month(1), month(6))
    assert early.evaluated
    assert late.evaluated
    assert early.evaluated.baseline.kind is BaselineKind.TRIVIAL
    assert late.evaluated.baseline.kind is BaselineKind.CHAMPION
    assert late.evaluated.baseline.version == "1"
    assert late.evaluated.baseline.error is None


def test_other_parameters_or_another_feature_train_anew(relay: Relay) -> None:
    assert backfill(relay, month(1), month(4), "first").trained
    fewer = relay.changed(features=[each for each in relay.definition.features if each.name != "distance"])
    estimator = type(relay.definition.estimator)(
        relay.definition.estimator.path, **{**relay.definition.estimator.parameters, "max_iter": 50}
    )
    for other in (fewer, relay.changed(estimator=estimator)):
        found = backfill(other, month(1), month(4), "other")
        assert found.trained
        assert not found.trained.reused
        assert not found.registered.reused


def test_a_run_for_a_promotion_uses_the_candidate_but_registers_a_version_of_its_own(relay: Relay) -> None:
    """What a backfill keeps was judged by another champion: a promotion needs verdicts of its own."""
    first = backfill(relay, month(1), month(6))
    request = relay.request(month(1), month(6), "promotion")
    found = pipeline.run(relay.definition, request, relay.settings, announcing=False)
    assert found.trained
    assert found.trained.reused
    assert found.registered.version != first.registered.version
    assert found.promoted
    assert found.promoted.sequence == 2
    tags = [
        each.tags["baton.purpose"]
        for each in open_registry(relay.settings.need_registry_uri()).versions("flight_delay")
    ]
    assert tags == ["promotion", "backfill", "promotion"]
