"""Run a backfill: its chunks on several processes, of which each keeps what it did by itself."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context

import msgspec

from scoring.backfill.chunks import ChunkScorer, Job
from scoring.backfill.outcomes import RowsLost
from scoring.backfill.plan import Plan
from scoring.backfill.store import Finished, Kept, Store
from scoring.contract.errors import Unavailable
from scoring.worker.lifeline import end_with

# In the hands of each helper: enough for the time in which this process does a chunk of its own.
_AHEAD = 4

Told = Callable[[int, Kept], None]


def run(job: Job, store: Store, processes: int, tell: Told) -> Finished:
    """Do all chunks that are not done, and take note of the end.

    Args:
        store: the one of ``job.place``; its lock is held.
        processes: this one and its helpers.
        tell: called with each chunk's number and what came of it.

    Raises:
        Unavailable: something cannot be reached, or a process was ended; run it again, and it goes on.
        BatonError: as ``ChunkScorer.do``.
    """
    numbers = {chunk.number for chunk in job.plan.chunks()}
    todo = sorted(numbers - store.done().keys())
    helpers = min(processes, len(todo)) - 1
    results = _together(job, todo, helpers) if helpers > 0 else _alone(job, todo)
    for number, kept in results:
        tell(number, kept)
    return finish(job.plan, store, job.run)


def finish(plan: Plan, store: Store, run: str) -> Finished:
    """Take note that all chunks of a plan are done.

    Raises:
        RowsLost: one of them is not.
        Superseded: another run has begun since.
    """
    lacking = len({chunk.number for chunk in plan.chunks()} ^ store.done().keys())
    if lacking:
        raise RowsLost(f"{store.where}: {lacking} chunks are not those of the plan; run the command again")
    return store.finish(run)


def _alone(job: Job, todo: Sequence[int]) -> Iterator[tuple[int, Kept]]:
    with ChunkScorer(job) as scorer:
        for number in todo:
            yield number, scorer.do(number)


def _together(job: Job, todo: Sequence[int], helpers: int) -> Iterator[tuple[int, Kept]]:
    """The chunks on several processes, of which the present one does its share from the first moment on.

    Its helpers start afresh, which takes them seconds: forked, they would share its connections and threads.
    """
    numbers, waiting = deque(todo), dict[Future[bytes], int]()
    pool = ProcessPoolExecutor(
        helpers,
        mp_context=get_context("spawn"),
        initializer=_start,
        initargs=(msgspec.json.encode(job), os.getpid()),
    )
    try:
        with _no_interrupt_inherited():
            _hand_out(pool, numbers, waiting, helpers)
        with ChunkScorer(job) as scorer:
            while numbers or waiting:
                number = numbers.popleft() if numbers else _taken_back(waiting)
                if number is None:
                    wait(waiting, return_when=FIRST_COMPLETED)
                else:
                    yield number, scorer.do(number)
                yield from _ended(waiting)
                _hand_out(pool, numbers, waiting, helpers)
    except BrokenProcessPool as error:
        message = "a process that scores was ended, by a person or for want of memory; run the command again to go on"
        raise Unavailable(message) from error
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _no_interrupt_inherited() -> Iterator[None]:
    """Who is started here is deaf to Ctrl-C from its first instruction on; what comes meanwhile comes right after."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _hand_out(pool: ProcessPoolExecutor, numbers: deque[int], waiting: dict[Future[bytes], int], helpers: int) -> None:
    while numbers and len(waiting) < _AHEAD * helpers:
        number = numbers.popleft()
        waiting[pool.submit(_do, number)] = number


def _taken_back(waiting: dict[Future[bytes], int]) -> int | None:
    """The last of the chunks that wait for a helper, so that all end at about the same time; None if all are begun."""
    for future in reversed(waiting):
        if future.cancel():
            return waiting.pop(future)
    return None


def _ended(waiting: dict[Future[bytes], int]) -> Iterator[tuple[int, Kept]]:
    for future in [each for each in waiting if each.done()]:
        yield waiting.pop(future), msgspec.json.decode(future.result(), type=Kept)


_job: Job | None = None
_scorer: ChunkScorer | None = None


def _start(job: bytes, parent: int) -> None:
    """Get ready, in a process of its own: it ends with the one that started it, which Ctrl-C is left to."""
    global _job  # noqa: PLW0603  a pool's processes have no other place for it
    end_with(parent)
    _job = msgspec.json.decode(job, type=Job)


def _do(number: int) -> bytes:
    """A chunk. The scorer is made here, for what goes wrong in a pool's start is told to nobody."""
    global _scorer  # noqa: PLW0603
    if _job is None:
        raise Unavailable("a process that scores is not ready")
    _scorer = _scorer or ChunkScorer(_job)
    return msgspec.json.encode(_scorer.do(number))
