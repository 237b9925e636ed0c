"""A real PostgreSQL for the tests: one server for the session, on a socket of its own, with a database per test."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg
import pytest

INSTALL = "apt-get install -y postgresql"
_START_WITHIN_S = 30.0

MakeDatabase = Callable[[], str]


@contextmanager
def postgres_server() -> Iterator[Path]:
    """The folder of the server's socket. The server trusts whoever can open that folder, and listens nowhere else."""
    folder = Path(tempfile.mkdtemp(prefix="baton-postgres-"))
    user = _unprivileged_user()
    if user is not None:
        shutil.chown(folder, user, user)
    data = folder / "data"
    _run([_program("initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "--no-sync"], user, folder)
    options = ["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=60", "-k", str(folder)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [_program("postgres"), "-D", str(data), *options], stdout=log, stderr=log, user=user, cwd=folder
        )
    try:
        _wait_until_ready(server, folder)
        yield folder
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(_START_WITHIN_S)
        shutil.rmtree(folder, ignore_errors=True)


def create_database(socket: Path) -> str:
    """Make an empty database; returns its SQLAlchemy URL."""
    name = f"d{uuid.uuid4().hex}"
    with psycopg.connect(_address(socket, "postgres"), autocommit=True) as connection:
        connection.execute(f"create database {name}".encode())
    return f"postgresql+psycopg://postgres@/{name}?host={socket}"


@pytest.fixture(scope="session")
def postgres_socket() -> Iterator[Path]:
    """The socket of the session's server."""
    with postgres_server() as folder:
        yield folder


@pytest.fixture
def make_postgres_database(postgres_socket: Path) -> MakeDatabase:
    """Makes an empty database and returns its SQLAlchemy URL."""
    return partial(create_database, postgres_socket)


def _wait_until_ready(server: "subprocess.Popen[bytes]", folder: Path) -> None:
    deadline = time.monotonic() + _START_WITHIN_S
    while True:
        try:
            psycopg.connect(_address(folder, "postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            log = (folder / "log").read_text()[-2000:]
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL did not start:\n{log}")
            time.sleep(0.05)
        else:
            return


def _address(folder: Path, database: str) -> str:
    return f"host={folder} user=postgres dbname={database}"


def _program(name: str) -> str:
    """A program of the server; Debian keeps them off the path."""
    packaged = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    found = str(packaged[0]) if packaged else shutil.which(name)
    if found is None:
        pytest.fail(f"PostgreSQL's {name} is not installed; run: {INSTALL}")
    return found


def _unprivileged_user() -> str | None:
    """Whom to run the server as: it refuses to run as root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _run(command: list[str], user: str | None, folder: Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, user=user, cwd=folder)
    assert done.returncode == 0, f"{command[0]} failed: {done.stderr}"
