"""Models of several classes in the scorer: a probability of each class per record, and nothing else will do."""

import json
import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.contract.encoder import Floats
from scoring.contract.errors import BundleRejected
from scoring.contract.golden import GoldenRow, Score
from scoring.contract.manifest import Link, Output, Task
from scoring.scorer.bundle import Bundle
from scoring.scorer.compiled import CompiledModel, softmax
from scoring.scorer.golden import check_golden
from scoring.scorer.graph_rules import check_graph
from scoring.scorer.probe import probe
from scoring.scorer.scorer import Scorer, described, finite
from scoring.scorer.trial import try_bundle
from tests.support.bundles import one_split_tree, small_record
from tests.support.classes import BELOW, CLASSES, bundle_of_classes, graph_of_classes, probabilities

OUTPUT = Output(task=Task.MULTICLASS, classes=CLASSES)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return bundle_of_classes(tmp_path / "bundle")


def scored(bundle: Bundle, count: int) -> Floats:
    scorer = Scorer(bundle)
    decoded = scorer.decode([msgspec.json.encode(small_record(number)) for number in range(count)])
    return scorer.score(decoded.columns, count)


@pytest.mark.parametrize("count", [1, 2, 7, 64, 513])
def test_records_get_the_probabilities_of_all_classes_in_a_micro_batch_of_any_size(bundle: Bundle, count: int) -> None:
    assert scored(bundle, count).tolist() == [list(probabilities(number)) for number in range(count)]


def test_a_bundle_of_classes_passes_its_golden_rows_its_trial_and_its_probe(bundle: Bundle) -> None:
    check_golden(Scorer(bundle))
    assert try_bundle(bundle.folder, bundle.digest, "small", 64) is None
    assert probe(bundle.folder, (1, 8)).batches[1].records == 8


@pytest.mark.parametrize(
    "wrong", [0.5, (), (0.5,), BELOW[:2], (*BELOW, 0.0), (BELOW[1], BELOW[0], BELOW[2]), (0.125, 0.625, 0.25000001)]
)
@pytest.mark.parametrize("field", ["estimator", "compiled"])
def test_a_golden_row_that_expects_something_else_is_refused(bundle: Bundle, wrong: Score, field: str) -> None:
    last: GoldenRow = msgspec.structs.replace(bundle.golden[0], **{field: wrong})
    with pytest.raises(BundleRejected, match="golden rows"):
        check_golden(Scorer(bundle), (*bundle.golden[1:], last))
    with pytest.raises(BundleRejected, match="golden rows"):
        check_golden(Scorer(bundle), (last,))


def test_probabilities_where_one_number_is_expected_are_refused(tmp_path: Path) -> None:
    from tests.support.bundles import small_bundle

    plain = small_bundle(tmp_path / "plain")
    rows = tuple(msgspec.structs.replace(row, compiled=(1.25,)) for row in plain.golden)
    with pytest.raises(BundleRejected, match="the model gives one number per record"):
        check_golden(Scorer(plain), rows)


@pytest.mark.parametrize("link", [Link.SOFTMAX, Link.ORDERED_SOFTMAX])
def test_the_softmax_runs_outside_of_the_graph(tmp_path: Path, link: Link) -> None:
    bundle = bundle_of_classes(tmp_path / "bundle", link=link, exact=False, tolerance=1e-12)
    found = scored(bundle, 10)
    powers = [[math.exp(each - max(raw)) for each in raw] for raw in map(probabilities, range(10))]
    expected = np.array([[power / sum(row) for power in row] for row in powers])
    assert np.abs(found - expected).max() <= 1e-15
    check_golden(Scorer(bundle))


@pytest.mark.parametrize("classes", [3, 7, 8, 9, 20, 100])
def test_the_softmax_is_that_of_scikit_learn_for_either_order_in_memory(classes: int) -> None:
    from sklearn.utils.extmath import softmax as reference

    raw = np.random.default_rng(classes).normal(scale=4.0, size=(500, classes))
    assert np.array_equal(softmax(raw, ordered=False), reference(raw))
    assert np.array_equal(softmax(raw, ordered=True), reference(np.asfortranarray(raw)))
    for ordered in (False, True):
        alone = np.concatenate([softmax(raw[place : place + 1], ordered=ordered) for place in range(len(raw))])
        assert np.array_equal(alone, softmax(raw, ordered=ordered))


@given(st.lists(st.lists(st.floats(-1e300, 1e300), min_size=4, max_size=4), max_size=5), st.booleans())
def test_a_softmax_adds_up_to_one_whatever_the_numbers_are(rows: list[list[float]], ordered: bool) -> None:
    found = softmax(np.array(rows).reshape(-1, 4), ordered=ordered)
    assert np.allclose(found.sum(axis=1), 1.0)
    assert ((found >= 0) & (found <= 1)).all()


def test_a_number_that_is_none_makes_no_probability_of_its_record_and_harms_no_other() -> None:
    raw = np.array([[1.0, math.nan, 0.0], [1.0, 2.0, 3.0], [math.inf, 0.0, 0.0]])
    found = softmax(raw, ordered=True)
    assert finite(found).tolist() == [False, True, False]
    assert finite(np.array([1.0, math.inf])).tolist() == [True, False]


def test_a_graph_of_other_classes_than_the_manifests_is_refused_before_it_runs() -> None:
    assert check_graph(graph_of_classes(), OUTPUT) == 3
    for graph in (
        one_split_tree(1.0, 2.0, 3),
        graph_of_classes((0.5, 0.5), (0.5, 0.5)),
        graph_of_classes((0.25,) * 4, (0.25,) * 4),
    ):
        with pytest.raises(BundleRejected, match="for 3 classes"):
            check_graph(graph, OUTPUT)


def test_a_graph_that_says_one_shape_and_gives_another_is_refused_where_it_shows(tmp_path: Path) -> None:
    from onnx import load_from_string

    model = load_from_string(graph_of_classes((0.25,) * 4, (0.25,) * 4))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 3
    with pytest.raises(BundleRejected, match="4 columns come to the output 'raw' for 3 classes"):
        check_graph(model.SerializeToString(), OUTPUT)
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "any"
    unchecked = CompiledModel(model.SerializeToString(), OUTPUT, checked=True)
    with pytest.raises(BundleRejected, match=r"shape \(2, 4\) for 2 records and 3 classes"):
        unchecked.run(np.zeros((2, 3)))


@pytest.mark.parametrize("target", [-1, 3, 1_000])
def test_a_leaf_of_no_class_is_refused(target: int) -> None:
    from onnx import load_from_string

    model = load_from_string(graph_of_classes())
    (attribute,) = [each for each in model.graph.node[0].attribute if each.name == "leaf_targetids"]
    attribute.ints[2] = target
    with pytest.raises(BundleRejected, match="leaf_targetids"):
        check_graph(model.SerializeToString(), OUTPUT)


def test_scores_are_described_with_the_first_of_equals_as_label() -> None:
    (one,) = described(("a", "b", "c"), np.array([[0.25, 0.375, 0.375]]))
    assert one == {"score": 0.375, "label": "b", "probabilities": {"a": 0.25, "b": 0.375, "c": 0.375}}
    assert [*described((), np.array([0.5]))] == [{"score": 0.5}]
    assert json.dumps(one)
