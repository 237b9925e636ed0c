"""What a process has in hand is bounded, and every request has a deadline."""

import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from scoring.worker.models import ModelTable
from tests.support.bundles import score_of
from tests.support.serving import Held, Served, records, scores_of, wait_until

PATH = "/v1/models/small/score"


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("urn:baton:problem:")


def many(served: Served, times: int, body: object) -> list[Future[httpx.Response]]:
    """Requests at the same time."""
    threads = ThreadPoolExecutor(times)

    def ask() -> httpx.Response:
        with served.client() as client:
            return client.post(PATH, json=body)

    found = [threads.submit(ask) for _ in range(times)]
    threads.shutdown(wait=False)
    return found


@pytest.mark.parametrize(
    ("limits", "numbers", "limit"),
    [({"api_requests": 3}, 1, "requests"), ({"api_records": 30}, 10, "records"), ({"api_bytes": 65_536}, 240, "bytes")],
)
def test_one_request_more_than_there_is_room_for_is_told_to_come_back(
    tmp_path: Path, limits: dict[str, Any], numbers: int, limit: str
) -> None:
    held, body = Held(), records(*range(numbers))
    with Served(tmp_path, lookups=held, **limits) as served, served.client() as client:
        served.promote()
        waiting = many(served, 3, body)
        wait_until(lambda: served.service.hand.records == 3 * numbers)
        answer = client.post(PATH, json=body)
        assert code(answer) == (429, "queue-full")
        assert (answer.headers["retry-after"], answer.json()["limit"]) == ("1", limit)
        assert client.get("/v1/models").status_code == 200  # reading needs no room
        held.go_on.set()
        assert [future.result().status_code for future in waiting] == [200, 200, 200]
        assert client.post(PATH, json=body).status_code == 200
        hand = served.service.hand
        wait_until(lambda: (hand.requests, hand.records, hand.size_bytes) == (0, 0, 0))


def test_a_single_request_is_never_too_much(tmp_path: Path) -> None:
    with Served(tmp_path, api_requests=1, api_records=1, maximum_batch_records=1) as served, served.client() as client:
        served.promote()
        assert len(scores_of(client.post(PATH, json=records(*range(50))))) == 50


def test_concurrent_requests_are_scored_together(tmp_path: Path) -> None:
    held = Held()
    with Served(tmp_path, lookups=held) as served:
        served.promote()
        waiting = many(served, 20, records(0, 9))
        wait_until(lambda: served.service.hand.records == 40)
        held.go_on.set()
        assert [scores_of(future.result()) for future in waiting] == [[score_of(1, 0), score_of(1, 9)]] * 20
        assert served.metrics.batch_records.count <= 3


def test_a_request_whose_deadline_passes_is_answered_and_not_scored(tmp_path: Path) -> None:
    held = Held()
    with Served(tmp_path, lookups=held) as served, served.client() as client:
        served.promote()
        (first,) = many(served, 1, records(0))
        assert held.asked.acquire(timeout=60)  # the scoring thread is busy
        answer = client.post(PATH, json=records(0, 1, 2), headers={"X-Request-Deadline-Ms": "500"})
        assert code(answer) == (504, "deadline-passed")
        held.go_on.set()
        assert first.result().status_code == 200
        client.post(PATH, json=records(0))
        assert served.metrics.records["small"] == 2  # those of the first and of the last


def test_a_deadline_that_cannot_be_met_is_not_waited_for(tmp_path: Path) -> None:
    held = Held()
    with Served(tmp_path, lookups=held) as served, served.client() as client:
        served.promote()
        (first,) = many(served, 1, records(0))
        assert held.asked.acquire(timeout=60)
        served.scoring._batch_s = 5.0
        answer = client.post(PATH, json=records(0), headers={"X-Request-Deadline-Ms": "4000"})
        assert code(answer) == (503, "deadline-out-of-reach")
        assert "about 5001 ms" in answer.json()["detail"]
        held.go_on.set()
        assert first.result().status_code == 200
        assert served.metrics.records["small"] == 1


def test_what_took_long_before_keeps_nobody_from_trying_again(served: Served) -> None:
    served.scoring._batch_s = 60.0
    with served.client() as client:
        for _ in range(3):
            assert client.post(PATH, json=records(0)).status_code == 200
    assert served.scoring._batch_s < 60.0


def test_no_request_gets_more_time_than_the_longest_deadline(tmp_path: Path) -> None:
    held = Held()
    with Served(tmp_path, lookups=held, api_maximum_deadline_ms=500) as served, served.client() as client:
        served.promote()
        answer = client.post(PATH, json=records(0), headers={"X-Request-Deadline-Ms": "999999"})
        assert code(answer) == (504, "deadline-passed")
        held.go_on.set()


@pytest.mark.parametrize("deadline", ["0", "-1", "soon", "1.5", "1e3", "9" * 12, ""])
def test_a_deadline_that_is_no_number_of_milliseconds_is_malformed(served: Served, deadline: str) -> None:
    with served.client() as client:
        answer = client.post(PATH, json=records(0), headers={"X-Request-Deadline-Ms": deadline})
    assert code(answer) == (400, "malformed-request")


def test_a_body_that_dawdles_keeps_its_place_no_longer_than_its_deadline(served: Served) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.both}\r\nContent-Length: 100\r\n"
    head += "Content-Type: application/json\r\nX-Request-Deadline-Ms: 500\r\n\r\n"
    with socket.create_connection(("127.0.0.1", httpx.URL(served.url).port or 0), 60) as slow:
        slow.sendall(head.encode() + b'{"rec')
        assert slow.recv(65_536).startswith(b"HTTP/1.1 408 ")
    wait_until(lambda: served.service.hand.requests == 0)


def test_a_client_that_goes_away_leaves_nothing_behind(tmp_path: Path) -> None:
    held = Held()
    with Served(tmp_path, lookups=held) as served, served.client() as client:
        served.promote()
        body = msgspec.json.encode(records(0))
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.both}\r\n"
        head += f"Content-Length: {len(body)}\r\nContent-Type: application/json\r\n\r\n"
        with socket.create_connection(("127.0.0.1", httpx.URL(served.url).port or 0), 60) as impatient:
            impatient.sendall(head.encode() + body)
            assert held.asked.acquire(timeout=60)
        held.go_on.set()
        wait_until(lambda: served.service.hand.requests == 0)
        assert client.post(PATH, json=records(0)).status_code == 200


def test_swaps_under_load_drop_no_request_and_no_request_mixes_versions(served: Served) -> None:
    stop, answers = threading.Event(), list[httpx.Response]()
    body = records(*range(16))

    def ask() -> None:
        with served.client() as client:
            while not stop.is_set():
                answers.append(client.post(PATH, json=body))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for version in range(2, 22):
        served.promote(version)
        wait_until(more_than(answers, len(answers) + len(threads)))  # of which those may have been scored before
    stop.set()
    for thread in threads:
        thread.join(60)
    for answer in answers:
        version = int(answer.json()["version"])
        assert scores_of(answer) == [score_of(version, number) for number in range(16)]
    assert {int(answer.json()["version"]) for answer in answers} >= set(range(2, 22))


def more_than(found: list[httpx.Response], count: int) -> Callable[[], bool]:
    return lambda: len(found) > count


def test_what_is_in_hand_when_the_process_is_told_to_stop_is_answered(tmp_path: Path) -> None:
    held = Held()
    with Served(tmp_path, lookups=held) as served:
        served.promote()
        waiting = many(served, 5, records(0))
        wait_until(lambda: served.service.hand.records == 5)
        served.stop()
        held.go_on.set()
        assert [future.result().status_code for future in waiting] == [200] * 5


def test_the_metrics_count_what_became_of_requests_and_records(served: Served) -> None:
    with served.client() as client:
        client.post(PATH, json=records(0, 1))
        client.post(PATH, json={"records": [{}]})
        client.post(PATH, json={})
        client.get("/v1/models")
        client.get("/nowhere")
    metrics = served.metrics
    # Both are counted once the answer is on its way.
    wait_until(lambda: (sum(metrics.requests.values()), sum(metrics.problems.values())) == (5, 3))
    assert metrics.requests == {
        ("score", "200"): 1,
        ("score", "422"): 1,
        ("score", "400"): 1,
        ("list_models", "200"): 1,
        ("other", "404"): 1,
    }
    assert metrics.problems == {"unscorable": 1, "malformed-request": 1, "not-found": 1}
    assert (metrics.records["small"], metrics.failures["small", "missing-field"]) == (3, 1)


def test_a_version_that_is_being_replaced_is_live_until_the_next_one_is(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget, seen = ModelTable._forget, list[str]()

    def looking(table: ModelTable, model: str) -> None:
        forget(table, model)
        seen.append(served.service.live(model).version)  # as a request would that comes at this very moment

    monkeypatch.setattr(ModelTable, "_forget", looking)
    served.promote(2)
    served.promote(3)
    assert seen == ["1", "2"]
    assert served.service.live("small").version == "3"
