"""How many columns a value of the graph has, where that follows from the graph alone.

Some kernels of ONNX Runtime trust that their table of numbers fits the columns that come; so these have to be known.
"""

from collections.abc import Callable, Mapping

import numpy as np

from scoring.scorer.graph import Node, Tensor

Widths = Mapping[str, int]
Constants = Mapping[str, Tensor]

# One column out for each column in. Of several inputs, those that have columns agree or are spread.
_SAME_OPS = (
    "Abs Cast Ceil Celu Clip Cos Elu Erf Exp Floor HardSigmoid Identity IsInf IsNaN LeakyRelu Log LogSoftmax Neg Not "
    "Reciprocal Relu Round Selu Sigmoid Sign Sin Softmax Softplus Softsign Sqrt Tan Tanh ThresholdedRelu CumSum "
    "Binarizer Imputer Normalizer Scaler"
)
_SPREAD_OPS = "Add And Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod Mul Or Pow Sub Sum Where Xor"
_SAME, _SPREAD = frozenset(_SAME_OPS.split()), frozenset(_SPREAD_OPS.split())


def width_after(node: Node, widths: Widths, constants: Constants) -> int | None:
    """The number of columns of the node's first output, a matrix of records by columns; None where it is not known."""
    if node.op in _SAME:
        return widths.get(node.inputs[0]) if node.inputs else None
    if node.op in _SPREAD:
        return _spread(node, widths, constants)
    rule = _reduced if node.op.startswith("Reduce") else _RULES.get(node.op)
    return rule(node, widths, constants) if rule is not None else None


def _spread(node: Node, widths: Widths, constants: Constants) -> int | None:
    """Broadcasting: columns of one spread over the others; a constant counts by its last dimension."""
    found: set[int] = set()
    for name in node.inputs:
        if name in widths:
            found.add(widths[name])
        elif name in constants and len(constants[name].dims) <= 2:
            found.add(constants[name].dims[-1] if constants[name].dims else 1)
        else:
            return None
    wide = found - {1}
    return (wide.pop() if wide else 1) if len(wide) <= 1 else None


def _concat(node: Node, widths: Widths, _: Constants) -> int | None:
    parts = [widths.get(name) for name in node.inputs]
    if node.attributes.get("axis") not in {1, -1} or any(part is None for part in parts):
        return None
    return sum(part for part in parts if part is not None)


def _matmul(node: Node, widths: Widths, constants: Constants) -> int | None:
    other = constants.get(node.inputs[1]) if len(node.inputs) == 2 else None
    return other.dims[1] if node.inputs[0] in widths and other is not None and len(other.dims) == 2 else None


def _gemm(node: Node, widths: Widths, constants: Constants) -> int | None:
    other = constants.get(node.inputs[1]) if len(node.inputs) >= 2 else None
    if node.inputs[0] not in widths or other is None or len(other.dims) != 2 or node.attributes.get("transA", 0):
        return None
    return other.dims[0 if node.attributes.get("transB", 0) else 1]


def _picked(node: Node, widths: Widths, constants: Constants) -> int | None:
    """ArrayFeatureExtractor, and Gather along the columns."""
    chosen = constants.get(node.inputs[1]) if len(node.inputs) == 2 else None
    along = node.op == "ArrayFeatureExtractor" or node.attributes.get("axis", 0) in {1, -1}
    if not along or chosen is None or node.inputs[0] not in widths:
        return None
    if node.op == "Gather" and len(chosen.dims) != 1:
        return None
    return len(np.ravel(chosen.values))


def _reshape(node: Node, _: Widths, constants: Constants) -> int | None:
    shape = constants.get(node.inputs[1]) if len(node.inputs) == 2 else None
    if shape is None or len(shape.values) != 2 or int(shape.values[1]) < 1:
        return None
    return int(shape.values[1])


def _reduced(node: Node, widths: Widths, constants: Constants) -> int | None:
    """All columns of a record into one."""
    axes = node.attributes.get("axes")
    if axes is None and len(node.inputs) == 2 and node.inputs[1] in constants:
        axes = constants[node.inputs[1]].values
    along = axes is not None and np.ravel(axes).tolist() in ([1], [-1])
    return 1 if along and node.inputs[0] in widths and node.attributes.get("keepdims", 1) == 1 else None


def _trees(node: Node, widths: Widths, _: Constants) -> int | None:
    targets = node.attributes.get("n_targets", 1)
    return targets if node.inputs[0] in widths and isinstance(targets, int) else None


_RULES: Mapping[str, Callable[[Node, Widths, Constants], int | None]] = {
    "ArrayFeatureExtractor": _picked,
    "Concat": _concat,
    "Gather": _picked,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Reshape": _reshape,
    "TreeEnsemble": _trees,
}
