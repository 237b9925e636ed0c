"""Hostile records: each gets the reason that its dead letter would have, and spoils no other one of its request."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from scoring.contract.dead_letter import DeadLetter
from scoring.scorer.bundle import open_bundle
from scoring.worker.scoring_step import outputs_of
from tests.faults.poison import kinds
from tests.faults.poison.in_process import MOMENT, Consumed, NoLookups, bench
from tests.faults.poison.records import KINDS, SCHEMA, Sent, good, hostile
from tests.support.bundles import MOMENT as NOW
from tests.support.bundles import make_bundle
from tests.support.serving import Served, active_of

assert kinds.__name__  # importing them registers them
PATH = "/v1/models/small/score"
SEED, OF_EACH = 20_261_122, 6


def values() -> Iterator[bytes]:
    """Hostile values of every kind, with good ones in between."""
    for index in range(OF_EACH * len(KINDS)):
        for sent in (hostile(SEED, index, index), good(SEED, index)):
            if sent.value is not None:  # no request can hold a null
                yield sent.value


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    digest = make_bundle(folder / "bundle", 1, schema=SCHEMA)
    with Served(folder, clock_s=NOW.timestamp) as made:
        made.bring(active_of(open_bundle(folder / "bundle", digest)))
        yield made


def judged(folder: Path, found: Sequence[bytes]) -> list[str | None]:
    """The reasons of the dead letters that these values become in the stream; None for predictions."""
    active = bench(folder)
    now_ms = int(NOW.timestamp() * 1_000)
    sent = [Sent(kind="", number=0, value=value, key=b"k", headers=(), timestamp_ms=now_ms) for value in found]
    messages: list[Any] = [Consumed(each, offset) for offset, each in enumerate(sent)]
    outputs = outputs_of(active, messages, "id", NoLookups(), MOMENT)
    return [
        None
        if output.topic == active.topics.predictions
        else DeadLetter.from_headers(output.headers or []).reason.value
        for output in outputs
    ]


def reasons(served: Served, content: bytes, media_type: str) -> list[str | None]:
    """What the API says of the same."""
    with served.client() as client:
        answer = client.post(PATH, content=content, headers={"Content-Type": media_type})
    assert answer.status_code in {200, 422}, answer.text
    document: dict[str, Any] = answer.json()
    found: list[str | None] = [None] * len(document["predictions"])
    for failure in document.get("failures", ()):
        found[failure["index"]] = failure["reason"]
    assert [each is None for each in document["predictions"]] == [reason is not None for reason in found]
    return found


def test_every_hostile_record_gets_the_reason_that_its_dead_letter_has(served: Served, tmp_path: Path) -> None:
    found = [value for value in values() if b"\n" not in value]
    expected = judged(tmp_path / "bundle", found)
    for start in range(0, len(found), 200):
        part = found[start : start + 200]
        assert reasons(served, b"\n".join(part), "application/x-ndjson") == expected[start : start + 200]
    assert len(set(expected)) >= 9


def test_so_does_one_in_the_midst_of_a_document_unless_nobody_can_tell_where_it_ends(
    served: Served, tmp_path: Path
) -> None:
    found = [value.strip(b" \t\r\n") for value in values()]  # white space between records is nobody's
    expected = judged(tmp_path / "bundle", found)
    neighbour = good(SEED, 1).value or b""
    unreadable = 0
    with served.client() as client:
        for value, reason in zip(found, expected, strict=True):
            body = b'{"records":[%b,%b,%b]}' % (neighbour, value, neighbour)
            answer = client.post(PATH, content=body, headers={"Content-Type": "application/json"})
            if answer.status_code == 400:
                unreadable += 1
                continue
            told = {failure["index"]: failure["reason"] for failure in answer.json().get("failures", ())}
            if len(answer.json()["predictions"]) == 3:
                assert told.get(1) == reason
                assert answer.json()["predictions"][0] is not None
                assert answer.json()["predictions"][2] is not None
    assert unreadable < len(found) / 6
