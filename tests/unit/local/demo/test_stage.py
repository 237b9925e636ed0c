"""A demonstration begins by clearing away what another left; it must not clear away anybody's work."""

from pathlib import Path

import pytest

from local.demo.stage import MODEL, Stage, StageError
from local.settings import StackSettings
from scoring.promotion.ledger import Ledger
from tests.support.decisions import proposal


@pytest.fixture
def stage(settings: StackSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setenv("BATON_LEDGER_URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    return Stage(settings, say=lambda _: None)


def decide(tmp_path: Path, *models: str) -> None:
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    for model in models:
        ledger.decide(proposal(model=model))


def test_a_stack_without_a_ledger_can_be_used(stage: Stage) -> None:
    stage.require_own_ledger()


def test_the_ledger_of_an_earlier_demonstration_can_be_cleared(stage: Stage, tmp_path: Path) -> None:
    decide(tmp_path, MODEL)
    stage.require_own_ledger()


def test_a_ledger_that_others_are_in_is_left_alone(stage: Stage, tmp_path: Path) -> None:
    decide(tmp_path, MODEL, "upsell")
    with pytest.raises(StageError, match=r"also serves upsell.*BATON_STATE_DIR"):
        stage.require_own_ledger()
