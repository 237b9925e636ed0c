"""What ties a worker to its supervisor: it ends with it, and says that its hot thread comes round."""

import ctypes
import os
import signal
import sys

import msgspec

from scoring.contract.decoding import decodable
from scoring.service.ending import EXIT_AGAIN

_PR_SET_PDEATHSIG = 1


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """Where a supervisor puts a worker.

    Attributes:
        supervisor: its process id.
        lifeline: file descriptor that the worker writes to as long as its hot thread comes round.
        restarts: how often this slot was started before.
        pinned: whether the worker keeps to a core of its own.
    """

    deployment: str
    slot: int
    models: tuple[str, ...]
    supervisor: int
    lifeline: int
    restarts: int = 0
    pinned: bool = False


decodable(Post)


def read_post(text: str) -> Post:
    """The post as a supervisor hands it to its worker."""
    return msgspec.json.decode(text, type=Post)


def end_with(supervisor: int) -> None:
    """From now on SIGKILL ends this process when ``supervisor`` ends, however it does (prctl(2), PR_SET_PDEATHSIG).

    Killing a worker is always safe, and nothing gentler is certain: one that hangs would stay, and keep its slot.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != supervisor:  # it ended before that call
        os._exit(EXIT_AGAIN)


class Lifeline:
    """The worker's end of the pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)
        os.set_inheritable(descriptor, False)

    def say(self) -> None:
        """The hot thread comes round. A pipe that is full or closed is no harm: the supervisor is busy, or gone."""
        try:
            os.write(self._descriptor, b".")
        except OSError:
            return
