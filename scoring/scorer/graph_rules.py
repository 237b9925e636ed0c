"""What a compiled model may be: an allow-list of operators, and a structure that cannot read, grow or loop at will.

Checked before ONNX Runtime sees the file, because a signed bundle can still be a wrong one: some of its kernels trust
the indices and counts that they are given. Operators that run graphs inside graphs (``If``, ``Loop``, ``Scan``), make
random numbers, or make tensors whose size the *values* of a record decide have no place here: a record could then
bring a worker to its knees that every golden row passed through.
"""

from collections.abc import Mapping
from typing import Any

from scoring.contract.errors import BundleRejected
from scoring.contract.manifest import Output
from scoring.scorer.graph import DOUBLE, FLOAT, Graph, Node, Tensor, Value, parse_graph
from scoring.scorer.kernel_rules import CHECKS
from scoring.scorer.widths import width_after

DEFAULT_DOMAIN = ""
ML_DOMAIN = "ai.onnx.ml"
# Two names of the same domain.
_DOMAINS = {DEFAULT_DOMAIN: DEFAULT_DOMAIN, "ai.onnx": DEFAULT_DOMAIN, ML_DOMAIN: ML_DOMAIN}
MAXIMUM_OUTPUTS = 8

_ELEMENTWISE = (
    "Abs Add And Cast Ceil Celu Clip Cos Div Elu Equal Erf Exp Floor Greater GreaterOrEqual HardSigmoid Identity IsInf "
    "IsNaN LeakyRelu Less LessOrEqual Log LogSoftmax Max Mean Min Mod Mul Neg Not Or Pow Reciprocal Relu Round Selu "
    "Sigmoid Sign Sin Softmax Softplus Softsign Sqrt Sub Sum Tan Tanh ThresholdedRelu Where Xor"
)
_STRUCTURE = (
    "ArgMax ArgMin Concat Constant ConstantOfShape CumSum Expand Flatten Gather GatherElements Gemm MatMul ReduceL1 "
    "ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Reshape "
    "Shape Size Slice Split Squeeze Tile TopK Transpose Unsqueeze"
)
_ML = (
    "ArrayFeatureExtractor Binarizer FeatureVectorizer Imputer LabelEncoder LinearClassifier LinearRegressor "
    "Normalizer OneHotEncoder SVMClassifier SVMRegressor Scaler TreeEnsemble TreeEnsembleClassifier "
    "TreeEnsembleRegressor"
)
OPERATORS: Mapping[str, frozenset[str]] = {
    DEFAULT_DOMAIN: frozenset(f"{_ELEMENTWISE} {_STRUCTURE}".split()),
    ML_DOMAIN: frozenset(_ML.split()),
}
# Inputs that decide how large a result is: no value of a record may reach them.
_SIZES: Mapping[str, tuple[int, ...]] = {
    "ConstantOfShape": (0,),
    "CumSum": (1,),
    "Expand": (1,),
    "Reshape": (1,),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Unsqueeze": (1,),
} | {op: (1,) for op in _STRUCTURE.split() if op.startswith("Reduce")}
# Their result depends on the shape of the input, not on its values.
_OF_SHAPES = {"Shape", "Size"}
_INPUT_TYPES = {"double": DOUBLE, "float": FLOAT}


def check_graph(content: bytes, output: Output) -> int:
    """Hold a compiled model against what it may be.

    Args:
        output: how the manifest says that it is run.

    Returns:
        how many features its input takes.

    Raises:
        BundleRejected: it is no ONNX file, or breaks a rule; the message names the node.
    """
    graph = parse_graph(content)
    features = _check_input(graph, output)
    _check_outputs(graph, output)
    walk = _Walk(graph, features)
    walk.run()
    width = walk.widths.get(output.output_name)
    if output.classes and width not in {None, len(output.classes)}:
        raise _refusal(f"{width} columns come to the output {output.output_name!r} for {len(output.classes)} classes")
    return features


def _check_input(graph: Graph, output: Output) -> int:
    if len(graph.inputs) != 1 or graph.inputs[0].name != output.input_name:
        raise _refusal(f"inputs are {_listed(graph.inputs)}, only {output.input_name!r} is expected")
    (found,) = graph.inputs
    if output.input_type not in _INPUT_TYPES:
        raise _refusal(f"input type {output.input_type!r} is none of {[*_INPUT_TYPES]}")
    if found.data_type != _INPUT_TYPES[output.input_type]:
        raise _refusal(f"inputs are of type {found.data_type}, the manifest says {output.input_type}")
    dims = found.dims
    if dims is None or len(dims) != 2 or dims[0] is not None or dims[1] is None or dims[1] < 1:
        raise _refusal(f"the input has the shape {dims}, any number of records by a number of features is expected")
    return dims[1]


def _check_outputs(graph: Graph, output: Output) -> None:
    if len(graph.outputs) > MAXIMUM_OUTPUTS or len({value.name for value in graph.outputs}) < len(graph.outputs):
        raise _refusal(
            f"outputs are {_listed(graph.outputs)}; at most {MAXIMUM_OUTPUTS} of different names are allowed"
        )
    named = [value for value in graph.outputs if value.name == output.output_name]
    if not named:
        raise _refusal(f"outputs are {_listed(graph.outputs)}, no {output.output_name!r}")
    if named[0].data_type not in {FLOAT, DOUBLE}:
        raise _refusal(f"output {output.output_name!r} is of type {named[0].data_type}, no floating point")
    dims = named[0].dims or ()
    if output.classes and (len(dims) != 2 or dims[1] not in {None, len(output.classes)}):
        raise _refusal(f"output {output.output_name!r} has the shape {dims} for {len(output.classes)} classes")
    if len(dims) > 2 or (len(dims) == 2 and dims[1] is not None and not output.column < dims[1]):
        raise _refusal(f"output {output.output_name!r} has the shape {dims}, column {output.column} is to be read")


class _Walk:
    """Goes through the nodes in their order: every value is there before it is used, and once.

    Args:
        features: the width of the graph's input.

    Attributes:
        widths: columns of the values where they are known, by name.
    """

    def __init__(self, graph: Graph, features: int) -> None:
        self._graph = graph
        self._known: set[str] = {graph.inputs[0].name}
        self._of_values: set[str] = {graph.inputs[0].name}
        self._constants: dict[str, Tensor] = {}
        self.widths: dict[str, int] = {graph.inputs[0].name: features}
        self._shapes: dict[str, int] = {}  # by the name of a value's shape, the width of that value

    def run(self) -> None:
        self._check_opsets()
        for name, tensor in self._graph.initializers.items():
            self._define(name)
            self._constants[name] = tensor
        for node in self._graph.nodes:
            self._take(node)
        missing = [value.name for value in self._graph.outputs if value.name not in self._known]
        if missing:
            raise _refusal(f"nothing makes the output {missing[0]!r}")

    def _check_opsets(self) -> None:
        strange = sorted(self._graph.opsets.keys() - _DOMAINS.keys() - {"com.microsoft"})
        if strange:
            raise _refusal(f"it needs operators of {strange[0]!r}; only those of ONNX itself are allowed")

    def _take(self, node: Node) -> None:
        domain = _DOMAINS.get(node.domain)
        if domain is None or node.op not in OPERATORS[domain]:
            raise _refusal(f"the operator {node.domain + '.' if node.domain else ''}{node.op} is not allowed")
        for name in node.inputs:
            if name and name not in self._known:
                raise _refusal(f"{node.op} needs {name!r}, which nothing before it makes")
        sizes = {node.inputs[place] for place in _SIZES.get(node.op, ()) if place < len(node.inputs)}
        if sizes & self._of_values:
            raise _refusal(f"{node.op} takes a size from the values of a record")
        width = self.widths.get(node.inputs[0]) if node.inputs else None
        check = CHECKS.get(node.op)
        if check is not None:
            if width is None:
                raise _refusal(f"how many columns come to {node.op} cannot be told, so its indices cannot be checked")
            check(node, width)
        self._add(node)

    def _add(self, node: Node) -> None:
        of_values = node.op not in _OF_SHAPES and any(name in self._of_values for name in node.inputs)
        after = self._width_after(node)
        for name in filter(None, node.outputs):
            self._define(name)
            if of_values:
                self._of_values.add(name)
            if after is not None and name == node.outputs[0]:
                self.widths[name] = after
        value: Any = node.attributes.get("value") if node.op == "Constant" else None
        if isinstance(value, Tensor):
            self._constants[node.outputs[0]] = value

    def _width_after(self, node: Node) -> int | None:
        """As ``width_after``; also of a constant that is made in the shape of another value."""
        if node.op == "Shape" and not node.attributes and node.inputs[0] in self.widths:
            self._shapes[node.outputs[0]] = self.widths[node.inputs[0]]
        if node.op == "ConstantOfShape" and node.inputs:
            return self._shapes.get(node.inputs[0])
        return width_after(node, self.widths, self._constants)

    def _define(self, name: str) -> None:
        if name in self._known:
            raise _refusal(f"{name!r} is made twice")
        self._known.add(name)


def _listed(values: tuple[Value, ...]) -> list[str]:
    return [value.name[:100] for value in values[:MAXIMUM_OUTPUTS]]


def _refusal(sentence: str) -> BundleRejected:
    return BundleRejected(f"compiled model: {sentence}")
