"""Lives forked from a process that has everything imported, so that fifty of them cost a minute or two.

``python -m tests.faults.backfill.nursery LOG`` takes the path of a ``Life`` a line, and answers with its exit status.
It has no threads and opens nothing, so that a fork of it is as good as a fresh interpreter.
"""

import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Self

import msgspec

from tests.faults.backfill import dying
from tests.faults.backfill.dying import LIFE, Life
from tests.support.deciders import PROJECT


class Nursery:
    """Starts lives. A context manager: leaving it ends the nursery."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.log = folder / "lives.log"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.backfill.nursery", str(self.log)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
            env={**os.environ, "PYTHONPATH": f"{PROJECT}:{PROJECT / 'plugins'}", "OMP_NUM_THREADS": "1"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)

    def live(self, life: Life) -> int:
        """One life, and all that it started; its exit status, negative where a signal ended it."""
        path = self._folder / f"life-{uuid.uuid4().hex}.json"
        path.write_bytes(msgspec.json.encode(life))
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    @property
    def said(self) -> str:
        """The end of what all lives wrote."""
        return self.log.read_text(errors="replace")[-3_000:]


def fork(path: str, log: str) -> int:
    """One life in a fork of this process; returns its exit status."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    status = 70
    try:
        opened = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(opened, 1)
        os.dup2(opened, 2)
        os.environ[LIFE] = path
        dying.plant(dying.read_life())
        status = dying.main()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    finally:
        sys.stderr.flush()
        os._exit(status)


def serve(log: str) -> None:
    """Take lives until there are no more."""
    import psycopg  # noqa: F401 - what takes long is imported before the first fork

    for line in iter(sys.stdin.readline, ""):
        sys.stdout.write(f"{fork(line.strip(), log)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve(sys.argv[1])
