"""The load gate in the pipeline: a candidate is loaded in a process of its own before it is judged."""

import msgspec
import pytest

from scoring.contract.verdict import Judgement, Verdict
from tests.integration.training.conftest import Relay, parcels_in
from tests.support import deliveries
from training import bundle, environment
from training.budget import LoadBudget
from training.pipeline import Finished

APRIL = deliveries.START.replace(month=4)


@pytest.fixture
def parcels(tmp_path_factory: pytest.TempPathFactory) -> Relay:
    folder = tmp_path_factory.mktemp("parcels")
    url = f"sqlite:///{folder / 'parcels.db'}"
    deliveries.fill(url)
    return parcels_in(folder, url)


def first_run(relay: Relay) -> Finished:
    return relay.run(relay.request(deliveries.START, APRIL))


def with_budget(relay: Relay, budget: LoadBudget) -> Relay:
    return relay.changed(gates=msgspec.structs.replace(relay.definition.gates, load=budget))


def verdict_of(finished: Finished) -> Verdict:
    (found,) = [verdict for verdict in finished.gated.verdicts if verdict.gate == "load"]
    return found


def test_a_candidate_within_its_budget_is_promoted_and_a_repeated_run_finds_the_same_candidate(
    parcels: Relay,
) -> None:
    first = first_run(parcels)
    assert first.evaluated is not None
    assert first.evaluated.load is not None
    probed = first.evaluated.load.probed
    assert probed is not None
    assert [batch.records for batch in probed.batches] == [1, 64, 1_024, 4_096]
    assert verdict_of(first).judgement is Judgement.PASS, verdict_of(first).sentence
    assert first.promoted is not None
    assert first.promoted.sequence == 1
    again = first_run(parcels)
    assert again.evaluated is not None
    assert again.evaluated.load == first.evaluated.load, "a retry finds what the first try measured"
    assert again.registered.manifest_digest == first.registered.manifest_digest
    assert again.promoted == first.promoted


def test_a_model_that_is_too_slow_or_too_large_is_refused_and_somebody_has_to_look(parcels: Relay) -> None:
    slow = first_run(with_budget(parcels, LoadBudget(p50_ms={1_024: 0.001}, p99_ms={1: 20.0})))
    assert verdict_of(slow).judgement is Judgement.FAIL
    assert "half of the micro-batches of 1,024 take" in slow.gated.sentence
    assert (slow.gated.red, slow.promoted) == (True, None)
    assert slow.evaluated is not None
    assert slow.evaluated.load is not None
    assert slow.evaluated.load.probed is not None
    large = first_run(with_budget(parcels, LoadBudget(resident_bytes=40 * 2**20)))
    assert verdict_of(large).judgement is Judgement.FAIL
    assert "MiB of memory (40 allowed)" in large.gated.sentence


def test_an_environment_with_older_packages_is_refused(parcels: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundle says that it was made with a newer ONNX Runtime than the one that would score."""
    newer = {**environment.versions(), "onnxruntime": "99.1.0"}
    monkeypatch.setattr(bundle, "versions", lambda: newer)
    finished = first_run(parcels)
    assert verdict_of(finished).judgement is Judgement.FAIL
    assert "it was built for onnxruntime 99.1.0, but" in finished.gated.sentence
    assert finished.promoted is None


def test_without_the_interpreter_of_the_settings_the_gate_is_an_error(parcels: Relay) -> None:
    settings = parcels.settings.model_copy(update={"scoring_python": parcels.settings.need_snapshot_dir() / "python"})
    finished = first_run(Relay(parcels.definition, settings))
    assert verdict_of(finished).judgement is Judgement.ERROR
    assert "cannot be started" in verdict_of(finished).sentence
    assert finished.gated.red
