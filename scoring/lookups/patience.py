"""Asks with a deadline. A database that accepts a query and never answers must not stop the worker."""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from scoring.contract.errors import Unavailable

Answer = TypeVar("Answer")


class Patience(Generic[Answer]):
    """Runs one call at a time in a thread of its own, and stops waiting for it after ``timeout_s``.

    A call that got no answer is left behind: no client can interrupt every query. Until it has ended nothing more is
    asked, so that at most one thread is held up.

    Args:
        what: names what is asked, in messages.
    """

    def __init__(self, what: str, timeout_s: float) -> None:
        self._what = what
        self._timeout_s = timeout_s
        self._thread: threading.Thread | None = None

    def ask(self, call: Callable[[], Answer]) -> Answer:
        """The call's answer, or its exception.

        Raises:
            Unavailable: there is no answer in time, or an earlier call has not ended.
        """
        if self._thread is not None and self._thread.is_alive():
            raise Unavailable(f"{self._what}: an earlier query has had no answer yet")
        answers: SimpleQueue[Answer | Exception] = SimpleQueue()
        self._thread = threading.Thread(target=_run, args=(call, answers), name="lookup", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # the host allows no more threads: the records have no part in it
            self._thread = None
            raise Unavailable(f"{self._what}: {error}") from error
        try:
            found = answers.get(timeout=self._timeout_s)
        except Empty:
            raise Unavailable(f"{self._what}: no answer within {self._timeout_s:g} s") from None
        self._thread = None  # it has answered, and may take a moment to end
        if isinstance(found, Exception):
            raise found
        return found


def _run(call: Callable[[], Answer], answers: "SimpleQueue[Answer | Exception]") -> None:
    try:
        answers.put(call())
    except Exception as error:  # whoever waits raises it
        answers.put(error)
