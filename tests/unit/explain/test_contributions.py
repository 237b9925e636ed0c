"""Contributions of features: they add up to the raw score, and are Shapley's values by their definition."""

from itertools import combinations
from math import factorial
from pathlib import Path

import msgspec
import numpy as np
import pytest
from onnx import TensorProto, helper

from scoring.contract.encoder import Floats
from scoring.explain.contributions import Contributors, Game, Trees
from scoring.explain.rescoring import Columned
from scoring.scorer.compiled import CompiledModel
from scoring.scorer.ensemble import model_of
from scoring.scorer.graph import parse_graph
from scoring.scorer.scorer import Scorer
from tests.support.bundles import small_bundle, small_record
from tests.support.classes import bundle_of_classes, probabilities
from tests.support.explaining import evidence
from tests.support.tree_models import NAMES, model

TOLERANCE = 1e-9
REFERENCES = 4


def by_definition(trees: Trees, row: Floats, reference: Floats) -> Floats:
    """Shapley's values by their sum over all coalitions."""
    players = row.shape[1]
    found = np.zeros(players)
    for player in range(players):
        others = [each for each in range(players) if each != player]
        for size in range(players):
            for coalition in combinations(others, size):
                without, joined = reference.copy(), reference.copy()
                without[0, list(coalition)] = row[0, list(coalition)]
                joined[0, [*coalition, player]] = row[0, [*coalition, player]]
                share = factorial(size) * factorial(players - size - 1) / factorial(players)
                found[player] += share * float(trees.sums(joined)[0] - trees.sums(without)[0])
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_trees_add_up_to_what_the_compiled_model_gives(name: str) -> None:
    _, matrix, graph, output = model(name)
    trees = Trees(model_of(parse_graph(graph)), matrix.shape[1])
    rows = np.vstack([matrix[:60], np.full((1, matrix.shape[1]), np.nan)])
    expected = CompiledModel(graph, output).run(rows)
    np.testing.assert_allclose(trees.sums(rows), expected, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("name", NAMES)
def test_contributions_are_shapleys_values_and_add_up(name: str) -> None:
    _, matrix, graph, _ = model(name)
    trees = Trees(model_of(parse_graph(graph)), matrix.shape[1])
    game = Game(trees, matrix[:REFERENCES])
    for place in (100, 101):
        row = matrix[place : place + 1]
        found = game.values(row)
        expected = np.mean([by_definition(trees, row, matrix[r : r + 1]) for r in range(REFERENCES)], axis=0)
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=TOLERANCE)
        assert game.base + found.sum() == pytest.approx(game.raw(row), rel=TOLERANCE, abs=TOLERANCE)


def test_a_record_is_held_against_the_golden_rows_of_its_bundle(tmp_path: Path) -> None:
    scorer = Scorer(small_bundle(tmp_path / "bundle"))
    value = msgspec.json.encode(small_record(7))
    given = evidence(scorer, value)
    assert given.prediction is not None
    found = Contributors().of(scorer, Columned(scorer, value, given.prediction))
    assert found is not None
    assert found.base == pytest.approx(1.25 * 0.6 + 1.75 * 0.4)
    assert found.raw == 1.75
    assert {part.feature: part.value for part in found.parts} == {
        "x": pytest.approx(found.raw - found.base),
        "color": 0.0,
        "hour": 0.0,
    }
    assert found.off_by < TOLERANCE


def test_of_several_classes_it_is_the_raw_score_of_the_label(tmp_path: Path) -> None:
    scorer = Scorer(bundle_of_classes(tmp_path / "classes"))
    value = msgspec.json.encode(small_record(2))
    given = evidence(scorer, value)
    assert given.prediction is not None
    found = Contributors().of(scorer, Columned(scorer, value, given.prediction))
    assert found is not None
    assert found.label == given.prediction.label == "on time"
    assert found.raw == max(probabilities(2))
    assert found.off_by < TOLERANCE


@pytest.fixture
def scorer_of_a_sum(tmp_path: Path) -> Scorer:
    weights = helper.make_tensor("W", TensorProto.DOUBLE, [3, 1], [0.5, 0.0, 0.25])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["X", "W"], ["raw"])],
        "sum",
        [helper.make_tensor_value_info("X", TensorProto.DOUBLE, [None, 3])],
        [helper.make_tensor_value_info("raw", TensorProto.DOUBLE, [None, 1])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    bundle = small_bundle(tmp_path / "bundle")
    return Scorer(msgspec.structs.replace(bundle, model=bytes(model.SerializeToString())))


def test_models_that_are_not_trees_have_none(scorer_of_a_sum: Scorer) -> None:
    value = msgspec.json.encode(small_record(7))
    given = evidence(scorer_of_a_sum, value)
    assert given.prediction is not None
    contributors = Contributors()
    for _ in range(2):
        assert contributors.of(scorer_of_a_sum, Columned(scorer_of_a_sum, value, given.prediction)) is None
