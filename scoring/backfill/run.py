"""Run a backfill: its chunks on several processes, of which each keeps what it did by itself."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

import msgspec

from scoring.backfill.chunks import Job, Worker
from scoring.backfill.outcomes import RowsLost
from scoring.backfill.plan import Plan
from scoring.backfill.store import Finished, Kept, Store
from scoring.contract.errors import Unavailable
from scoring.worker.lifeline import end_with

# Waiting for each process, beside the chunk that it does: enough to keep it busy, few to be given up.
_AHEAD = 2

Told = Callable[[int, Kept], None]


def run(job: Job, store: Store, processes: int, tell: Told) -> Finished:
    """Do all chunks that are not done, and take note of the end.

    Args:
        store: the one of ``job.place``; its lock is held.
        processes: 1 does it in this one.
        tell: called with each chunk's number and what came of it.

    Raises:
        Unavailable: something cannot be reached, or a process was ended; run it again, and it goes on.
        BatonError: as ``Worker.do``.
    """
    numbers = {chunk.number for chunk in job.plan.chunks()}
    todo = sorted(numbers - store.done().keys())
    results = _alone(job, todo) if processes == 1 or len(todo) <= 1 else _together(job, todo, processes)
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
    with Worker(job) as worker:
        for number in todo:
            yield number, worker.do(number)


def _together(job: Job, todo: Sequence[int], processes: int) -> Iterator[tuple[int, Kept]]:
    """Each process starts afresh: one that is forked would share connections and threads with this one."""
    pool = ProcessPoolExecutor(
        min(processes, len(todo)),
        mp_context=get_context("spawn"),
        initializer=_start,
        initargs=(msgspec.json.encode(job), os.getpid()),
    )
    waiting: dict[Future[bytes], int] = {}
    numbers = iter(todo)
    try:
        while True:
            for number in numbers:
                waiting[pool.submit(_do, number)] = number
                if len(waiting) >= _AHEAD * processes:
                    break
            if not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(future), msgspec.json.decode(future.result(), type=Kept)
    except BrokenProcessPool as error:
        message = "a process that scores was ended, by a person or for want of memory; run the command again to go on"
        raise Unavailable(message) from error
    finally:
        pool.shutdown(cancel_futures=True)


_worker: Worker | None = None


def _start(job: bytes, parent: int) -> None:
    """Get ready, in a process of its own: it ends with the one that started it, and leaves Ctrl-C to that."""
    global _worker  # noqa: PLW0603  a pool's processes have no other place for it
    end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker = Worker(msgspec.json.decode(job, type=Job))


def _do(number: int) -> bytes:
    if _worker is None:
        raise Unavailable("a process that scores is not ready")
    return msgspec.json.encode(_worker.do(number))
