"""An ensemble of trees as one float64 ``TreeEnsemble`` (``ai.onnx.ml`` 5), whatever library grew it.

ONNX Runtime adds the trees one after the other, in float64, and compares in float64; so whoever gives the trees in the
estimator's order, with the estimator's comparisons and leaves, gets the estimator's sums bit for bit. The link stays
outside of the graph, since ONNX Runtime's sigmoid differs from the one of SciPy that scikit-learn uses.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto, helper, numpy_helper

from scoring.contract.encoder import Floats
from scoring.contract.manifest import Link, Output, Task

OPSET = 18
TREE_OPSET = 5
IR_VERSION = 10
# Some last bits of a probability: what the exponentials of two processors make of the same sums.
SOFTMAX_TOLERANCE = 1e-12
# Numbers of the operator's attributes.
_SUM = 1
_NO_TRANSFORM = 0
_LESS_OR_EQUAL, _MEMBER = 0, 6

Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


class Tree(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """One tree: arrays over its nodes, of which the first is the root.

    Attributes:
        leaf: whether a node is a leaf.
        feature, threshold: of a split; ``row[feature] <= threshold`` leads to the node ``true``, anything else to
            ``false``, a missing value to where ``missing_true`` says.
        value: of a leaf.
        members: of a split on categories, by its node: the ranks that lead to ``true``, ascending and at least one.
            Everything else leads to ``false``, a missing value too.
        target: to which sum its leaves are added.
    """

    leaf: Flags
    feature: Ints
    threshold: Floats
    true: Ints
    false: Ints
    missing_true: Flags
    value: Floats
    members: Mapping[int, Floats] = {}
    target: int = 0


class Ranked(msgspec.Struct, frozen=True, eq=False):
    """A column of categories, which the trees see as their ranks: the first category is 0.0, any other number -1.0.

    Attributes:
        categories: ascending.
    """

    column: int
    categories: Floats


def boosted_output(task: Task, link: Link) -> Output:
    """How the graph of a boosted ensemble is run.

    The graph's sums are exact, and so is the sigmoid, by the C library's ``exp``. The softmax of several classes takes
    numpy's ``exp``, as scikit-learn does; that is equal bit for bit on one machine, but differs in the last bit between
    processors, so that a bundle cannot promise it to a worker elsewhere.
    """
    if task is not Task.MULTICLASS:
        return Output(task=task, link=link, exact=True)
    return Output(task=task, link=link, tolerance=SOFTMAX_TOLERANCE)


def constant(value: float, target: int = 0) -> Tree:
    """A tree that is one leaf."""
    none = np.zeros(1, np.int64)
    return Tree(
        leaf=np.ones(1, np.bool_),
        feature=none,
        threshold=np.zeros(1),
        true=none,
        false=none,
        missing_true=np.zeros(1, np.bool_),
        value=np.array([value], np.float64),
        target=target,
    )


def graph_of(
    trees: Sequence[Tree],
    features: int,
    divisor: int | None = None,
    ranked: Sequence[Ranked] = (),
    *,
    classes: int = 1,
    domain: Sequence[Tree] = (),
) -> bytes:
    """The ONNX file of the trees' sum, of several classes one sum for each.

    Args:
        features: how many the rows have.
        divisor: the sum is divided by it, where the estimator takes an average.
        classes: how many sums there are; the trees say to which they belong.
        domain: trees of one target that are added to every sum: 0 where the estimator takes the row, else NaN.
        ranked: the trees take the ranks of these columns first, and all columns of the row after them. ONNX Runtime
            cuts what it looks for in a set to a whole number, so the sets are of ranks, which are whole.
    """
    output = Output(task=Task.REGRESSION)  # for the names
    taken, total = output.input_name, output.output_name if divisor is None else "sum"
    nodes, numbers = [], []
    if ranked:
        ranks = [_ranks(one, target) for target, one in enumerate(ranked)]
        nodes.append(_operator(_attributes(ranks), taken, "ranks", len(ranked)))
        nodes.append(helper.make_node("Concat", ["ranks", taken], ["ranked"], axis=1))
        taken = "ranked"
    if classes == 1:
        nodes.append(_operator(_attributes([*trees, *domain]), taken, total))
    elif not domain:
        nodes.append(_operator(_attributes(trees), taken, total, classes))
    else:
        nodes.append(_operator(_attributes(trees), taken, "leaves", classes))
        nodes.append(_operator(_attributes(domain), taken, "domain"))
        nodes.append(helper.make_node("Add", ["leaves", "domain"], [total]))
    if divisor is not None:
        numbers.append(helper.make_tensor("trees", TensorProto.DOUBLE, [1], [float(divisor)]))
        nodes.append(helper.make_node("Div", [total, "trees"], [output.output_name]))
    graph = helper.make_graph(
        nodes,
        "trees",
        [helper.make_tensor_value_info(output.input_name, TensorProto.DOUBLE, [None, features])],
        [helper.make_tensor_value_info(output.output_name, TensorProto.DOUBLE, [None, classes])],
        numbers,
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", TREE_OPSET)]
    model: ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="baton")
    return bytes(model.SerializeToString())


def _ranks(ranked: Ranked, target: int) -> Tree:
    """A balanced tree from a number to its rank: between just below a category and the category there is nothing else.

    Missing values are at most no threshold, so they end where the numbers above the last category do.
    """
    edges = np.unique(np.concatenate([ranked.categories, np.nextafter(ranked.categories, -np.inf)]))
    places = np.searchsorted(ranked.categories, edges)
    found = np.where(ranked.categories[np.minimum(places, len(ranked.categories) - 1)] == edges, places, -1)
    leaves, splits = np.append(found, -1), len(edges)
    true, false = np.zeros((2, 2 * splits + 1), np.int64)
    numbered = iter(range(2 * splits + 1))
    order: list[int] = []  # which split or leaf has the number, leaves after splits

    def grow(first: int, last: int) -> int:
        """A tree over the leaves from first to last; returns its root."""
        number = next(numbered)
        middle = (first + last) // 2
        order.append(middle if first < last else splits + first)
        if first < last:
            true[number], false[number] = grow(first, middle), grow(middle + 1, last)
        return number

    grow(0, splits)
    what = np.array(order)
    leaf = what >= splits
    return Tree(
        leaf=leaf,
        feature=np.full(len(what), ranked.column, np.int64),
        threshold=np.where(leaf, 0.0, edges[np.where(leaf, 0, what)]),
        true=true,
        false=false,
        missing_true=np.zeros(len(what), np.bool_),
        value=np.where(leaf, leaves[np.where(leaf, what - splits, 0)], 0).astype(np.float64),
        target=target,
    )


def _attributes(trees: Sequence[Tree]) -> dict[str, npt.NDArray[Any]]:
    """The attributes of the operator: inner nodes and leaves of all trees, numbered through."""
    parts: dict[str, list[npt.NDArray[Any]]] = {}
    nodes_before = leaves_before = 0
    roots: list[int] = []
    for tree in map(_with_a_split, trees):
        leaf, inner = tree.leaf, ~tree.leaf
        place = np.where(leaf, leaves_before + np.cumsum(leaf) - 1, nodes_before + np.cumsum(inner) - 1)
        roots.append(int(place[0]))
        true, false = tree.true[inner], tree.false[inner]
        asks = np.isin(np.flatnonzero(inner), [*tree.members])
        columns: dict[str, npt.NDArray[Any]] = {
            "nodes_featureids": tree.feature[inner],
            "nodes_splits": tree.threshold[inner],
            "nodes_modes": np.where(asks, _MEMBER, _LESS_OR_EQUAL).astype(np.uint8),
            "nodes_missing_value_tracks_true": (tree.missing_true[inner] & ~asks).astype(np.int64),
            "nodes_truenodeids": place[true],
            "nodes_trueleafs": leaf[true].astype(np.int64),
            "nodes_falsenodeids": place[false],
            "nodes_falseleafs": leaf[false].astype(np.int64),
            "leaf_weights": tree.value[leaf],
            "leaf_targetids": np.full(int(leaf.sum()), tree.target, np.int64),
            "membership_values": _sets(tree),
        }
        for name, column in columns.items():
            parts.setdefault(name, []).append(column)
        nodes_before, leaves_before = nodes_before + int(inner.sum()), leaves_before + int(leaf.sum())
    joined = {name: np.concatenate(pieces) for name, pieces in parts.items()}
    return joined | {"tree_roots": np.array(roots, np.int64)}


def _sets(tree: Tree) -> Floats:
    """The sets of the splits on categories in the order of their nodes, a NaN behind each."""
    pieces = [np.append(tree.members[node], np.nan) for node in sorted(tree.members)]
    return np.concatenate(pieces) if pieces else np.zeros(0)


def _with_a_split(tree: Tree) -> Tree:
    """The operator knows no tree without a split: a single leaf becomes two equal ones."""
    if not tree.leaf[0]:
        return tree
    return Tree(
        leaf=np.array([False, True, True]),
        feature=np.zeros(3, np.int64),
        threshold=np.zeros(3),
        true=np.array([1, 0, 0]),
        false=np.array([2, 0, 0]),
        missing_true=np.zeros(3, np.bool_),
        value=np.full(3, tree.value[0]),
        target=tree.target,
    )


_TENSORS = {"nodes_splits": np.float64, "leaf_weights": np.float64, "nodes_modes": np.uint8}
_OPTIONAL_TENSORS = {"membership_values": np.float64}


def _operator(found: Mapping[str, npt.NDArray[Any]], input_name: str, output_name: str, targets: int = 1) -> Any:
    given = {name: np.asarray(values) for name, values in found.items() if len(values) or name not in _OPTIONAL_TENSORS}
    kinds = {name: kind for name, kind in (_TENSORS | _OPTIONAL_TENSORS).items() if name in given}
    tensors: dict[str, Any] = {
        name: numpy_helper.from_array(given[name].astype(kind), name) for name, kind in kinds.items()
    }
    lists: dict[str, Any] = {name: given[name].tolist() for name in sorted(given.keys() - kinds.keys())}
    return helper.make_node(
        "TreeEnsemble",
        [input_name],
        [output_name],
        domain="ai.onnx.ml",
        n_targets=targets,
        aggregate_function=_SUM,
        post_transform=_NO_TRANSFORM,
        **tensors,
        **lists,
    )
