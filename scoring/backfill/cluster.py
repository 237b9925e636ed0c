"""A backfill in tasks on several machines: one that begins it, as many as there are parts, and one that ends it.

Each task fetches what it needs by itself, so that nothing but small values goes from one to the next. They share the
name of a run: what a task of an earlier run still writes is refused. There is no lock between them, for none would
outlive a task; a run that begins takes over from the one before.
"""

from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from scoring.backfill.asked import Asked
from scoring.backfill.chunks import ChunkScorer, Place, job_of
from scoring.backfill.prepare import prepare
from scoring.backfill.refusals import Superseded
from scoring.backfill.run import finish
from scoring.backfill.store import Finished, going_on
from scoring.contract.digest import digest_of
from scoring.settings import Settings


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Chunks ``[first, end)`` that one task does, one after the other."""

    first: int
    end: int


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a task did: so many chunks, and what came of them."""

    chunks: int
    rows: int
    failures: int


def begin(asked: Asked, place: Place, settings: Settings, *, actor: str, run: str, parts: int) -> list[Part]:
    """Begin a backfill, or go on with it; its parts, of neighbouring chunks.

    Args:
        run: whatever it is called; the same in all tasks, and in their retries.
        parts: how many at the most.

    Raises:
        BackfillRefused, ConfigurationError, Unavailable: as ``prepare``.
        Busy: a command is doing it.
        OtherPlan: as ``Store.begin``.
    """
    with TemporaryDirectory(prefix="baton-backfill-") as folder:
        prepared = prepare(asked, settings, Path(folder))
    store = place.open()
    with store.lock():
        plan = store.begin(prepared.plan, actor, run_of(run))
    return parted(len(plan.chunks()), parts)


def parted(chunks: int, parts: int) -> list[Part]:
    """So many chunks in parts of as equal a size as can be."""
    borders = [chunks * number // parts for number in range(parts + 1)]
    return [Part(first=first, end=end) for first, end in pairwise(borders) if first < end]


def do(asked: Asked, place: Place, settings: Settings, *, run: str, part: Part) -> Told:
    """Do the chunks of a part that are not done.

    Raises:
        BackfillRefused, ConfigurationError, Unavailable: as ``prepare``.
        Superseded: another run has begun since.
    """
    with TemporaryDirectory(prefix="baton-backfill-") as folder:
        prepared = prepare(asked, settings, Path(folder))
        store = place.open()
        plan = going_on(store.where, store.begun() or prepared.plan, prepared.plan)
        done = store.done()
        todo = [number for number in range(part.first, part.end) if number not in done]
        job = job_of(prepared, plan, place, run_of(run), Path(folder) / "staged")
        with ChunkScorer(job) as scorer:
            kept = [scorer.do(number) for number in todo]
    return Told(chunks=len(kept), rows=sum(each.rows for each in kept), failures=sum(each.failures for each in kept))


def end(place: Place, *, run: str) -> Finished:
    """Take note that all chunks are done.

    Raises:
        Superseded: another run has begun since.
        RowsLost: one of them is not.
    """
    store = place.open()
    plan = store.begun()
    if plan is None:
        raise Superseded(f"{store.where}: this backfill was removed")
    return store.finished() or finish(plan, store, run_of(run))


def run_of(run: str) -> str:
    """A run's name as a store keeps it."""
    return digest_of(run.encode())[:36]
