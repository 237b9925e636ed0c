"""Hostile graphs, continued: operators that have no place, shapes that do not fit, and what costs too much."""

from typing import Any

from onnx import FunctionProto, ModelProto, TensorProto, helper

from tests.faults.hostile.graphs import FEATURES, _before, _bytes, _merged, _tensor, register, zeros
from tests.support.forge import Forge

# --- operators and domains ----------------------------------------------------------------------------------------


def _of_a_domain_of_its_own(forge: Forge, model: ModelProto) -> None:
    domain = forge.chooser.choice(("evil", "com.microsoft", "com.microsoft.nchwc", "ai.onnx.training", "ai.onnx.ml.x"))
    op = forge.chooser.choice(("Gelu", "EPContext", "Evil", "Inverse", "CDist", "Trilu", "MatMulNBits"))
    model.opset_import.append(helper.make_opsetid(domain, 1))
    _before(model, helper.make_node(op, ["X"], ["beside"], domain=domain))


def _that_has_no_place(forge: Forge, model: ModelProto) -> None:
    op = forge.chooser.choice(
        (
            "RandomNormalLike",
            "RandomUniformLike",
            "Bernoulli",
            "NonZero",
            "Unique",
            "Compress",
            "Range",
            "Resize",
            "Pad",
            "EyeLike",
            "OneHot",
            "SequenceConstruct",
            "SequenceEmpty",
            "Det",
            "Einsum",
            "StringNormalizer",
            "ScatterND",
            "NonMaxSuppression",
            "GridSample",
            "DFT",
            "TfIdfVectorizer",
            "RegexFullMatch",
            "ImageDecoder",
        )
    )
    _before(model, helper.make_node(op, ["X"], ["beside"]))


def _that_runs_a_graph(forge: Forge, model: ModelProto) -> None:
    """A loop that ends after 2 to the 62nd round, a branch, a scan, each around a graph of its own."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["goes"]), helper.make_node("Identity", ["a"], ["b"])],
        "body",
        [
            helper.make_tensor_value_info("n", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("a", TensorProto.DOUBLE, [None]),
        ],
        [
            helper.make_tensor_value_info("goes", TensorProto.BOOL, []),
            helper.make_tensor_value_info("b", TensorProto.DOUBLE, [None]),
        ],
    )
    model.graph.initializer.extend(
        [
            helper.make_tensor("rounds", TensorProto.INT64, [], [2**62]),
            helper.make_tensor("yes", TensorProto.BOOL, [], [True]),
            _tensor("start", [1.0]),
        ]
    )
    nodes: tuple[Any, ...] = (
        helper.make_node("Loop", ["rounds", "yes", "start"], ["round"], body=body),
        helper.make_node("If", ["yes"], ["round"], then_branch=body, else_branch=body),
        helper.make_node("Scan", ["X"], ["round"], body=body, num_scan_inputs=1),
    )
    _merged(model, "round", forge.chooser.choice(nodes))


def _that_is_a_function(forge: Forge, model: ModelProto) -> None:
    """Functions that call each other twice: forty of them are 2 to the 40th node."""
    depth = forge.chooser.choice((2, 10, 40))
    for level in range(depth):
        inner = f"f{level + 1}" if level + 1 < depth else "Identity"
        domain = "evil" if level + 1 < depth else ""
        function = FunctionProto(name=f"f{level}", domain="evil", input=["x"], output=["y"])
        function.node.extend([helper.make_node(inner, ["x"], ["t"], domain=domain)])
        function.node.extend([helper.make_node(inner, ["t"], ["y"], domain=domain)])
        function.opset_import.append(helper.make_opsetid("", 18))
        function.opset_import.append(helper.make_opsetid("evil", 1))
        model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("evil", 1))
    _before(model, helper.make_node("f0", ["X"], ["beside"], domain="evil"))


def _under_a_name_of_onnx(forge: Forge, model: ModelProto) -> None:
    """A function that takes the place of an operator."""
    function = FunctionProto(name="TreeEnsemble", domain="ai.onnx.ml", input=["x"], output=["y"])
    function.node.extend([helper.make_node("Identity", ["x"], ["y"])])
    model.functions.append(function)


def _in_another_format(forge: Forge, model: ModelProto) -> bytes:
    """A valid ONNX file whose first bytes say that it is ONNX Runtime's own format, for readers that believe them."""
    content = _bytes(model)
    name = b"xxORTM" + forge.word().encode()
    model.ClearField("producer_name")
    return b"\x12" + bytes([len(name)]) + name + _bytes(model) if content else content


def _that_is_there_twice(forge: Forge, model: ModelProto) -> bytes:
    """The graph in two pieces, which some readers merge and others do not."""
    other = ModelProto()
    other.graph.node.append(helper.make_node("Identity", ["X"], [f"more_{forge.word()}"]))
    return _bytes(model) + _bytes(other)


def _with_unknown_fields(forge: Forge, model: ModelProto) -> bytes:
    number = forge.chooser.choice((9, 15, 99, 1000))
    tag = number << 3 | 2
    head = bytes([tag]) if tag < 0x80 else bytes([tag & 0x7F | 0x80, tag >> 7]) if tag < 0x4000 else b"\xc2\x3e"
    return _bytes(model) + head + b"\x03abc"


# --- shapes, types, inputs and outputs ----------------------------------------------------------------------------


def _of_another_width(forge: Forge, model: ModelProto) -> None:
    width = forge.chooser.choice((1, 2, 4, 5, 64, 0, -1, 2**31, 2**62))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = width


def _of_another_rank(forge: Forge, model: ModelProto) -> None:
    dims = forge.chooser.choice(([], [None], [None, FEATURES, 1], [20, FEATURES], [None, None], [FEATURES, None]))
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("X", TensorProto.DOUBLE, dims))


def _of_another_type(forge: Forge, model: ModelProto) -> None:
    kind = forge.chooser.choice((TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING, TensorProto.FLOAT16, 0, 99))
    value = model.graph.input[0] if forge.chooser.random() < 0.5 else model.graph.output[0]
    if value is model.graph.output[0] and kind == TensorProto.FLOAT:
        kind = TensorProto.INT64
    value.type.tensor_type.elem_type = kind


def _several_inputs(forge: Forge, model: ModelProto) -> None:
    name = forge.chooser.choice(("Y", "X"))
    model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.DOUBLE, [None, 1]))


def _several_outputs(forge: Forge, model: ModelProto) -> None:
    if forge.chooser.random() < 0.5:
        extra = [helper.make_tensor_value_info(f"more_{n}", TensorProto.DOUBLE, [None]) for n in range(3)]
        model.graph.output.extend(extra)
    else:
        model.graph.node[0].output[0] = "tree"
        model.graph.node.append(helper.make_node("Concat", ["tree", "tree"], ["raw"], axis=0))


def _another_output(forge: Forge, model: ModelProto) -> None:
    model.graph.node[0].output[0] = model.graph.output[0].name = forge.word()


def _a_sequence_for_an_output(forge: Forge, model: ModelProto) -> None:
    make = forge.chooser.choice((helper.make_sequence_type_proto, helper.make_optional_type_proto))
    model.graph.output[0].type.CopyFrom(make(helper.make_tensor_type_proto(TensorProto.DOUBLE, [None, 1])))


def _a_value_that_nothing_makes(forge: Forge, model: ModelProto) -> None:
    _merged(model, forge.word())


def _a_value_that_is_made_twice(forge: Forge, model: ModelProto) -> None:
    name = forge.chooser.choice(("raw", "X"))
    if forge.chooser.random() < 0.5:
        model.graph.initializer.append(_tensor(name, [1.0]))
    else:
        _before(model, helper.make_node("Identity", ["X"], [name]))


def _an_output_beyond_the_records(forge: Forge, model: ModelProto) -> None:
    """One result for all records, or one for each pair of them: golden rows of a constant would pass."""
    model.graph.node[0].output[0] = "tree"
    if forge.chooser.random() < 0.5:
        model.graph.node.append(helper.make_node("ReduceMax", ["tree"], ["raw"], keepdims=1))
    else:
        model.graph.node.append(helper.make_node("Transpose", ["tree"], ["raw"], perm=[1, 0]))


def _scores_that_depend_on_the_batch(forge: Forge, model: ModelProto) -> None:
    """More than 256 records, and every score is another."""
    model.graph.node[0].output[0] = "tree"
    model.graph.initializer.append(_tensor("many", [float(forge.chooser.choice((21, 256, 1000)))]))
    model.graph.node.extend(
        [
            helper.make_node("Shape", ["tree"], ["shape"], end=1),
            helper.make_node("Cast", ["shape"], ["rows"], to=TensorProto.DOUBLE),
            helper.make_node("Greater", ["rows", "many"], ["large"]),
            helper.make_node("Cast", ["large"], ["more"], to=TensorProto.DOUBLE),
            helper.make_node("Add", ["tree", "more"], ["raw"]),
        ]
    )


# --- too much -----------------------------------------------------------------------------------------------------


def _more_numbers_than_there_are(forge: Forge, model: ModelProto) -> None:
    dims = forge.chooser.choice(([2**62], [2**31, 2**31], [10**12], [2**63 - 1, 2], [-1], [65536, 65536, 65536], [2]))
    tensor = TensorProto(name="huge", data_type=TensorProto.DOUBLE, dims=dims, raw_data=b"\0" * 8)
    model.graph.initializer.append(tensor)
    _merged(model, "huge")


def _sparse_and_huge(forge: Forge, model: ModelProto) -> None:
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [0])
    sparse = helper.make_sparse_tensor(_tensor("sparse", [0.0]), indices, [2**40])
    model.graph.sparse_initializer.append(sparse)


def _grown_from_a_constant(forge: Forge, model: ModelProto) -> None:
    """A shape of a few bytes, a tensor of terabytes."""
    large = forge.chooser.choice((2**34, 2**40, 2**61))
    model.graph.initializer.append(zeros(large, 1))
    nodes = (
        [helper.make_node("ConstantOfShape", ["shape"], ["grown"], value=_tensor("v", [0.0]))],
        [
            helper.make_node("Constant", [], ["one"], value=_tensor("v", [0.0])),
            helper.make_node("Expand", ["one", "shape"], ["grown"]),
        ],
        [
            helper.make_node("Constant", [], ["one"], value=helper.make_tensor("v", TensorProto.DOUBLE, [1, 1], [0.0])),
            helper.make_node("Tile", ["one", "shape"], ["grown"]),
        ],
    )
    tail = [helper.make_node("ReduceMax", ["grown"], ["most"], keepdims=0)]
    _merged(model, "most", *forge.chooser.choice(nodes), *tail)


def _grown_from_a_value(forge: Forge, model: ModelProto) -> None:
    """The size of a tensor is a field of the record: golden rows have small ones."""
    model.graph.initializer.append(_tensor("first", [0], TensorProto.INT64))
    model.graph.initializer.append(_tensor("scale", [float(forge.chooser.choice((1, 1000, 10**9)))]))
    nodes = [
        helper.make_node("ReduceMax", ["X"], ["largest"], keepdims=1),
        helper.make_node("Mul", ["largest", "scale"], ["much"]),
        helper.make_node("Reshape", ["much", "minus"], ["flat"]),
        helper.make_node("Cast", ["flat"], ["size"], to=TensorProto.INT64),
        helper.make_node("ConstantOfShape", ["size"], ["grown"], value=_tensor("v", [0.0])),
        helper.make_node("ReduceMax", ["grown"], ["most"], keepdims=0),
    ]
    model.graph.initializer.append(_tensor("minus", [-1], TensorProto.INT64))
    _merged(model, "most", *nodes)


def _grown_with_the_batch(forge: Forge, model: ModelProto) -> None:
    """Records times records times a lot: nothing for twenty golden rows, everything for a full micro-batch."""
    copies = forge.chooser.choice((400, 4_000, 100_000))
    model.graph.initializer.extend([_tensor("copies", [1, copies], TensorProto.INT64)])
    nodes = [
        helper.make_node("Transpose", ["X"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["X", "turned"], ["pairs"]),
        helper.make_node("Tile", ["pairs", "copies"], ["grown"]),
        helper.make_node("ReduceMax", ["grown"], ["most"], keepdims=0),
    ]
    _merged(model, "most", *nodes)


def _too_many_nodes(forge: Forge, model: ModelProto) -> None:
    count = forge.chooser.choice((5_100, 20_000))
    _before(model, *(helper.make_node("Abs", ["X"], [f"n{number}"]) for number in range(count)))


def _names_without_end(forge: Forge, model: ModelProto) -> None:
    name = "n" * forge.chooser.choice((1_001, 10**5, 10**6))
    _before(model, helper.make_node("Identity", ["X"], [name]))


register(
    {
        "operators": (
            _of_a_domain_of_its_own,
            _that_has_no_place,
            _that_runs_a_graph,
            _that_is_a_function,
            _under_a_name_of_onnx,
            _in_another_format,
            _that_is_there_twice,
            _with_unknown_fields,
        ),
        "shapes and values": (
            _of_another_width,
            _of_another_rank,
            _of_another_type,
            _several_inputs,
            _several_outputs,
            _another_output,
            _a_sequence_for_an_output,
            _a_value_that_nothing_makes,
            _a_value_that_is_made_twice,
            _an_output_beyond_the_records,
            _scores_that_depend_on_the_batch,
        ),
        "too much": (
            _more_numbers_than_there_are,
            _sparse_and_huge,
            _grown_from_a_constant,
            _grown_from_a_value,
            _grown_with_the_batch,
            _too_many_nodes,
            _names_without_end,
        ),
    }
)
CLASSES = ("data outside the file", "references out of range", "operators", "shapes and values", "too much")
