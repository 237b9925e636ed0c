"""Refusing, departing, silent and late workers, as real processes that score a stream meanwhile (A.9 to A.11)."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from scoring.promotion.convergence import Answer, Standing, wait_until_converged
from scoring.promotion.decide import promote, rollback
from scoring.promotion.entry import LedgerEntry
from scoring.promotion.repair import repair
from tests.faults.promotion.rounds import first_promotion
from tests.faults.promotion.theatre import RealWorkers, Theatre, theatre
from tests.support.bundles import score_of
from tests.support.decisions import proposal
from tests.support.ground import Ground
from tests.support.oracle import examine

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]


class Scene:
    """Two workers that are live on the first version."""

    def __init__(self, stage: Theatre, ground: Ground) -> None:
        self.stage, self.ground = stage, ground
        self.model = ground.model
        first_promotion(stage, self.model)

    def decide(self, version: str, digest: str) -> LedgerEntry:
        parent = self.stage.head(self.model)
        made = proposal(version, model=self.model, digest=digest, parent=parent)
        entry = promote(self.stage.ledger, self.stage.registry, made)
        self.announce()
        return entry

    def announce(self) -> None:
        repair(self.model, self.stage.ledger, self.stage.registry, self.stage.board)

    def wait(self, entry: LedgerEntry, limit_s: float = 60.0) -> Answer:
        stage = self.stage
        return wait_until_converged(
            entry, ledger=stage.ledger, kafka=stage.kafka, keyring=stage.keyring, limit_s=limit_s
        )

    def check_stream(self) -> None:
        self.ground.wait_until_done(90)
        report = examine(self.ground, score_of)
        assert report.faultless, report


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with theatre(tmp_path, database="sqlite", registry="folder", workers="real", lanes=1) as stage:
        assert isinstance(stage.workers, RealWorkers)
        yield Scene(stage, stage.workers.ground)


def test_a_refusal_is_red_with_its_reason_and_a_rollback_is_followed(scene: Scene) -> None:
    digest = scene.ground.register(2, golden_error=0.5)
    scene.ground.feed(200)
    answer = scene.wait(scene.decide("2", digest))
    assert answer.standing is Standing.REFUSED, answer
    assert all("golden" in reason for reason in answer.refusals.values()), answer.refusals
    scene.ground.feed(200)  # scored by what was live before

    back = rollback(
        scene.stage.ledger, scene.stage.registry, scene.model, actor="oncall", reason="refused", run_id="back"
    )
    assert (back.sequence, back.version) == (3, "1")
    scene.announce()
    assert scene.wait(back).standing is Standing.CONVERGED
    scene.check_stream()
    assert {prediction["version"] for prediction in scene.ground.predictions()} == {"1"}


def test_a_worker_that_leaves_while_it_is_waited_for_is_waited_for_no_longer(scene: Scene) -> None:
    leaving = scene.ground.workers[1]
    scene.ground.feed(200)
    entry = scene.decide(*scene.stage.register(scene.model))
    assert scene.ground.stop(leaving) == 0
    answer = scene.wait(entry)
    assert answer.standing is Standing.CONVERGED, answer
    assert {view.worker: view.presence.value for view in answer.workers}[f"{scene.ground.deployment}/1"] == "left"
    scene.ground.start(1)  # a late joiner takes the newest at once
    scene.stage.agree(scene.model)
    scene.check_stream()


def test_a_frozen_worker_is_silent_after_a_while_and_catches_up_when_it_thaws(scene: Scene) -> None:
    frozen = scene.ground.workers[1]
    frozen.send_signal(signal.SIGSTOP)
    try:
        scene.ground.feed(200)
        answer = scene.wait(scene.decide(*scene.stage.register(scene.model)))
        assert answer.standing is Standing.CONVERGED, answer
        own = {view.worker: view for view in answer.workers}[f"{scene.ground.deployment}/1"]
        assert own.presence.value == "silent"
    finally:
        frozen.send_signal(signal.SIGCONT)
    if frozen.poll() is None:
        scene.ground.wait_for_heartbeats(1, slot=0)
    if frozen.poll() is not None:  # its place was taken meanwhile: a supervisor starts it again
        scene.ground.start(1)
    scene.stage.agree(scene.model)
    scene.check_stream()
