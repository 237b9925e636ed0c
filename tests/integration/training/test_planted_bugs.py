"""Mistakes that teams really make, planted into the pipeline one at a time; each must be caught, and by its gate."""

from typing import Any

import numpy as np
import pytest

from scoring.contract.encoder import Floats
from scoring.contract.verdict import Judgement
from scoring.promotion.ledger import Ledger
from tests.integration.training.conftest import Promoted, Relay, month
from tests.support.evidence import load as good_load
from training import bundle, load, pipeline, train
from training.compile import ensemble
from training.golden import golden_rows
from training.pipeline import Finished
from training.results import Evaluated, Gated


@pytest.fixture(autouse=True)
def _quick_to_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process of its own for each bundle; other tests start it."""
    monkeypatch.setattr(load, "probe", lambda *_, **__: good_load())


def rerun(relay: Relay, promoted: Promoted) -> tuple[Evaluated, Gated, Finished]:
    """Train and judge on the snapshot that is there, as a first version."""
    first, request = promoted.first, relay.request(month(1), month(4), "planted")
    definition, settings = relay.definition, relay.settings
    trained = pipeline.train(definition, request, settings, first.snapshot, first.validated)
    evaluated = pipeline.evaluate(definition, request, settings, first.snapshot, trained)
    gated = pipeline.gates(definition, request, settings, first.validated, evaluated)
    registered = pipeline.register(definition, request, settings, first.snapshot, trained, evaluated, gated)
    assert evaluated
    finished = Finished(
        pulled=first.pulled,
        snapshot=first.snapshot,
        validated=first.validated,
        trained=trained,
        evaluated=evaluated,
        gated=gated,
        registered=registered,
    )
    return evaluated, gated, finished


def refusing(gated: Gated) -> dict[str, str]:
    return {v.gate: v.judgement.value for v in gated.verdicts if v.judgement is not Judgement.PASS}


def test_without_a_planted_bug_every_gate_passes(flights: Relay, promoted: Promoted) -> None:
    _, gated, finished = rerun(flights, promoted)
    assert refusing(gated) == {}
    assert finished.registered.version == "1"


def test_trees_in_float32_are_caught_by_parity(
    flights: Relay, promoted: Promoted, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ensemble._attributes

    def halved(grown: Any) -> dict[str, Any]:
        found = whole(grown)
        for name in ("nodes_splits", "leaf_weights"):
            found[name] = np.array(found[name], np.float32).astype(np.float64).tolist()
        return found

    monkeypatch.setattr(ensemble, "_attributes", halved)
    evaluated, gated, finished = rerun(flights, promoted)
    assert refusing(gated) == {"parity": "fail", "load": "fail"}  # its golden rows are not the estimator's either
    assert gated.red
    assert evaluated.parity.different_rows > 20_000
    assert evaluated.parity.changed_decisions > 10
    assert promoted.first.evaluated
    assert evaluated.metrics["auc"] == pytest.approx(promoted.first.evaluated.metrics["auc"], abs=0.001)  # unnoticed
    assert finished.registered.version is None


def test_missing_values_that_go_the_other_way_are_caught_by_parity(
    flights: Relay, promoted: Promoted, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ensemble._attributes

    def turned(grown: Any) -> dict[str, Any]:
        found: dict[str, Any] = whole(grown)
        found["nodes_missing_value_tracks_true"] = [1 - way for way in found["nodes_missing_value_tracks_true"]]
        return found

    monkeypatch.setattr(ensemble, "_attributes", turned)
    evaluated, gated, _ = rerun(flights, promoted)
    assert "parity" in refusing(gated)
    assert evaluated.parity.changed_decisions > 0


def test_shuffled_labels_are_caught_by_quality_and_end_green(
    flights: Relay, promoted: Promoted, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = train.fit

    def shuffled(definition: Any, columns: Any, training: Any, wanted: Floats) -> Any:
        mixed = wanted.copy()
        mixed[training] = np.random.default_rng(0).permutation(wanted[training])
        return fit(definition, columns, training, mixed)

    monkeypatch.setattr(train, "fit", shuffled)
    evaluated, gated, finished = rerun(flights, promoted)
    assert "minimum-quality" in refusing(gated)
    assert not gated.red, gated.sentence
    assert 0.45 < evaluated.metrics["auc"] < 0.55
    assert finished.registered.version is None
    assert Ledger.open(flights.settings.need_ledger_url()).entries("flight_delay") == []


def test_labels_turned_round_are_caught_by_quality_and_by_the_baseline(
    flights: Relay, promoted: Promoted, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = train.fit

    def turned(definition: Any, columns: Any, training: Any, wanted: Floats) -> Any:
        return fit(definition, columns, training, np.where(training, 1.0 - wanted, wanted))

    monkeypatch.setattr(train, "fit", turned)
    _, gated, _ = rerun(flights, promoted)
    assert refusing(gated) == {
        "minimum-quality": "fail",
        "not-worse": "fail",
        "slices": "fail",
        "calibration": "fail",
    }


def test_a_challenger_that_is_much_worse_than_the_champion_is_refused(promoted: Promoted, tmp_path: Any) -> None:
    """It passes the minimum: only the comparison on the same rows shows it."""
    relay = promoted.copy(tmp_path)
    features = [
        each for each in relay.definition.features if each.name in {"carrier", "scheduled_departure_hour_of_day"}
    ]
    poorer = relay.changed(features=features, gates=type(relay.definition.gates)(minimum={"auc": 0.5}))
    found = poorer.run(poorer.request(month(1), month(5)))
    assert refusing(found.gated) == {"not-worse": "fail"}
    assert not found.gated.red
    assert "champion 1's is" in found.gated.sentence
    assert found.promoted is None


def test_golden_rows_that_do_not_match_keep_a_bundle_out_of_the_registry(
    flights: Relay, promoted: Promoted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if messages were built otherwise than training reads the warehouse: the scores differ, no bundle is made."""
    encode = golden_rows

    def other_units(schema: Any, columns: Any, estimator: Floats, compiled: Floats) -> Any:
        return encode(schema, {**columns, "distance": np.asarray(columns["distance"]) * 1.609344}, estimator, compiled)

    monkeypatch.setattr(bundle, "golden_rows", other_units)
    _, gated, finished = rerun(flights, promoted)
    assert refusing(gated) == {"load": "fail"}
    assert "golden rows differ" in gated.sentence
    assert finished.registered.version is None
