"""January to March of the real flights, from the warehouse to a version in the ledger."""

from datetime import timedelta
from pathlib import Path

import numpy as np

from local import warehouse
from scoring.contract.encoder import Floats
from scoring.contract.verdict import Judgement, Verdict
from scoring.lookups.sql import SqlLookups
from scoring.promotion.ledger import Ledger
from scoring.registry.open import open_registry
from scoring.scorer.bundle import open_bundle
from scoring.scorer.compiled import CompiledModel
from scoring.scorer.golden import check_golden
from scoring.scorer.scorer import Scorer
from tests.integration.training.conftest import Promoted, Relay, flights_in, month
from tests.support.thresholds import adversarial_rows, every_threshold
from training import pipeline
from training.candidate import read_candidate
from training.compile import predict
from training.evaluate import read_holdout
from training.golden import ROWS
from training.limits import GATES
from training.messages import messages
from training.pull import column_types
from training.results import BaselineKind, Gated
from training.rows import split, targets
from training.snapshot import read_snapshot
from training.train import Fitted, fit


def bits(scores: Floats) -> np.typing.NDArray[np.int64]:
    return np.ascontiguousarray(scores).view(np.int64)


def refitted(promoted: Promoted) -> tuple[Fitted, np.typing.NDArray[np.bool_]]:
    """The estimator once more, fitted on the same rows, and which rows are the holdout."""
    definition, found = promoted.relay.definition, promoted.first
    assert found.trained
    columns = read_snapshot(found.snapshot, column_types(definition))
    parts = split(definition, columns, found.trained.holdout_start)
    return fit(definition, columns, parts.training, targets(definition, columns)), parts.holdout


def scorer_of(promoted: Promoted) -> Scorer:
    found = promoted.first.registered
    assert found.bundle
    return Scorer(open_bundle(Path(found.bundle), found.manifest_digest))


def test_the_first_version_is_trained_judged_and_promoted(promoted: Promoted) -> None:
    found = promoted.first
    assert found.trained
    assert found.evaluated
    assert found.promoted
    assert found.gated.accepted, found.gated.sentence
    assert (found.promoted.sequence, found.promoted.version) == (1, "1")
    assert found.trained.holdout_start == month(3)
    assert 0.66 < found.evaluated.metrics["auc"] < 0.75
    assert found.evaluated.baseline.kind is BaselineKind.TRIVIAL
    assert found.evaluated.baseline.metrics["auc"] == 0.5


def test_every_row_is_accounted_for(promoted: Promoted) -> None:
    found = promoted.first.trained
    assert found
    counted = (found.training_rows, found.holdout_rows, found.rows_in_gap, found.rows_without_label)
    assert sum(counted) + found.rows_unscorable == promoted.first.snapshot.rows == 80_687
    assert found.rows_in_gap > 500


def test_labels_that_were_not_known_on_the_first_of_april_are_not_used(promoted: Promoted) -> None:
    definition, found = promoted.relay.definition, promoted.first
    assert found.trained
    assert found.pulled.labels_not_yet_known > 500
    holdout = read_holdout(definition, found.snapshot, found.trained)
    latest = np.max(np.asarray(holdout.columns["scheduled_departure"]))
    assert latest <= (month(4) - timedelta(hours=24)).timestamp()


def test_the_compiled_model_equals_predict_proba_bit_for_bit_over_the_whole_holdout(promoted: Promoted) -> None:
    """From the messages that a producer would have sent, as a worker decodes, enriches, encodes and scores them."""
    definition, settings = promoted.relay.definition, promoted.relay.settings
    fitted, holdout = refitted(promoted)
    columns = read_snapshot(promoted.first.snapshot, column_types(definition))
    keys = np.array(columns["flight_id"])[holdout].tolist()
    expected = dict(zip(keys, predict(fitted.estimator, definition.task, fitted.matrix[holdout]).tolist(), strict=True))

    scorer, lookups = scorer_of(promoted), SqlLookups(settings.need_connection)
    found: dict[str, float] = {}
    sent = list(messages(definition, settings, month(3), month(4)))
    for start in range(0, len(sent), 1_999):
        batch = sent[start : start + 1_999]
        decoded = scorer.decode([message.value for message in batch])
        assert not decoded.failures
        rows = len(decoded.rows)
        looked_up = lookups.resolve(scorer.schema, decoded.columns, rows)
        scores = scorer.score({**decoded.columns, **looked_up}, rows).tolist()
        found.update(zip([message.key.decode() for message in batch], scores, strict=True))
    lookups.close()

    assert len(sent) == 28_886
    assert len(expected) == promoted.first.evaluated.rows if promoted.first.evaluated else False
    assert bits(np.array([found[key] for key in keys])).tolist() == bits(np.array(list(expected.values()))).tolist()


def test_it_also_does_on_next_to_and_beyond_every_threshold_for_every_size_of_batch(promoted: Promoted) -> None:
    fitted, holdout = refitted(promoted)
    candidate = read_candidate(Path(promoted.first.trained.folder)) if promoted.first.trained else None
    assert candidate
    scorer = scorer_of(promoted)
    compiled = CompiledModel(scorer.bundle.model, candidate.output)
    matrix = fitted.matrix[holdout]
    for rows in (every_threshold(fitted.estimator, matrix), adversarial_rows(fitted.estimator, matrix, 50_000, seed=4)):
        expected = predict(fitted.estimator, promoted.relay.definition.task, rows)
        assert (bits(compiled.run(rows)) == bits(expected)).all()
        for size in (1, 3, 64, 129, 2_048):
            parts = [compiled.run(rows[start : start + size]) for start in range(0, min(len(rows), 40 * size), size)]
            together = np.concatenate(parts)
            assert (bits(together) == bits(expected[: len(together)])).all(), size


def test_the_bundle_is_whole_and_reproduces_its_golden_rows(promoted: Promoted, tmp_path: Path) -> None:
    found = promoted.first.registered
    assert found.version
    open_registry(promoted.relay.settings.need_registry_uri()).fetch("flight_delay", found.version, tmp_path / "b")
    bundle = open_bundle(tmp_path / "b", found.manifest_digest)
    check_golden(Scorer(bundle))
    manifest = bundle.manifest
    assert len(bundle.golden) == ROWS
    assert manifest.output.exact
    assert manifest.snapshot.sha256 == promoted.first.snapshot.sha256
    assert tuple(verdict.gate for verdict in manifest.verdicts) == GATES
    assert not manifest.snapshot.refitted_on_holdout
    assert "dep_delay" not in {field.name for field in manifest.schema.fields}
    assert manifest.environment["scikit-learn"]


def test_a_step_that_is_repeated_finds_what_it_did_before(promoted: Promoted, tmp_path: Path) -> None:
    relay, first = promoted.copy(tmp_path), promoted.first
    definition, settings = relay.definition, relay.settings
    request = relay.request(month(1), month(4))
    registered = pipeline.register(
        definition, request, settings, first.snapshot, first.trained, first.evaluated, first.gated
    )
    assert (registered.version, registered.manifest_digest) == ("1", first.registered.manifest_digest)
    assert pipeline.promote(definition, request, settings, first.gated, registered) == first.promoted
    assert [entry.sequence for entry in Ledger.open(settings.need_ledger_url()).entries("flight_delay")] == [1]


def test_a_retrain_is_held_against_the_champion_on_the_same_rows_of_april(promoted: Promoted, tmp_path: Path) -> None:
    relay = promoted.copy(tmp_path)
    found = relay.run(relay.request(month(1), month(5)))
    assert found.evaluated
    assert found.promoted
    baseline = found.evaluated.baseline
    assert (baseline.kind, baseline.version, baseline.sequence) == (BaselineKind.CHAMPION, "1", 1)
    assert (baseline.trained_from, baseline.trained_until) == (month(1), month(3))
    assert 0.60 < baseline.metrics["auc"] < found.evaluated.metrics["auc"] + 0.02
    assert baseline.metrics["base_rate"] == found.evaluated.metrics["base_rate"]
    assert (found.promoted.sequence, found.promoted.version) == (2, "2")


def test_a_champion_that_was_trained_on_rows_of_the_holdout_is_an_error(promoted: Promoted, tmp_path: Path) -> None:
    relay = promoted.copy(tmp_path)
    found = relay.run(relay.request(month(1), month(3), "an older one"))
    verdict = next(verdict for verdict in found.gated.verdicts if verdict.gate == "not-worse")
    assert verdict.judgement is Judgement.ERROR
    assert "was trained on events of 2013-01-01 to 2013-03-01, which the holdout" in verdict.sentence
    assert found.gated.red
    assert found.registered.version is None


def test_a_month_that_the_vendor_damaged_is_refused_by_the_suite(
    promoted: Promoted, warehouse_file: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "warehouse.db"
    copied.write_bytes(warehouse_file.read_bytes())
    url = f"sqlite:///{copied}"
    assert warehouse.damage(url, month(5), month(6)) == warehouse.damage(url, month(5), month(6)) > 28_000
    relay = promoted.copy(tmp_path)
    damaged = Relay(relay.definition, relay.settings.model_copy(update={"connections": {"warehouse": url}}))
    found = damaged.run(damaged.request(month(1), month(6)))
    assert found.gated.red
    assert found.gated.sentence.startswith("the candidate of flight_delay is refused by data: the snapshot is refused")
    assert "carrier" in found.gated.sentence
    assert "distance" in found.gated.sentence
    assert (found.trained, found.registered.version, found.promoted) == (None, None, None)
    entries = Ledger.open(damaged.settings.need_ledger_url()).entries("flight_delay")
    assert [entry.version for entry in entries] == ["1"]

    assert warehouse.repair(url) > 28_000
    again = pipeline.pull(damaged.definition, damaged.request(month(1), month(4)), damaged.settings)
    stored = pipeline.snapshot(damaged.definition, damaged.request(month(1), month(4)), damaged.settings, again)
    assert stored.sha256 == promoted.first.snapshot.sha256


def test_one_run_in_mlflow_holds_the_evidence_however_often_the_step_is_repeated(
    promoted: Promoted, warehouse_file: Path, empty_mlflow: Path, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    from scoring.registry.mlflow_registry import RUN_TAG

    database = tmp_path / "mlflow.db"
    database.write_bytes(empty_mlflow.read_bytes())
    relay = flights_in(tmp_path, warehouse_file, f"sqlite:///{database}")
    first, request = promoted.first, relay.request(month(1), month(4))
    results = [
        pipeline.register(
            relay.definition, request, relay.settings, first.snapshot, first.trained, first.evaluated, first.gated
        )
        for _ in range(2)
    ]
    assert results[0] == results[1]
    assert first.evaluated
    assert results[0].registry_run
    run = MlflowClient(relay.settings.need_registry_uri()).get_run(results[0].registry_run)
    assert run.data.metrics["auc"] == first.evaluated.metrics["auc"]
    assert run.data.metrics["trivial_auc"] == 0.5
    assert run.data.params["snapshot_sha256"] == first.snapshot.sha256
    assert run.data.tags["baton.outcome"] == "accepted"
    assert run.data.tags["baton.gate.parity"].startswith("pass: the compiled model and the estimator are equal bit")
    assert run.data.metrics["auc_low"] < run.data.metrics["auc"] < run.data.metrics["auc_high"]
    assert run.data.metrics["auc_gain_low"] > 0.1
    assert run.data.params["refitted_on_holdout"] == "False"
    assert "scikit-learn 1." in run.data.tags["baton.environment"]
    assert run.data.tags["baton.code_revision"]
    client = MlflowClient(relay.settings.need_registry_uri())
    files = {each.path: each.file_size for each in client.list_artifacts(run.info.run_id)}
    pictures = {"reliability.png", "roc.png", "slices.png", "gain-auc.png", "gain-brier.png", "gain-log_loss.png"}
    assert pictures | {"evidence.json", "slices.csv", "verdicts.json"} <= set(files)
    assert all((files[picture] or 0) > 5_000 for picture in pictures)
    table = Path(client.download_artifacts(run.info.run_id, "slices.csv", str(tmp_path))).read_text().splitlines()
    assert table[1].startswith("origin,EWR,9721,auc,0.72")
    assert len(table) == 1 + 14 * 3
    assert run.info.status == "FINISHED"

    refused = relay.request(month(1), month(4), "a refused one")
    verdict = Verdict(gate="not-worse", judgement=Judgement.FAIL, sentence="worse")
    gated = Gated(verdicts=(verdict,), sentence="refused by not-worse: worse", red=False, parent=0)
    recorded = pipeline.register(
        relay.definition, refused, relay.settings, first.snapshot, first.trained, first.evaluated, gated
    )
    assert (recorded.version, recorded.bundle) == (None, None)
    assert recorded.registry_run not in {None, run.info.run_id}
    tags = MlflowClient(relay.settings.need_registry_uri()).get_run(str(recorded.registry_run)).data.tags
    assert (tags["baton.outcome"], tags["baton.gate.not-worse"]) == ("refused", "fail: worse")
    (version,) = open_registry(relay.settings.need_registry_uri()).versions("flight_delay")
    assert version.tags[RUN_TAG] == results[0].registry_run


def test_the_messages_of_an_interval_come_in_the_order_of_their_time(flights: Relay) -> None:
    times = [message.event_time for message in messages(flights.definition, flights.settings, month(1), month(2))]
    assert len(times) > 26_000
    assert times == sorted(times)
    assert month(1) <= times[0] <= times[-1] < month(2)
