"""The Open Inference Protocol: columns in, columns out, as JSON and as bytes; the same scores as records get."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest

from scoring.api.documents import InferenceAnswer, Metadata
from scoring.api.inference import read_inference
from scoring.api.problems import Kind, Problem
from tests.support.bundles import score_of, small_record
from tests.support.classes import CLASSES, bundle_of_classes, probabilities
from tests.support.serving import Served, active_of, records, scores_of

PATH = "/v2/models/small/infer"
DATATYPES = {"id": "BYTES", "at": "BYTES", "x": "FP64", "color": "BYTES"}


def columns(*numbers: int) -> dict[str, list[Any]]:
    made = records(*numbers)["records"]
    return {name: [record[name] for record in made] for name in DATATYPES}


def tensors(found: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [
        {"name": name, "shape": [len(values)], "datatype": DATATYPES[name], "data": values}
        for name, values in found.items()
    ]


def infer(served: Served, inputs: Sequence[dict[str, Any]], **more: Any) -> httpx.Response:
    with served.client() as client:
        return client.post(PATH, json={"inputs": inputs, **more})


def outputs(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    read = msgspec.json.decode(answer.content, type=InferenceAnswer)
    return {output.name: (output.datatype, output.shape, output.data) for output in read.outputs}


def test_columns_get_the_scores_that_the_same_records_get(served: Served) -> None:
    numbers = range(20)
    found = outputs(infer(served, tensors(columns(*numbers))))
    with served.client() as client:
        scores = scores_of(client.post("/v1/models/small/score", json=records(*numbers)))
    assert found["score"] == ("FP64", (20,), tuple(scores))
    assert found["decision"] == ("BOOL", (20,), tuple(score >= 1.5 for score in scores))


def test_an_answer_names_the_version_and_repeats_the_id(served: Served) -> None:
    answer = infer(served, tensors(columns(0)), id="7").json()
    active = served.service.live("small")
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("small", "1", "7")
    assert (answer["parameters"]["sequence"], answer["parameters"]["manifest_digest"]) == (1, active.digest)


def test_only_what_is_wanted_is_answered(served: Served) -> None:
    found = outputs(infer(served, tensors(columns(0)), outputs=[{"name": "decision"}]))
    assert list(found) == ["decision"]
    answer = infer(served, tensors(columns(0)), outputs=[{"name": "label"}])
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        "there is no output 'label'; there are score, decision",
    )


def test_values_may_stand_in_rows_of_one(served: Served) -> None:
    inputs = tensors(columns(0, 9))
    for tensor in inputs:
        tensor["shape"], tensor["data"] = [2, 1], [[value] for value in tensor["data"]]
    assert outputs(infer(served, inputs))["score"][2] == (score_of(1, 0), score_of(1, 9))


def test_an_optional_field_may_be_left_out_or_null(served: Served) -> None:
    given = columns(0, 9)
    whole = outputs(infer(served, tensors({**given, "color": [None, None]})))
    del given["color"]
    assert outputs(infer(served, tensors(given))) == whole


def test_records_that_cannot_be_scored_are_told_with_the_scores_of_the_others(served: Served) -> None:
    given = columns(0, 1, 9)
    given["x"][1] = "many"
    answer = infer(served, tensors(given))
    document = answer.json()
    assert (answer.status_code, document["error"]) == (422, document["detail"])
    assert [(f["index"], f["field"], f["reason"]) for f in document["failures"]] == [(1, "x", "wrong-type")]
    assert [p and p["score"] for p in document["predictions"]] == [score_of(1, 0), None, score_of(1, 9)]


def test_classes_are_answered_with_label_and_probabilities(tmp_path: Path) -> None:
    with Served(tmp_path) as served:
        served.bring(active_of(bundle_of_classes(tmp_path / "bundle")))
        found = outputs(infer(served, tensors(columns(0, 9))))
        with served.client() as client:
            metadata = msgspec.json.decode(client.get("/v2/models/small").content, type=Metadata)
    assert found["label"] == ("BYTES", (2,), ("on time", "early"))
    assert found["probabilities"] == ("FP64", (2, len(CLASSES)), (*probabilities(0), *probabilities(9)))
    assert found["score"][2] == (max(probabilities(0)), max(probabilities(9)))
    told = {output.name: (output.datatype, output.shape) for output in metadata.outputs}
    assert told == {"score": ("FP64", (-1,)), "label": ("BYTES", (-1,)), "probabilities": ("FP64", (-1, 3))}


def test_the_metadata_names_every_field_of_a_record(served: Served) -> None:
    with served.client() as client:
        metadata = msgspec.json.decode(client.get("/v2/models/small").content, type=Metadata)
        assert client.get("/v2/models/small/versions/1").content == client.get("/v2/models/small").content
    assert {tensor.name: tensor.datatype for tensor in metadata.inputs} == DATATYPES
    assert metadata.versions == ("1",)


@pytest.mark.parametrize("path", ["/v2/models/small/versions/{}", "/v2/models/small/versions/{}/ready"])
def test_a_version_that_is_not_live_is_not_found(served: Served, path: str) -> None:
    with served.client() as client:
        assert client.get(path.format("1")).status_code == 200
        answer = client.get(path.format("2"))
        assert (answer.status_code, answer.json()["error"]) == (404, "version 1 of small scores now")
        inferred = client.post("/v2/models/small/versions/2/infer", json={"inputs": tensors(columns(0))})
        assert inferred.json()["live"] == "1"
        assert client.post("/v2/models/small/versions/1/infer", json={"inputs": tensors(columns(0))}).is_success


# --- bytes --------------------------------------------------------------------------------------------------------


def packed(values: Sequence[Any], datatype: str) -> bytes:
    if datatype == "BYTES":
        return b"".join(len(value.encode()).to_bytes(4, "little") + value.encode() for value in values)
    return np.array(values, "<f8").tobytes()


def test_values_may_follow_the_document_as_bytes_and_be_answered_so(served: Served) -> None:
    given, blobs, inputs = columns(*range(10)), [], []
    for name, values in given.items():
        blobs.append(packed(values, DATATYPES[name]))
        told = {"name": name, "shape": [10], "datatype": DATATYPES[name]}
        inputs.append({**told, "parameters": {"binary_data_size": len(blobs[-1])}})
    head = msgspec.json.encode({"inputs": inputs, "parameters": {"binary_data_output": True}})
    with served.client() as client:
        headers = {"Inference-Header-Content-Length": str(len(head))}
        answer = client.post(PATH, content=head + b"".join(blobs), headers=headers)
    size = int(answer.headers["inference-header-content-length"])
    document, rest = msgspec.json.decode(answer.content[:size]), answer.content[size:]
    assert [output["parameters"]["binary_data_size"] for output in document["outputs"]] == [80, 10]
    assert np.frombuffer(rest[:80], "<f8").tolist() == [score_of(1, number) for number in range(10)]
    assert np.frombuffer(rest[80:], "?").tolist() == [score_of(1, number) >= 1.5 for number in range(10)]


def read(datatype: str, content: bytes, count: int) -> list[bytes]:
    """The records that a column of bytes becomes."""
    told = {"name": "x", "shape": [count], "datatype": datatype, "parameters": {"binary_data_size": len(content)}}
    head = msgspec.json.encode({"inputs": [told]})
    return read_inference(head + content, len(head), 100)[1]


@pytest.mark.parametrize(
    ("datatype", "numpy", "values", "expected"),
    [
        (
            "FP64",
            "<f8",
            [0.1, float("nan"), float("inf"), -float("inf"), -0.0],
            ["0.1", "null", "1e999", "1e999", "-0.0"],
        ),
        ("FP32", "<f4", [0.5, 0.1], ["0.5", "0.10000000149011612"]),
        ("INT64", "<i8", [2**63 - 1, -(2**63)], ["9223372036854775807", "-9223372036854775808"]),
        ("UINT64", "<u8", [2**64 - 1], ["18446744073709551615"]),
        ("INT8", "<i1", [-1], ["-1"]),
        ("BOOL", "?", [True, False], ["true", "false"]),
    ],
)
def test_numbers_as_bytes_become_the_numbers_that_they_are(
    datatype: str, numpy: str, values: list[Any], expected: list[str]
) -> None:
    found = read(datatype, np.array(values, numpy).tobytes(), len(values))
    assert found == [b'{"x":%b}' % text.encode() for text in expected]


@pytest.mark.parametrize(
    ("datatype", "content", "count"),
    [
        ("FP64", b"\0" * 15, 2),
        ("FP64", b"", 1),
        ("BYTES", b"\x05\0\0\0abc", 1),
        ("BYTES", b"\x01\0\0\0a", 2),
        ("BYTES", b"\x01\0\0\0\xff", 1),
        ("BYTES", b"\0\0\0", 1),
        ("STRING", b"abc", 1),
        ("V", b"abc", 1),
    ],
)
def test_bytes_that_are_not_what_they_say_are_malformed(datatype: str, content: bytes, count: int) -> None:
    with pytest.raises(Problem, match="input 'x'") as caught:
        read(datatype, content, count)
    assert caught.value.kind is Kind.MALFORMED


# --- what cannot be read ------------------------------------------------------------------------------------------

X: dict[str, Any] = {"name": "x", "shape": [1], "datatype": "FP64", "data": [1.0]}


CHANGES: list[dict[str, Any]] = [
    {"shape": []},
    {"shape": [0]},
    {"shape": [-1]},
    {"shape": [1, 2]},
    {"shape": [1, 1, 1]},
    {"shape": [2]},
    {"shape": [1.5]},
    {"data": [[1.0, 2.0], 3.0]},
    {"data": [{}]},
    {"data": None},
    {"data": 1},
    {"data": None, "parameters": {"binary_data_size": 8}},
    {"data": None, "parameters": {"binary_data_size": "8"}},
    {"data": None, "parameters": {"binary_data_size": -1}},
]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"inputs": []}',
        b'{"inputs": [1]}',
        msgspec.json.encode({"inputs": [X, X]}),
        *(msgspec.json.encode({"inputs": [{**X, **change}]}) for change in CHANGES),
        msgspec.json.encode({"inputs": [X, {**X, "name": "y", "shape": [2], "data": [1, 2]}]}),
    ],
)
def test_what_cannot_be_read_is_malformed(body: bytes) -> None:
    with pytest.raises(Problem) as caught:
        read_inference(body, None, 100)
    assert caught.value.kind is Kind.MALFORMED


ONE = msgspec.json.encode(X)


@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs": [%b], "inputs": [%b]}' % (ONE, ONE),
        b'{"inputs": [], "in\\u0070uts": [%b]}' % ONE,
        b'{"outputs": [{"name": "score"}], "inputs": [%b], "outputs": []}' % ONE,
        b'{"inputs": [%b]}' % ONE.replace(b"{", b'{"data": [2.0], ', 1),
        b'{"inputs": [%b]}' % ONE.replace(b"{", b'{"shape": [1], ', 1),
        b'{"inputs": [%b]}' % ONE.replace(b"{", b'{"name": "y", ', 1),
    ],
)
def test_a_key_that_is_there_twice_is_malformed(body: bytes) -> None:
    with pytest.raises(Problem, match="there twice"):
        read_inference(body, None, 100)


def test_a_value_that_reads_like_a_key_is_none() -> None:
    inputs = [{**X, "name": name, "datatype": "BYTES", "data": ["inputs\u0001"]} for name in ("inputs", "data", "name")]
    body = msgspec.json.encode({"inputs": inputs, "id": "inputs", "parameters": {"name": "shape", "data": 1}})
    assert len(read_inference(body, None, 100)[1]) == 1


def test_a_value_that_is_no_plain_one_reaches_no_other_field(served: Served) -> None:
    """What a client calls a value stays the value of its field."""
    inputs = tensors(columns(0))
    inputs[2]["data"], inputs[2]["shape"] = [['0,"x":1']], [1, 1]
    answer = infer(served, inputs)
    assert [f["reason"] for f in answer.json()["failures"]] == ["wrong-type"]


def test_more_records_than_allowed_are_too_many() -> None:
    body = msgspec.json.encode({"inputs": [{**X, "shape": [101], "data": [1.0] * 101}]})
    with pytest.raises(Problem) as caught:
        read_inference(body, None, 100)
    assert caught.value.kind is Kind.TOO_LARGE


def test_the_record_is_what_its_columns_say() -> None:
    body = msgspec.json.encode({"inputs": tensors(columns(3))})
    (record,) = read_inference(body, None, 100)[1]
    assert msgspec.json.decode(record) == msgspec.to_builtins(small_record(3))
