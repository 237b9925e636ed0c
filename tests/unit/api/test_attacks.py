"""Requests that nobody sends by accident: each is refused for what it is, and the next honest one is answered."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import msgspec
import pytest

from scoring.contract.digest import digest_of
from tests.support.bundles import score_of
from tests.support.serving import Served, records, scores_of, wait_until

PATH = "/v1/models/small/score"
JSON = "Content-Type: application/json\r\n"
GOOD = msgspec.json.encode(records(0))


@contextmanager
def connected(served: Served) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", httpx.URL(served.url).port or 0), 60) as made:
        yield made


def head_of(served: Served, length: int | None, *lines: str) -> bytes:
    """The head of a request to score; without a length others say how long its body is."""
    told = [f"POST {PATH} HTTP/1.1", "Host: x", f"Authorization: Bearer {served.both}", JSON.strip(), *lines]
    if length is not None:
        told.append(f"Content-Length: {length}")
    return "\r\n".join([*told, "", ""]).encode()


def everything(connection: socket.socket) -> bytes:
    """What comes until the other side ends the connection."""
    found = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65_536):
            found += piece
    return found


def honest(served: Served) -> None:
    """Somebody else's request is answered, and nothing of the attack is in hand."""
    with served.client() as client:
        assert scores_of(client.post(PATH, json=records(0))) == [score_of(1, 0)]
    hand = served.service.hand
    wait_until(lambda: (hand.requests, hand.records, hand.size_bytes) == (0, 0, 0))


# --- who asks -----------------------------------------------------------------------------------------------------


def test_what_resembles_a_token_is_none(served: Served) -> None:
    token = served.both
    forged = [
        token[:-1],
        f"{token}x",
        token.swapcase(),
        digest_of(token.encode()),
        f"{token},{token}",
        f"{token} {token}",
        "x" * 30_000,
        "null",
        "*",
    ]
    with served.client("") as client:
        for each in forged:
            headers = [(b"Authorization", f"Bearer {each}".encode())]
            assert client.get("/v1/models", headers=headers).status_code == 401, each
        for scheme in ("Basic", "Token", "BearerX", "Bearer:"):
            assert client.get("/v1/models", headers={"Authorization": f"{scheme} {token}"}).status_code == 401, scheme


def test_two_tokens_are_none(served: Served) -> None:
    """Who stands in front may look at the other one."""
    for order in ((served.both, "forged"), ("forged", served.both), (served.reader, served.scorer)):
        headers = [(b"Authorization", f"Bearer {token}".encode()) for token in order]
        with served.client("") as client:
            assert client.get("/v1/models", headers=headers).status_code == 401


@pytest.mark.parametrize("path", [PATH, "/v2/models/small/infer", "/v2/models/small/versions/1/infer"])
@pytest.mark.parametrize("end", ["%0A", "%0D", "%00", "%0D%0A", "%0a%0a", "/", "//", "%2F", ";x", "%20"])
def test_no_spelling_of_a_path_scores_with_a_token_that_only_reads(served: Served, path: str, end: str) -> None:
    with served.client(served.reader) as client:
        answer = client.post(f"{path}{end}", json=records(0))
    assert answer.status_code in {403, 404}, answer.text
    assert served.metrics.records["small"] == 0
    honest(served)


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "PATCH", "GET", "FOO"])
def test_another_method_is_no_way_in(served: Served, method: str) -> None:
    with served.client(served.reader) as client:
        assert client.request(method, PATH).status_code in {400, 404, 405}
    with served.client("") as client:
        assert client.request(method, PATH).status_code in {400, 401}


# --- what is sent -------------------------------------------------------------------------------------------------


def test_requests_in_one_go_are_answered_one_after_the_other(served: Served) -> None:
    asked = range(100)
    bodies = [msgspec.json.encode(records(number)) for number in asked]
    with connected(served) as pipelining:
        pipelining.sendall(b"".join(head_of(served, len(body)) + body for body in bodies))
        last = head_of(served, len(GOOD), "Connection: close") + GOOD
        pipelining.sendall(last)
        found = everything(pipelining)
    assert found.count(b"HTTP/1.1 200 OK") == len(asked) + 1
    answers = [piece.partition(b"\r\n\r\n")[2] for piece in found.split(b"HTTP/1.1 200 OK")[1:]]
    scores = [msgspec.json.decode(answer)["predictions"][0]["score"] for answer in answers]
    assert scores == [*(score_of(1, number) for number in asked), score_of(1, 0)]
    honest(served)


AMBIGUOUS = [
    ["Content-Length: 5", "Transfer-Encoding: chunked"],
    ["Content-Length: 5", "Content-Length: 6"],
    ["Content-Length: -1"],
    ["Content-Length: 1e3"],
    ["Content-Length: +5"],
    ["Content-Length: 0x10"],
    ["Content-Length: " + "9" * 30],
    ["Transfer-Encoding: chunked, identity"],
    ["Transfer-Encoding: gzip"],
    ["Transfer-Encoding : chunked"],
    ["X-Null: a\0b"],
    [" Folded: x"],
    ["No colon"],
]


@pytest.mark.parametrize("lines", AMBIGUOUS, ids=" ".join)
def test_a_body_whose_length_nobody_can_tell_hides_no_second_request(served: Served, lines: list[str]) -> None:
    hidden = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
    with connected(served) as smuggling:
        smuggling.sendall(head_of(served, None, *lines) + b"0\r\n\r\n" + hidden)
        smuggling.shutdown(socket.SHUT_WR)
        found = everything(smuggling)
    assert b" 200 " not in found
    assert found.count(b"HTTP/1.1 ") <= 1
    honest(served)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET http://elsewhere/ HTTP/9.9\r\n\r\n",
        b"\r\n" * 1_000,
        b"\0" * 1_000,
    ],
)
def test_what_is_no_request_is_told_so_or_let_go(served: Served, sent: bytes) -> None:
    with connected(served) as talking:
        talking.sendall(sent)
        talking.shutdown(socket.SHUT_WR)
        found = everything(talking)
    assert not found or found.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 401 "))
    honest(served)


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


def test_chunks_without_end_are_read_no_further_than_a_body_may_be(served: Served) -> None:
    with connected(served) as endless:
        endless.sendall(head_of(served, None, "Transfer-Encoding: chunked"))
        sent, limit = 0, served.settings.api_request_bytes
        with suppress(ConnectionResetError, BrokenPipeError):
            while sent < 20 * limit:
                endless.sendall(chunk(b" " * 65_536))
                sent += 65_536
        answered = everything(endless)
    assert answered.startswith(b"HTTP/1.1 413 ") or sent < 20 * limit
    honest(served)


def test_chunks_that_dawdle_keep_their_place_no_longer_than_their_deadline(served: Served) -> None:
    with connected(served) as slow:
        slow.sendall(head_of(served, None, "Transfer-Encoding: chunked", "X-Request-Deadline-Ms: 500"))
        slow.sendall(chunk(b"{"))
        assert everything(slow).startswith(b"HTTP/1.1 408 ")
    honest(served)


@pytest.mark.parametrize("size", ["zz", "-5", "fffffffffffffffffffff", "5;" + "x" * 100_000])
def test_a_chunk_of_no_size_ends_its_request(served: Served, size: str) -> None:
    with connected(served) as strange:
        with suppress(ConnectionResetError, BrokenPipeError):
            strange.sendall(head_of(served, None, "Transfer-Encoding: chunked", "X-Request-Deadline-Ms: 500"))
            strange.sendall(f"{size}\r\nhello\r\n".encode())
        found = everything(strange)
    assert b" 200 " not in found
    honest(served)


@pytest.mark.parametrize("sent", [0, 1, len(GOOD) // 2, len(GOOD) - 1])
def test_half_a_body_and_gone(served: Served, sent: int) -> None:
    for _ in range(20):
        with connected(served) as leaving:
            leaving.sendall(head_of(served, len(GOOD)) + GOOD[:sent])
    honest(served)
    assert served.metrics.records["small"] == 1  # the honest one's


@pytest.mark.parametrize("path", [PATH, "/v2/models/small/infer"])
@pytest.mark.parametrize(
    "body",
    [
        b'{"records":[' + b"[" * 500_000,
        b'{"records":[' + b"[" * 100_000 + b"]" * 100_000 + b"]}",
        b'{"records":[' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"]}",
        b'{"inputs":' + b"[" * 500_000,
        b"[" * 500_000,
        b'{"records":[{"x":' + b"9" * 500_000 + b"}]}",
        b'{"records":["' + b"\\u0000" * 80_000 + b'"]}',
    ],
    ids=lambda body: body[:20].decode(),
)
def test_what_is_nested_without_end_or_never_ends_is_malformed(served: Served, path: str, body: bytes) -> None:
    with served.client() as client:
        answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 413, 422}, answer.text[:200]
    honest(served)


@pytest.mark.parametrize(
    "kind", ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "", "json", "*/*"]
)
def test_a_body_of_another_type_is_not_read_as_json(served: Served, kind: str) -> None:
    with served.client() as client:
        answer = client.post(PATH, content=GOOD, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["type"]) == (415, "urn:baton:problem:wrong-media-type")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "identity, gzip", "x"])
def test_a_packed_body_is_not_unpacked(served: Served, coding: str) -> None:
    with served.client() as client:
        headers = {"Content-Type": "application/json", "Content-Encoding": coding}
        assert client.post(PATH, content=GOOD, headers=headers).status_code == 415


@pytest.mark.parametrize(
    "body", [b'{"records":[{"x":1}],"records":[{"x":2}]}', b'{"records":[],"records":[{"id":"a"}]}']
)
def test_a_body_that_says_records_twice_is_malformed(served: Served, body: bytes) -> None:
    """One of them would go unanswered."""
    with served.client() as client:
        answer = client.post(PATH, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, "twice" in answer.json()["detail"]) == (400, True)


def test_a_field_called_records_is_no_second_list(served: Served) -> None:
    with served.client() as client:
        assert client.post(PATH, json=records(0, records=[1])).status_code in {200, 422}
