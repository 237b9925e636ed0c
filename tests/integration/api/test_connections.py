"""More connections than a process can have: it goes on to answer those it has, and takes up others afterwards."""

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import httpx
import psutil
import pytest

from scoring.api.connection import RESERVED_DESCRIPTORS
from tests.support.api_ground import Api, ApiGround
from tests.support.arena import wait_until
from tests.support.bundles import score_of
from tests.support.ground import record

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
DESCRIPTORS, MORE = 400, 1_000
# What the system's limits let this process open; ten thousand are tried where it does.
TEN_THOUSAND = 10_000


@contextmanager
def flooded(api: Api, count: int) -> Iterator[list[socket.socket]]:
    """So many connections that never ask for anything."""
    port = httpx.URL(api.url).port or 0
    with ExitStack() as stack:
        opened = []
        for _ in range(count):
            with suppress(OSError):  # it may end them as fast as they come
                opened.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), 10)))
        yield opened


def score(api: Api, client: httpx.Client) -> None:
    answer = api.score(client, [record(9)])
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"][0]["score"] == score_of(1, 9)


def flood(api: Api, count: int) -> None:
    """Scores go on under it, descriptors are left, and a new connection is taken up once it is over."""
    process = psutil.Process(api.process.pid)
    with api.client() as client:
        score(api, client)  # its connection stays
        with flooded(api, count) as opened:
            assert len(opened) >= 0.9 * count
            for _ in range(20):
                score(api, client)
            soft, _ = process.rlimit(psutil.RLIMIT_NOFILE)
            assert process.num_fds() <= soft - RESERVED_DESCRIPTORS / 2
    wait_until(lambda: process.num_fds() < RESERVED_DESCRIPTORS, 60, "connections stay")
    with api.client() as client:
        score(api, client)
    assert "out of system resource" not in api.log.read_text()
    assert "Too many open files" not in api.log.read_text()


def test_a_flood_leaves_descriptors_for_what_scoring_needs(ground: ApiGround) -> None:
    ground.promote(1)
    api = ground.serve(under=["prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}"])
    api.wait_for_version(1)
    flood(api, MORE)
    ground.promote(2)  # to fetch and try a version takes descriptors, too
    api.wait_for_version(2)


def test_ten_thousand_connections_are_bounded_in_number_and_memory(ground: ApiGround) -> None:
    _, hard = psutil.Process().rlimit(psutil.RLIMIT_NOFILE)
    if 0 <= hard < TEN_THOUSAND + 1_000:
        pytest.skip(f"this process may open {hard} files only")
    psutil.Process().rlimit(psutil.RLIMIT_NOFILE, (hard, hard))
    ground.promote(1)
    api = ground.serve()
    api.wait_for_version(1)
    before_bytes = psutil.Process(api.process.pid).memory_info().rss
    flood(api, TEN_THOUSAND)
    assert psutil.Process(api.process.pid).memory_info().rss - before_bytes < 512 * 2**20


def test_a_process_that_is_killed_loses_its_own_requests_alone(ground: ApiGround) -> None:
    ground.promote(1)
    api = ground.serve("--processes", "2")
    api.wait_for_version(1)
    log = api.log.read_text
    wait_until(lambda: log().count('"version.taken_in"') == 2, 120, "one of them has no version")
    children = psutil.Process(api.process.pid).children()
    assert len(children) == 2
    clients = [api.client() for _ in range(16)]  # the system spreads their connections over both
    try:
        for client in clients:
            score(api, client)
        children[0].send_signal(signal.SIGKILL)
        children[0].wait(30)
        kept = [client for client in clients if _answered(api, client)]
        assert kept
        until_s = time.monotonic() + 120
        while log().count('"version.taken_in"') < 3:
            assert time.monotonic() < until_s, "nobody took its place"
            score(api, kept[0])  # the other one answers all the while
    finally:
        for client in clients:
            client.close()


def _answered(api: Api, client: httpx.Client) -> bool:
    """Whether the process that its connection leads to is still there."""
    try:
        score(api, client)
    except httpx.TransportError:
        return False
    return True
