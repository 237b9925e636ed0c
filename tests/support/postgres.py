"""A real PostgreSQL for the tests: one server for the session, on a socket of its own, with a database per test."""

import os
import pwd
import random
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.support.leftovers import command_of

INSTALL = "apt-get install -y postgresql"
# Recovery after a crash, on a machine that others keep busy.
_START_WITHIN_S = 180.0

MakeDatabase = Callable[[], str]


class PostgresServer:
    """A server whose socket is in ``folder``; it trusts whoever can open that folder, and listens nowhere else.

    What it holds outlives ``kill``, so ``start`` goes on with it.

    Args:
        fsync: whether it waits for its disk, which only a crash of the machine would show.
    """

    def __init__(self, folder: Path, *, fsync: bool = False) -> None:
        self.folder = folder
        self._fsync = "on" if fsync else "off"
        self._user = _unprivileged_user()
        self._data = folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        if self._user is not None:
            shutil.chown(folder, self._user, self._user)
        _run(
            [_program("initdb"), "-D", str(self._data), "-U", "postgres", "-A", "trust", "--no-sync"],
            self._user,
            folder,
        )

    def start(self) -> None:
        """Start, or start again, and return when it serves."""
        options = ["-c", "listen_addresses=", "-c", f"fsync={self._fsync}", "-c", "max_connections=60"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [_program("postgres"), "-D", str(self._data), *options, "-k", str(self.folder)],
                stdout=log,
                stderr=log,
                user=self._user,
                cwd=self.folder,
            )
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Return when it serves: after a crash of one of its processes it recovers first."""
        assert self._process is not None
        _wait_until_ready(self._process, self.folder)

    def stop(self) -> None:
        """End it in order, whoever is connected."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(_START_WITHIN_S)

    def kill(self) -> None:
        """End all of its processes at once, as a crash would."""
        if self._process is not None:
            doomed = [psutil.Process(self._process.pid), *psutil.Process(self._process.pid).children()]
            for process in doomed:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(doomed, _START_WITHIN_S)
            self._process.wait(_START_WITHIN_S)

    def kill_one(self, chooser: random.Random) -> bool:
        """End a process that serves a client; the server then throws all clients out. False where none was served."""
        assert self._process is not None
        children = psutil.Process(self._process.pid).children()
        serving = [process for process in children if "postgres: postgres" in command_of(process)]
        try:
            if serving:
                chooser.choice(serving).kill()
        except psutil.NoSuchProcess:
            return False
        return bool(serving)


@contextmanager
def postgres_server() -> Iterator[Path]:
    """The folder of the socket of a server."""
    folder = Path(tempfile.mkdtemp(prefix="baton-postgres-"))
    try:
        server = PostgresServer(folder)
        server.start()
        try:
            yield folder
        finally:
            server.stop()
    finally:
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
