"""The Open Inference Protocol, version 2: a record's fields as columns in, scores as columns out.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol, and its extension for binary tensor
data (https://github.com/triton-inference-server/server, docs/protocol/extension_binary_data.md), which Triton's client
uses unless told otherwise. What a client sends becomes records of JSON again, which the stream's decoder judges.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from scoring.api.answers import Answer
from scoring.api.body import too_many
from scoring.api.problems import Kind, Problem
from scoring.contract.decoding import decodable
from scoring.contract.features import FieldType
from scoring.contract.manifest import Manifest
from scoring.worker import json_columns
from scoring.worker.models import Active
from scoring.worker.weave import Pattern

BINARY = "binary_tensor_data"
_NUMPY = {
    "BOOL": "?",
    **{f"INT{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
}
_DATATYPES = {FieldType.NUMBER: "FP64", FieldType.BOOLEAN: "BOOL", FieldType.STRING: "BYTES", FieldType.TIME: "BYTES"}
_encode = msgspec.json.Encoder().encode


class Tensor(msgspec.Struct, frozen=True, kw_only=True):
    """A column as a client sends it.

    Attributes:
        shape: as many records, or that and 1.
        data: the values' own JSON; where it is not there they follow the document as bytes.
    """

    name: str
    shape: tuple[int, ...]
    datatype: str
    data: tuple[msgspec.Raw, ...] | None = None
    parameters: Mapping[str, Any] = {}


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """An output that a client asks for."""

    name: str
    parameters: Mapping[str, Any] = {}


class Inference(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asks."""

    inputs: tuple[Tensor, ...]
    id: str | None = None
    outputs: tuple[Wanted, ...] = ()
    parameters: Mapping[str, Any] = {}

    def binary(self, output: str) -> bool:
        """Whether an output is wanted as bytes behind the document."""
        own = next((wanted.parameters for wanted in self.outputs if wanted.name == output), {})
        return bool(own.get("binary_data", self.parameters.get("binary_data_output", False)))


decodable(Inference)


def read_inference(body: bytes, head_bytes: int | None, limit: int) -> tuple[Inference, list[bytes]]:
    """What a client asks, and its records.

    Args:
        head_bytes: how much of the body is the document, where bytes follow it.
        limit: of records.

    Raises:
        Problem: it cannot be read, or there are too many records.
    """
    head, rest = (body, b"") if head_bytes is None else (body[:head_bytes], body[head_bytes:])
    try:
        asked = msgspec.json.decode(head, type=Inference)
        _refuse_what_is_there_twice(head, asked)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise Problem(Kind.MALFORMED, f"{error}; send inputs with name, shape, datatype and data") from error
    if not asked.inputs:
        raise Problem(Kind.MALFORMED, "there is no input; GET the model's metadata for those that it has")
    names = [tensor.name for tensor in asked.inputs]
    if len(set(names)) < len(names):
        raise Problem(Kind.MALFORMED, "an input is there twice")
    count = _records(asked.inputs)
    if count > limit:
        raise too_many(count, limit)
    return asked, _woven(asked.inputs, rest, count)


def _refuse_what_is_there_twice(head: bytes, asked: Inference) -> None:
    """Of two values under one key the decoder keeps the last, and who sent them may have meant the other.

    Raises:
        Problem: some key is there twice.
    """
    tensors = len(asked.inputs) + len(asked.outputs)
    most = {b"inputs": 1, b"outputs": 1, b"name": tensors} | dict.fromkeys((b"shape", b"datatype", b"data"), tensors)
    if b"\\u" not in head and all(head.count(b'"%b"' % key) <= count for key, count in most.items()):
        return  # a look at every key would take longer than all the rest

    def once(pairs: list[tuple[str, Any]]) -> None:
        if len({name for name, _ in pairs}) < len(pairs):
            raise Problem(Kind.MALFORMED, "a key is there twice")

    json.loads(head, object_pairs_hook=once, parse_int=str, parse_float=str)


def _records(inputs: Sequence[Tensor]) -> int:
    for tensor in inputs:
        many, *rest = tensor.shape or (0,)
        if many < 1 or rest not in ([], [1]) or tensor.shape[0] != inputs[0].shape[0]:
            raise Problem(
                Kind.MALFORMED,
                f"input {tensor.name!r} has the shape {list(tensor.shape)}; each has as many values as there are "
                "records, [n] or [n, 1]",
            )
    return inputs[0].shape[0]


def _woven(inputs: Sequence[Tensor], rest: bytes, count: int) -> list[bytes]:
    found, start = Pattern(b"{"), 0
    for number, tensor in enumerate(inputs):
        found.text((b"," if number else b"") + _encode(tensor.name) + b":")
        if tensor.data is None:
            size = tensor.parameters.get("binary_data_size")
            if not isinstance(size, int) or not 0 <= size <= len(rest) - start:
                raise _unreadable(tensor, "it has neither data nor as many bytes as it says")
            found.column(_of_bytes(tensor, rest[start : start + size], count))
            start += size
        else:
            found.column(_of_values(tensor, tensor.data, count))
    found.text(b"}")
    return found.woven(count)


def _of_values(tensor: Tensor, values: Sequence[msgspec.Raw], count: int) -> json_columns.Lines:
    tokens = [bytes(value) for value in values]
    if tensor.shape[1:] and any(token.startswith(b"[") for token in tokens):  # a row of one value each
        tokens = [token[1:-1].strip() for token in tokens]
    if len(tokens) != count:
        raise _unreadable(tensor, f"it has {len(tokens)} values, and its shape says {count}")
    if any(token[:1] in {b"[", b"{", b""} or b"\n" in token for token in tokens):
        raise _unreadable(tensor, "its values are not plain ones")
    return json_columns.lines(tokens)


def _of_bytes(tensor: Tensor, content: bytes, count: int) -> json_columns.Lines:
    if tensor.datatype == "BYTES":
        return json_columns.values(_texts(tensor, content, count))
    kind = np.dtype(_NUMPY.get(tensor.datatype, "V"))
    if kind.kind == "V":
        raise _unreadable(tensor, f"its datatype {tensor.datatype[:20]!r} is none that is read")
    if len(content) != kind.itemsize * count:
        raise _unreadable(tensor, f"{count} values of {tensor.datatype} are {kind.itemsize * count} bytes")
    column = np.frombuffer(content, kind)
    tokens = json_columns.values(column)  # what is no number is null
    if kind.kind == "f" and np.isinf(column).any():  # what is beyond all numbers is one that no JSON reader takes
        parts = tokens.split(b"\n")
        for place in np.flatnonzero(np.isinf(column)).tolist():
            parts[place] = b"1e999"
        return b"\n".join(parts)
    return tokens


def _texts(tensor: Tensor, content: bytes, count: int) -> Any:
    texts, start = [], 0
    while start < len(content):
        size = int.from_bytes(content[start : start + 4], "little")
        text = content[start + 4 : start + 4 + size]
        if len(text) != size or start + 4 > len(content):
            raise _unreadable(tensor, "its bytes end within a text")
        texts.append(text)
        start += 4 + size
    if len(texts) != count:
        raise _unreadable(tensor, f"it has {len(texts)} texts, and its shape says {count}")
    try:
        return [text.decode() for text in texts]
    except UnicodeDecodeError as error:
        raise _unreadable(tensor, "a text is not UTF-8") from error


def _unreadable(tensor: Tensor, why: str) -> Problem:
    return Problem(Kind.MALFORMED, f"input {tensor.name[:100]!r}: {why}")


# --- what is answered ---------------------------------------------------------------------------------------------


class Column(msgspec.Struct, frozen=True):
    """An output."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Sequence[Any]

    def document(self) -> dict[str, Any]:
        """With its values."""
        data = np.array(self.values).ravel().tolist() if len(self.shape) > 1 else self.values
        return {"name": self.name, "datatype": self.datatype, "shape": self.shape, "data": data}

    def packed(self) -> bytes:
        """The values as bytes."""
        if self.datatype == "BYTES":
            return b"".join(len(text := value.encode()).to_bytes(4, "little") + text for value in self.values)
        return np.array(self.values, _NUMPY[self.datatype]).tobytes()


def answer(active: Active, asked: Inference, answers: Sequence[Answer], scored_at: str) -> tuple[bytes, int | None]:
    """The body of the answer, and how much of it is the document where bytes follow it.

    Raises:
        Problem: the client asks for an output that there is none of.
    """
    columns = {column.name: column for column in _columns(active.scorer.manifest, answers)}
    unknown = [wanted.name for wanted in asked.outputs if wanted.name not in columns]
    if unknown:
        raise Problem(Kind.MALFORMED, f"there is no output {unknown[0][:100]!r}; there are {', '.join(columns)}")
    outputs, blobs = [], []
    for name in [wanted.name for wanted in asked.outputs] or columns:
        column = columns[name]
        if asked.binary(name):
            blobs.append(column.packed())
            told = {"name": name, "datatype": column.datatype, "shape": column.shape}
            outputs.append({**told, "parameters": {"binary_data_size": len(blobs[-1])}})
        else:
            outputs.append(column.document())
    document = {
        "model_name": active.model,
        "model_version": active.version,
        **({} if asked.id is None else {"id": asked.id}),
        "parameters": {"sequence": active.sequence, "manifest_digest": active.digest, "scored_at": scored_at},
        "outputs": outputs,
    }
    head = _encode(document)
    return b"".join((head, *blobs)), len(head) if blobs else None


def _columns(manifest: Manifest, answers: Sequence[Answer]) -> Iterator[Column]:
    count, classes = len(answers), manifest.output.classes
    scores: Any = [found.score for found in answers]
    if classes:
        places = np.argmax(np.array(scores), axis=1).tolist()
        yield Column("score", "FP64", (count,), [row[place] for row, place in zip(scores, places, strict=True)])
        yield Column("label", "BYTES", (count,), [classes[place] for place in places])
        yield Column("probabilities", "FP64", (count, len(classes)), scores)
    else:
        yield Column("score", "FP64", (count,), scores)
    if manifest.output.threshold is not None:
        yield Column("decision", "BOOL", (count,), [found.decision for found in answers])


def metadata(active: Active) -> dict[str, Any]:
    """A model's metadata: its inputs and outputs."""
    manifest = active.scorer.manifest
    inputs = [
        {"name": field.name, "datatype": _DATATYPES[field.type], "shape": [-1]} for field in manifest.schema.fields
    ]
    outputs: list[dict[str, Any]] = [{"name": "score", "datatype": "FP64", "shape": [-1]}]
    if classes := manifest.output.classes:
        outputs.append({"name": "label", "datatype": "BYTES", "shape": [-1]})
        outputs.append({"name": "probabilities", "datatype": "FP64", "shape": [-1, len(classes)]})
    if manifest.output.threshold is not None:
        outputs.append({"name": "decision", "datatype": "BOOL", "shape": [-1]})
    return {
        "name": active.model,
        "versions": [active.version],
        "platform": "baton_onnx",
        "inputs": inputs,
        "outputs": outputs,
        "properties": {"sequence": str(active.sequence), "manifest_digest": active.digest},
    }
