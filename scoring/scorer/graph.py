"""An ONNX file as plain values, read without ONNX Runtime and without running anything.

Only what a compiled model needs has a place here: one flat graph of nodes and tensors that are inside the file. Field
numbers are those of ``onnx.proto`` (ONNX 1.23, IR version 13).
"""

from collections.abc import Mapping
from math import prod
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from scoring.contract.errors import BundleRejected
from scoring.scorer.wire import Kind, Layout, Slot, read, varints

MAXIMUM_NODES = 5_000
MAXIMUM_TENSORS = 10_000
MAXIMUM_DIMENSIONS = 8
MAXIMUM_NAME_CHARACTERS = 1_000
# A file of ONNX Runtime's own format is told by these bytes, whatever else it may be read as.
_OWN_FORMAT = b"ORTM"

_MODEL: Layout = {
    1: Slot("ir_version", Kind.INT),
    2: Slot("producer_name", Kind.IGNORED),
    3: Slot("producer_version", Kind.IGNORED),
    4: Slot("domain", Kind.IGNORED),
    5: Slot("model_version", Kind.INT),
    6: Slot("doc_string", Kind.IGNORED),
    7: Slot("graph", Kind.MESSAGE),
    8: Slot("opset_import", Kind.MESSAGES),
    14: Slot("metadata_props", Kind.REFUSED),
    20: Slot("training_info", Kind.REFUSED),
    25: Slot("a function", Kind.REFUSED),
    26: Slot("a device configuration", Kind.REFUSED),
}
_OPSET: Layout = {1: Slot("domain", Kind.TEXT), 2: Slot("version", Kind.INT)}
_GRAPH: Layout = {
    1: Slot("node", Kind.MESSAGES),
    2: Slot("name", Kind.IGNORED),
    5: Slot("initializer", Kind.MESSAGES),
    10: Slot("doc_string", Kind.IGNORED),
    11: Slot("input", Kind.MESSAGES),
    12: Slot("output", Kind.MESSAGES),
    13: Slot("value_info", Kind.MESSAGES),
    14: Slot("a quantization annotation", Kind.REFUSED),
    15: Slot("a sparse initializer", Kind.REFUSED),
    16: Slot("metadata_props", Kind.REFUSED),
}
_NODE: Layout = {
    1: Slot("input", Kind.TEXTS),
    2: Slot("output", Kind.TEXTS),
    3: Slot("name", Kind.TEXT),
    4: Slot("op_type", Kind.TEXT),
    5: Slot("attribute", Kind.MESSAGES),
    6: Slot("doc_string", Kind.IGNORED),
    7: Slot("domain", Kind.TEXT),
    8: Slot("an overload", Kind.REFUSED),
    9: Slot("metadata_props", Kind.REFUSED),
    10: Slot("a device configuration", Kind.REFUSED),
}
_ATTRIBUTE: Layout = {
    1: Slot("name", Kind.TEXT),
    2: Slot("f", Kind.FLOAT),
    3: Slot("i", Kind.INT),
    4: Slot("s", Kind.BYTES),
    5: Slot("t", Kind.MESSAGE),
    6: Slot("a graph inside a node", Kind.REFUSED),
    7: Slot("floats", Kind.FLOATS),
    8: Slot("ints", Kind.INTS),
    9: Slot("strings", Kind.BYTESS),
    10: Slot("tensors in an attribute", Kind.REFUSED),
    11: Slot("graphs inside a node", Kind.REFUSED),
    13: Slot("doc_string", Kind.IGNORED),
    14: Slot("a type in an attribute", Kind.REFUSED),
    15: Slot("types in an attribute", Kind.REFUSED),
    20: Slot("type", Kind.INT),
    21: Slot("a reference to a function's attribute", Kind.REFUSED),
    22: Slot("a sparse tensor", Kind.REFUSED),
    23: Slot("sparse tensors", Kind.REFUSED),
}
# By AttributeProto.type, the one field that holds the value, and what it is where it is not written.
_ATTRIBUTE_TYPES: Mapping[int, tuple[str, Any]] = {
    1: ("f", 0.0),
    2: ("i", 0),
    3: ("s", b""),
    4: ("t", None),
    6: ("floats", np.zeros(0, np.float32)),
    7: ("ints", np.zeros(0, np.int64)),
    8: ("strings", []),
}
_TENSOR: Layout = {
    1: Slot("dims", Kind.INTS),
    2: Slot("data_type", Kind.INT),
    3: Slot("a segment", Kind.REFUSED),
    4: Slot("float_data", Kind.PACKED),
    5: Slot("int32_data", Kind.PACKED),
    6: Slot("strings in a tensor", Kind.REFUSED),
    7: Slot("int64_data", Kind.PACKED),
    8: Slot("name", Kind.TEXT),
    9: Slot("raw_data", Kind.BYTES),
    10: Slot("double_data", Kind.PACKED),
    11: Slot("uint64_data", Kind.REFUSED),
    12: Slot("doc_string", Kind.IGNORED),
    13: Slot("data outside the file (external_data)", Kind.REFUSED),
    14: Slot("data_location", Kind.INT),
    16: Slot("metadata_props", Kind.REFUSED),
}
_VALUE_INFO: Layout = {
    1: Slot("name", Kind.TEXT),
    2: Slot("type", Kind.MESSAGE),
    3: Slot("doc_string", Kind.IGNORED),
    4: Slot("metadata_props", Kind.REFUSED),
}
_TYPE: Layout = {
    1: Slot("tensor_type", Kind.MESSAGE),
    4: Slot("a sequence", Kind.REFUSED),
    5: Slot("a map", Kind.REFUSED),
    6: Slot("denotation", Kind.IGNORED),
    7: Slot("an opaque type", Kind.REFUSED),
    8: Slot("a sparse tensor", Kind.REFUSED),
    9: Slot("an optional value", Kind.REFUSED),
}
_TENSOR_TYPE: Layout = {1: Slot("elem_type", Kind.INT), 2: Slot("shape", Kind.MESSAGE)}
_SHAPE: Layout = {1: Slot("dim", Kind.MESSAGES)}
_DIMENSION: Layout = {
    1: Slot("dim_value", Kind.INT),
    2: Slot("dim_param", Kind.TEXT),
    3: Slot("denotation", Kind.IGNORED),
}

# TensorProto.DataType: its bytes per element, the field that holds it where it is not raw, and numpy's name.
FLOAT, UINT8, INT32, INT64, BOOL, DOUBLE = 1, 2, 6, 7, 9, 11
_TYPES: Mapping[int, tuple[str, str]] = {
    FLOAT: ("float_data", "<f4"),
    UINT8: ("int32_data", "u1"),
    INT32: ("int32_data", "<i4"),
    INT64: ("int64_data", "<i8"),
    BOOL: ("int32_data", "?"),
    DOUBLE: ("double_data", "<f8"),
}
_DATA = ("raw_data", "float_data", "int32_data", "int64_data", "double_data")


class Tensor(msgspec.Struct, frozen=True, eq=False):
    """A tensor whose numbers are inside the file, as many as its dimensions say."""

    name: str
    dims: tuple[int, ...]
    data_type: int
    values: npt.NDArray[Any]


class Node(msgspec.Struct, frozen=True, eq=False):
    """One operator. Attributes by name: float, int, bytes, Tensor, arrays of numbers or a list of bytes."""

    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


class Value(msgspec.Struct, frozen=True):
    """An input or output of the graph. A dimension that has no number is None; so is a shape that is not given."""

    name: str
    data_type: int
    dims: tuple[int | None, ...] | None


class Graph(msgspec.Struct, frozen=True, eq=False):
    """A flat graph; nodes in the order in which they run."""

    opsets: Mapping[str, int]
    nodes: tuple[Node, ...]
    initializers: Mapping[str, Tensor]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]


def parse_graph(content: bytes) -> Graph:
    """Read an ONNX file.

    Raises:
        BundleRejected: it is none, or holds anything that has no place in a compiled model: data outside the file,
            functions, graphs inside nodes, sparse tensors, sequences, maps.
    """
    if content[4:8] == _OWN_FORMAT:
        raise BundleRejected("compiled model: it is in ONNX Runtime's own format; only ONNX is allowed")
    model = read(content, _MODEL, "the file")
    if "graph" not in model:
        raise BundleRejected("compiled model: there is no graph in it")
    graph = read(model["graph"], _GRAPH, "the graph")
    nodes, tensors = graph.get("node", []), graph.get("initializer", [])
    if len(nodes) > MAXIMUM_NODES or len(tensors) > MAXIMUM_TENSORS:
        raise BundleRejected(
            f"compiled model: {len(nodes)} nodes and {len(tensors)} tensors; "
            f"at most {MAXIMUM_NODES} and {MAXIMUM_TENSORS} are allowed"
        )
    for info in graph.get("value_info", []):
        _value(info)
    return Graph(
        opsets=_opsets(model.get("opset_import", [])),
        nodes=tuple(map(_node, nodes)),
        initializers=_named([_tensor(tensor, "an initializer") for tensor in tensors]),
        inputs=tuple(map(_value, graph.get("input", []))),
        outputs=tuple(map(_value, graph.get("output", []))),
    )


def _opsets(messages: list[bytes]) -> dict[str, int]:
    found: dict[str, int] = {}
    for message in messages:
        opset = read(message, _OPSET, "an opset")
        domain = opset.get("domain", "")
        if found.setdefault(domain, opset.get("version", 0)) != opset.get("version", 0):
            raise BundleRejected(f"compiled model: two versions of the opset {domain!r} are named")
    return found


def _node(message: bytes) -> Node:
    found = read(message, _NODE, "a node")
    op = _name(found.get("op_type", ""))
    attributes: dict[str, Any] = {}
    for piece in found.get("attribute", []):
        name, value = _attribute(piece, op)
        if name in attributes:
            raise BundleRejected(f"compiled model: {op} has the attribute {name!r} twice")
        attributes[name] = value
    return Node(
        op,
        _name(found.get("domain", "")),
        tuple(map(_name, found.get("input", []))),
        tuple(map(_name, found.get("output", []))),
        attributes,
    )


def _attribute(message: bytes, op: str) -> tuple[str, Any]:
    found = read(message, _ATTRIBUTE, f"attribute of {op}")
    name, number = _name(found.get("name", "")), found.get("type", 0)
    if number not in _ATTRIBUTE_TYPES:
        raise BundleRejected(f"compiled model: attribute {name!r} of {op} is of a type that is not allowed ({number})")
    field, otherwise = _ATTRIBUTE_TYPES[number]
    others = found.keys() - {"name", "type", "doc_string", field}
    if others or (field == "t" and field not in found):
        raise BundleRejected(f"compiled model: attribute {name!r} of {op} does not hold what its type says")
    value = found.get(field, otherwise)
    return name, _tensor(value, f"attribute {name!r} of {op}") if field == "t" else value


def _tensor(message: bytes, what: str) -> Tensor:
    found = read(message, _TENSOR, what)
    name, data_type = _name(found.get("name", "")), found.get("data_type", 0)
    dims = tuple(map(int, found.get("dims", ())))
    if found.get("data_location", 0) != 0:
        raise BundleRejected(f"compiled model: {what} {name!r} has its data outside the file")
    if data_type not in _TYPES:
        raise BundleRejected(f"compiled model: {what} {name!r} is of a type that is not allowed ({data_type})")
    if len(dims) > MAXIMUM_DIMENSIONS or any(dim < 0 for dim in dims):
        raise BundleRejected(f"compiled model: {what} {name!r} has the dimensions {dims[:MAXIMUM_DIMENSIONS]}")
    values = _numbers(found, data_type, f"{what} {name!r}")
    if len(values) != prod(dims):
        raise BundleRejected(f"compiled model: {what} {name!r} has {len(values)} numbers for the dimensions {dims}")
    return Tensor(name, dims, data_type, values)


def _numbers(found: Mapping[str, Any], data_type: int, what: str) -> npt.NDArray[Any]:
    field, kind = _TYPES[data_type]
    written = [name for name in _DATA if name in found]
    if not written:
        return np.zeros(0, kind)
    if len(written) > 1 or written[0] not in {"raw_data", field}:
        raise BundleRejected(f"compiled model: {what} has its data in {' and '.join(written)}")
    content = found[written[0]]
    if written[0] in {"int32_data", "int64_data"}:
        wide = varints(content, what)
        values = wide.astype(kind)
        if data_type != BOOL and not np.array_equal(values, wide):
            raise BundleRejected(f"compiled model: {what} has numbers beyond its type")
        return values
    if len(content) % np.dtype(kind).itemsize:
        raise BundleRejected(f"compiled model: {what} is cut off")
    return np.frombuffer(content, kind)


def _value(message: bytes) -> Value:
    found = read(message, _VALUE_INFO, "a value")
    name = _name(found.get("name", ""))
    kind = read(found.get("type", b""), _TYPE, f"value {name!r}")
    tensor = read(kind.get("tensor_type", b""), _TENSOR_TYPE, f"value {name!r}")
    dims: tuple[int | None, ...] | None = None
    if "shape" in tensor:
        shape = read(tensor["shape"], _SHAPE, f"value {name!r}").get("dim", [])
        dims = tuple(_dimension(piece, name) for piece in shape[: MAXIMUM_DIMENSIONS + 1])
    return Value(name, tensor.get("elem_type", 0), dims)


def _dimension(message: bytes, name: str) -> int | None:
    found = read(message, _DIMENSION, f"value {name!r}")
    if len(found.keys() & {"dim_value", "dim_param"}) > 1:
        raise BundleRejected(f"compiled model: a dimension of {name!r} is both a number and a name")
    value: int | None = found.get("dim_value")
    return value


def _named(tensors: list[Tensor]) -> dict[str, Tensor]:
    found = {tensor.name: tensor for tensor in tensors}
    if len(found) < len(tensors) or "" in found:
        raise BundleRejected("compiled model: an initializer has no name, or another one's")
    return found


def _name(text: str) -> str:
    if len(text) > MAXIMUM_NAME_CHARACTERS:
        raise BundleRejected(f"compiled model: a name has {len(text)} characters")
    return text
