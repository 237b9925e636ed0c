"""Whatever a body holds, it is read or told to be malformed; nothing else comes of it."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.api.body import JSON, LINES, records_of
from scoring.api.inference import read_inference
from scoring.api.problems import Kind, Problem
from tests.support.serving import Served, records

Found = TypeVar("Found")
GOOD = json.dumps(records(0, 1, 9)).encode()
COLUMNS: dict[str, Any] = {"id": ["a", "b"], "at": ["2026-03-01T12:30:00Z"] * 2, "x": [0.25, 1]}
TENSORS = json.dumps(
    {"inputs": [{"name": n, "shape": [2], "datatype": "BYTES", "data": data} for n, data in COLUMNS.items()]}
).encode()
BYTES = st.binary(max_size=200)
JSON_LIKE = st.text(alphabet='{}[]",:\\ \n01e-.nulltrefasNxIy', max_size=200).map(str.encode)


def read_or_malformed(read: Callable[[], Found]) -> Found | None:
    """What was read; None where it was told to be malformed, or to be too much."""
    try:
        return read()
    except Problem as problem:
        if problem.kind in {Kind.MALFORMED, Kind.TOO_LARGE}:
            return None
        raise


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """A good body, a piece of which is something else."""
    start = draw(st.integers(0, len(whole)))
    end = draw(st.integers(start, min(len(whole), start + 20)))
    return whole[:start] + draw(st.one_of(BYTES, JSON_LIKE)) + whole[end:]


@settings(max_examples=1_000)
@given(body=st.one_of(BYTES, JSON_LIKE, damaged(GOOD)), media_type=st.sampled_from([JSON, LINES]))
def test_records_are_taken_out_of_anything_or_it_is_malformed(body: bytes, media_type: str) -> None:
    found = read_or_malformed(lambda: records_of(body, media_type, 50))
    assert found is None or len(found) > 0
    assert found is None or sum(map(len, found)) <= len(body)


@settings(max_examples=1_000)
@given(body=st.one_of(BYTES, JSON_LIKE, damaged(TENSORS)), head=st.one_of(st.none(), st.integers(0, 400)))
def test_tensors_are_read_out_of_anything_or_it_is_malformed(body: bytes, head: int | None) -> None:
    found = read_or_malformed(lambda: read_inference(body, head, 50))
    assert found is None or len(found[1]) == found[0].inputs[0].shape[0]


SIZE = st.one_of(st.integers(-1, 30), st.none(), st.booleans())
VALUE = st.one_of(st.none(), st.integers(), st.text(max_size=3), st.lists(st.integers(), max_size=2))
TENSOR = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["x", "id", "", '"', "\ud800", "a.b"]),
        "shape": st.lists(st.integers(-1, 3) | st.just(2**70), max_size=3),
        "datatype": st.sampled_from(["FP64", "BYTES", "BOOL", "INT8", "", "V", "FP128", "O"]),
        "data": st.none() | st.lists(VALUE, max_size=4),
        "parameters": st.fixed_dictionaries({"binary_data_size": SIZE}),
    }
)


@settings(max_examples=1_000)
@given(tensors=st.lists(TENSOR, max_size=3), rest=BYTES)
def test_tensors_of_any_shape_are_read_or_malformed(tensors: list[dict[str, Any]], rest: bytes) -> None:
    head = json.dumps({"inputs": tensors}).encode()
    found = read_or_malformed(lambda: read_inference(head + rest, len(head), 50))
    assert found is None or len(found[1]) == found[0].inputs[0].shape[0]


@pytest.mark.parametrize("path", ["/v1/models/small/score", "/v2/models/small/infer"])
def test_none_of_it_is_a_failure_of_the_server(served: Served, path: str) -> None:
    whole = GOOD if "score" in path else TENSORS
    with served.client() as client:
        for place in range(0, len(whole), 7):
            for piece in (b"", b"\x00", b'"', b"[[", b"NaN", b"9" * 400, b"\xff\xfe", b"\\ud800"):
                body = whole[:place] + piece + whole[place + 3 :]
                answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
                assert answer.status_code in {200, 400, 422}, (body, answer.text)
                assert msgspec.json.decode(answer.content)
