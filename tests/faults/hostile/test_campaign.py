"""The campaign of hostile input in short, the checks left out one at a time, and the long form."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.hostile import bundles, campaign, messages
from tests.faults.hostile.planted import SHOWN_BY
from tests.support.forge import Forge

PROJECT = Path(__file__).parents[3]
# Of each class, in the ordinary tests.
SHORT = 14
LONG = 60


def ran(*arguments: str, timeout_s: float = 540) -> subprocess.CompletedProcess[str]:
    """The campaign's own command."""
    command = [sys.executable, "-m", "tests.faults.hostile.campaign", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=PROJECT, timeout=timeout_s)


@pytest.mark.integration
@pytest.mark.timeout(1_200)
def test_nothing_hostile_is_believed_or_goes_live_and_each_refusal_names_its_reason(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    cases = len(campaign.CLASSES) * SHORT
    done = ran("--cases", str(cases), "--seed", "3", "--results", str(results))
    assert done.returncode == 0, done.stdout + done.stderr
    counted = campaign.read(results)
    assert sum(row[3] for chunk in counted for row in chunk.rows) == cases
    assert {row[0] for chunk in counted for row in chunk.rows} == set(campaign.CLASSES)
    again = ran("--cases", str(cases), "--seed", "3", "--results", str(results))
    assert again.returncode == 0
    assert "cases 0 to" not in again.stdout  # what is there already is not run again
    assert f"| all | {cases} | {cases} |" in again.stdout


@pytest.mark.integration
@pytest.mark.timeout(600)
@pytest.mark.parametrize("bug", ["signatures", "announced digests", "golden rows", "rules for graphs"])
def test_a_check_that_is_left_out_shows(bug: str) -> None:
    left_out = ran("--cases", "14", "--seed", "5", "--only", SHOWN_BY[bug], "--plant", bug)
    assert left_out.returncode == 1, left_out.stdout + left_out.stderr
    assert "failed" in left_out.stdout


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("bug", [*SHOWN_BY])
def test_every_check_that_is_left_out_shows(bug: str) -> None:
    left_out = ran("--cases", "40", "--seed", "5", "--only", SHOWN_BY[bug], "--plant", bug)
    assert left_out.returncode != 0, left_out.stdout
    complete = ran("--cases", "40", "--seed", "5", "--only", SHOWN_BY[bug])
    assert complete.returncode == 0, complete.stdout


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_nothing_hostile_is_believed_in_a_longer_campaign() -> None:
    done = ran("--cases", str(len(campaign.CLASSES) * LONG), "--seed", "4", timeout_s=880)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_case_is_decided_by_its_seed_and_number(tmp_path: Path) -> None:
    def made(seed: str) -> list[object]:
        forge = Forge(tmp_path, random.Random(seed))
        return [messages.make(name, forge, 4) for name in messages.CLASSES]

    assert made("1/4") == made("1/4") != made("2/4")


def test_a_third_of_the_cases_is_signed_and_wrong_inside() -> None:
    assert len(campaign.INSIDE) * 3 >= len(campaign.CLASSES)
    assert campaign.EXPECTED.keys() == set(campaign.CLASSES)
    assert set(campaign.INSIDE) <= {*messages.CLASSES, *bundles.CLASSES}
