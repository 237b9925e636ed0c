"""A backfill that is killed again and again, and the oracle that holds its rows against an undisturbed one's."""

import random
import signal
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from scoring.backfill import chunks
from scoring.backfill.asked import Origin, asked_for
from scoring.backfill.chunks import Job, Place
from scoring.backfill.prepare import prepare
from scoring.backfill.run import run
from scoring.scorer.bundle import open_bundle
from scoring.settings import Settings
from tests.faults.backfill.dying import BUSY, PATIENCE_S, POINTS, Life
from tests.faults.backfill.nursery import Nursery
from tests.support.backfills import rows_of
from tests.support.past import MODEL, Past, day

FEW_S, MANY_S = 21_600, 1_800
"""Length of a chunk, for a few lives and for fifty of them, each of which does some."""
# How a run ends one of whose processes was killed.
ORPHANED = "run the command again to go on"


def job_of(past: Past, place: Place, *, chunk_s: int, from_topic: bool = False) -> Job:
    """Four days, with the champions of each."""
    settings = Settings(
        ledger_url=past.environment["BATON_LEDGER_URL"],
        connections={"warehouse": past.environment["BATON_CONNECTIONS__WAREHOUSE"]},
        kafka_bootstrap=past.environment.get("BATON_KAFKA_BOOTSTRAP"),
    )
    more = {"origin": Origin.TOPIC} if from_topic else {"chunk_s": chunk_s}
    asked = asked_for(MODEL, day(0), day(4), **more)

    def bring(model: str, version: str, digest: str | None, folder: Path) -> None:
        past.registry.fetch(model, version, folder)
        open_bundle(folder, digest)

    prepared = prepare(asked, settings, past.folder / f"bundles-{uuid.uuid4().hex}", bring)
    return chunks.job_of(prepared, prepared.plan, place, "undisturbed", past.folder / "staged")


def undisturbed(job: Job) -> list[tuple[Any, ...]]:
    """The rows of a run that nothing happens to, in this process."""
    store = job.place.open()
    with store.lock():
        store.begin(job.plan, "somebody", job.run)
        run(job, store, 1, lambda _number, _kept: None)
    return rows_of(job.place)


def plans(seed: int, kills: int, processes: int) -> Iterator[dict[str, Any]]:
    """Where each life ends: every point, after one chunk or a few, the process that started all or a helper."""
    chooser = random.Random(seed)
    victims = ("run", "helper") if processes > 1 else ("run",)
    for number in range(kills):
        victim = victims[number // len(POINTS) % len(victims)]
        yield {"point": POINTS[number % len(POINTS)], "count": chooser.randint(1, 3), "victim": victim}


def kill_on_its_way(
    nursery: Nursery, job: Job, kills: Sequence[dict[str, Any]], *, processes: int, bug: str | None = None
) -> Counter[str]:
    """Run it with these ends, and then to its end; returns how often who died at which point.

    Raises:
        AssertionError: it ended before all kills were carried out, or in the end it does not end well.
    """
    died: Counter[str] = Counter()
    for plan in kills:
        status = _until_not_busy(nursery, _life(job, processes, bug=bug, **plan))
        if status == (-signal.SIGKILL if plan["victim"] == "run" else 1):
            assert status != 1 or nursery.said.rstrip().endswith(ORPHANED), nursery.said
            died[f"{plan['victim']} at {plan['point']}"] += 1
    assert died.total() == len(kills), f"it ended after {died.total()} of {len(kills)} kills\n{nursery.said}"
    assert _until_not_busy(nursery, _life(job, processes, bug=bug)) == 0, nursery.said
    return died


def _life(job: Job, processes: int, **more: Any) -> Life:
    return Life(job=msgspec.structs.replace(job, run=str(uuid.uuid4())), processes=processes, **more)


def _until_not_busy(nursery: Nursery, life: Life) -> int:
    """A database takes a moment to see that a killed run has let go of its lock."""
    deadline = time.monotonic() + PATIENCE_S
    while (status := nursery.live(life)) == BUSY and time.monotonic() < deadline:
        pass
    return status


def judge(found: Sequence[tuple[Any, ...]], expected: Sequence[tuple[Any, ...]]) -> list[str]:
    """How rows differ from those of an undisturbed run: what is missing, doubled or altered."""
    assert expected, "an undisturbed run wrote nothing, so nothing can be held against it"
    first, second = Counter(map(repr, expected)), Counter(map(repr, found))
    missing, strange = first - second, second - first
    faults = [f"missing or altered: {row}" for row in missing]
    faults += [f"{'doubled' if row in first else 'altered'}: {row}" for row in strange]
    return faults or ([] if list(found) == list(expected) else ["the order differs"])
