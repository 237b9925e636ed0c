"""Each sentence of protocol B, left out of the worker, is caught by a named test; with the sentence in, it passes."""

from collections.abc import Iterator

import pytest

from tests.faults.daemon.plants import BEYOND, PLANTS
from tests.faults.promotion.planting import Planter
from tests.faults.promotion.plants import Plant

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def planter() -> Iterator[Planter]:
    with Planter("tests.faults.daemon.plants") as running:
        yield running


@pytest.mark.parametrize("plant", PLANTS.values(), ids=[f"b{plant.sentence}-{name}" for name, plant in PLANTS.items()])
def test_a_sentence_that_is_left_out_is_caught_by_the_named_test(planter: Planter, plant: Plant) -> None:
    outcomes = planter.run(plant.name, plant.caught_by)
    for test in plant.caught_by:
        own = {name: outcome for name, outcome in outcomes.items() if name.startswith(test)}
        assert own, f"{test} was not run: {outcomes}"
        assert all(outcome.phase == "call" for outcome in own.values()), f"it did not come to the test itself: {own}"
        assert any(not outcome.passed for outcome in own.values()), f"{test} passes although {plant.name}"


def test_with_every_sentence_in_the_named_tests_pass(planter: Planter) -> None:
    named = sorted({test for plant in PLANTS.values() for test in plant.caught_by})
    outcomes = planter.run(None, named)
    for test in named:
        assert any(name.startswith(test) for name in outcomes), f"{test} was not run"
    assert {name: outcome for name, outcome in outcomes.items() if not outcome.passed} == {}


def test_every_sentence_of_part_b_is_left_out_and_ten_more_mistakes_are_made() -> None:
    assert {plant.sentence for plant in PLANTS.values()} - {BEYOND} == set(range(1, 11))
    assert sum(plant.sentence == BEYOND for plant in PLANTS.values()) >= 10
