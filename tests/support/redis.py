"""A real Redis for the tests, on a port of its own, with a password as on a cluster."""

import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from local.ports import free_ports

INSTALL = "apt-get install -y redis-server"
_START_WITHIN_S = 30.0


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Run one that keeps nothing; gives its URL with the password."""
    program = shutil.which("redis-server") or pytest.fail(f"redis-server is not installed; run: {INSTALL}")
    (port,) = free_ports(1)
    password = secrets.token_urlsafe(18)
    settings = f'bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave ""\nappendonly no\n'
    with (folder / "redis.log").open("wb") as log:
        server = subprocess.Popen([program, "-"], stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=folder)
    assert server.stdin is not None
    server.stdin.write(settings.encode())
    server.stdin.close()
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    try:
        _wait_until_ready(server, url, folder)
        yield url
    finally:
        server.terminate()
        server.wait(_START_WITHIN_S)


def _wait_until_ready(server: "subprocess.Popen[bytes]", url: str, folder: Path) -> None:
    deadline = time.monotonic() + _START_WITHIN_S
    with redis.Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
            except redis.ConnectionError:
                if server.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"Redis did not start:\n{(folder / 'redis.log').read_text()[-2000:]}")
                time.sleep(0.05)
            else:
                return
