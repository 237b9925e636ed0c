"""``baton api`` beside a worker, on a real broker: the same scores, swaps under load, outages, a clean end."""

import json
import os
import signal
import subprocess
import threading

import httpx
import pytest

from local.ports import free_ports
from scoring.contract.notice import Kind
from tests.support.api_ground import ApiGround
from tests.support.arena import wait_until
from tests.support.bundles import MOMENT, score_of
from tests.support.ground import WEATHER, Warehouse, record, registry_away

pytestmark = pytest.mark.integration


def test_ten_thousand_records_get_the_scores_that_the_stream_gives_them(ground: ApiGround) -> None:
    ground.promote(1)
    ground.start()
    api = ground.serve()
    api.wait_for_version(1)
    numbers = range(10_000)
    ground.feed(len(numbers))
    with api.client() as client:
        found = [
            prediction
            for start in range(0, len(numbers), 500)
            for prediction in api.score(client, [*map(record, numbers[start : start + 500])]).json()["predictions"]
        ]
    ground.wait_until_done()
    streamed = {prediction["pass_through"]["id"]: prediction for prediction in ground.predictions()}
    lineage = {"model", "version", "sequence", "manifest_digest", "scored_at", "input"}
    for prediction in found:
        own = streamed[prediction["pass_through"]["id"]]
        assert prediction == {name: value for name, value in own.items() if name not in lineage}
    assert len(streamed) == len(found) == len(numbers)


def test_it_waits_for_a_first_promotion_then_swaps_under_load_without_dropping_a_request(ground: ApiGround) -> None:
    api = ground.serve()
    with api.client() as client:
        answer = api.score(client, [record(0)])
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert client.get("/readyz").status_code == 503
    ground.promote(1)
    api.wait_for_version(1)
    stop, answers = threading.Event(), list[httpx.Response]()

    def ask() -> None:
        with api.client() as client:
            while not stop.is_set():
                answers.append(api.score(client, [record(number) for number in range(8)]))

    def asked_on() -> None:
        """The version that is live now has answered: of more answers than threads one was asked for behind the swap."""
        so_far = len(answers)
        wait_until(lambda: len(answers) > so_far + len(threads), 60, "nobody asks any more")

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    asked_on()
    for version in (2, 3, 4):
        ground.promote(version)
        api.wait_for_version(version)
        asked_on()
    stop.set()
    for thread in threads:
        thread.join(60)
    assert {answer.status_code for answer in answers} == {200}
    for answer in answers:
        told = answer.json()
        scores = [prediction["score"] for prediction in told["predictions"]]
        assert scores == [score_of(int(told["version"]), number) for number in range(8)]
    assert {answer.json()["version"] for answer in answers} == {"1", "2", "3", "4"}


def test_a_version_that_fails_its_checks_is_refused_and_the_old_one_scores_on(ground: ApiGround) -> None:
    ground.promote(1)
    api = ground.serve()
    api.wait_for_version(1)
    ground.register(2, golden_error=0.25)
    ground.notify(2, 2)
    with api.client() as client:
        model = f"/v1/models/{ground.model}"
        wait_until(lambda: client.get(model).json()["state"] == "refused", 60, "it was not refused")
        told = client.get(model).json()
        assert (told["version"], told["pending"]) == ("1", 2)
        assert "golden rows differ" in told["reason"]
        assert api.score(client, [record(0)]).json()["version"] == "1"
        ground.notify(3, 1, kind=Kind.RETIRE)
        wait_until(lambda: api.score(client, [record(0)]).status_code == 410, 60, "it was not retired")


def test_it_scores_from_its_cache_while_registry_and_broker_are_away(ground: ApiGround) -> None:
    ground.promote(1)
    first = ground.serve()
    first.wait_for_version(1)
    first.process.send_signal(signal.SIGTERM)
    assert first.process.wait(60) == 0
    registry_away(ground.folder)
    ground.variables["BATON_KAFKA_BOOTSTRAP"] = f"127.0.0.1:{free_ports(1)[0]}"
    second = ground.serve()
    second.wait_for_version(1)  # it waits for the notices first, as long as a worker does
    with second.client() as client:
        assert api_scores(second.score(client, [record(9)])) == [score_of(1, 9)]


def api_scores(answer: httpx.Response) -> list[float]:
    assert answer.status_code == 200, answer.text
    return [prediction["score"] for prediction in answer.json()["predictions"]]


def test_lookups_find_what_they_find_for_the_stream_and_an_outage_is_told(ground: ApiGround) -> None:
    warehouse = Warehouse(ground.folder / "warehouse.sqlite")
    warehouse.observe([("blue", MOMENT, 7.5)])
    ground.variables["BATON_CONNECTIONS__WAREHOUSE"] = warehouse.url
    ground.promote_with_weather(1)
    ground.start()
    api = ground.serve()
    api.wait_for_version(1)
    ground.feed(3)
    ground.wait_until_done()
    with api.client() as client:
        found = api.score(client, [record(number) for number in range(3)]).json()["predictions"]
        streamed = {each["pass_through"]["id"]: each for each in ground.predictions()}
        for prediction in found:
            own = streamed[prediction["pass_through"]["id"]]
            assert (prediction["score"], prediction["lookups"]) == (own["score"], own["lookups"])
        assert found[0]["lookups"] == {WEATHER.name: {"wind": 7.5}}
        warehouse.go_away()
        answer = api.score(client, [record(60)])
        assert (answer.status_code, answer.json()["type"]) in {
            (503, "urn:baton:problem:unavailable"),
            (504, "urn:baton:problem:deadline-passed"),
        }
        warehouse.come_back()


def test_several_processes_share_a_port_replace_each_other_and_end_together(ground: ApiGround) -> None:
    ground.promote(1)
    api = ground.serve("--processes", "2")
    api.wait_for_version(1)
    log = api.log.read_text
    wait_until(lambda: log().count('"api.started"') == 2, 60, "two processes did not start")
    wait_until(lambda: log().count('"version.taken_in"') == 2, 60, "one of them has no version")
    for number in range(30):  # each connection may be given to another process
        with api.client() as client:
            assert api_scores(api.score(client, [record(number)])) == [score_of(1, number)]
    killed = json.loads(next(line for line in log().splitlines() if '"slot.started"' in line))["pid"]
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: log().count('"version.taken_in"') == 3, 60, "nobody took its place")
    with api.client() as client:
        assert api_scores(api.score(client, [record(0)])) == [score_of(1, 0)]
    api.process.send_signal(signal.SIGTERM)
    assert api.process.wait(60) == 0
    assert "must_exit" not in log()


def test_it_speaks_tls_where_it_is_given_a_certificate(ground: ApiGround) -> None:
    certificate, key = ground.folder / "certificate.pem", ground.folder / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*made, *names], check=True, capture_output=True)
    ground.promote(1)
    api = ground.serve("--certificate", str(certificate), "--key", str(key))
    api.wait_for_version(1)
    assert api.url.startswith("https://")
    with api.client() as client:
        assert api_scores(api.score(client, [record(9)])) == [score_of(1, 9)]


def test_a_slot_is_served_once(ground: ApiGround) -> None:
    ground.promote(1)
    ground.serve()
    with pytest.raises(AssertionError, match="is taken on this host"):
        ground.serve()
