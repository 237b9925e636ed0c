"""What a backfill needs of the place that keeps its rows: a table of a database, or a folder of Parquet files."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from scoring.backfill.outcomes import Outcomes
from scoring.backfill.plan import Plan
from scoring.backfill.refusals import OtherPlan
from scoring.contract.decoding import decodable
from scoring.contract.digest import Digest, digest_of


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a chunk that is done."""

    rows: int
    failures: int
    digest: Digest


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a backfill that is done.

    Attributes:
        digest: over the digests of its chunks: equal where the rows are.
    """

    rows: int
    failures: int
    digest: Digest


decodable(Kept, Finished)


class Store(Protocol):
    """Keeps the rows of one backfill, each chunk as a whole or not at all."""

    @property
    def where(self) -> str:
        """Names the place, for people."""

    def close(self) -> None:
        """Let go of what is open."""

    def lock(self) -> AbstractContextManager[None]:
        """Held while a backfill runs; a killed run lets go of it.

        Raises:
            Busy: another run holds it.
        """

    def begin(self, plan: Plan, actor: str, run: str) -> Plan:
        """Begin, or go on with what was begun before.

        Args:
            run: unlike that of every other run.

        Returns:
            the plan that counts: the one that it was begun with.

        Raises:
            OtherPlan: what was begun under this name is something else.
        """

    def begun(self) -> Plan | None:
        """The plan that it was begun with; None where it was not."""

    def done(self) -> Mapping[int, Kept]:
        """The chunks that are done, by their numbers."""

    def write(self, run: str, outcomes: Outcomes) -> Kept:
        """Keep the rows of a chunk, and that it is done, in one step; done before, it stays as it is.

        Raises:
            Superseded: another run has begun since.
        """

    def finished(self) -> Finished | None:
        """What came of it; None where it is not complete."""

    def finish(self, run: str) -> Finished:
        """Take note that all chunks are done.

        Raises:
            Superseded: another run has begun since.
        """


def summed(kept: Mapping[int, Kept]) -> Finished:
    """What the chunks come to together."""
    ordered = [kept[number] for number in sorted(kept)]
    return Finished(
        rows=sum(each.rows for each in ordered),
        failures=sum(each.failures for each in ordered),
        digest=digest_of("\n".join(each.digest for each in ordered).encode()),
    )


def going_on(what: str, before: Plan, now: Plan) -> Plan:
    """The plan that a backfill was begun with, to go on with; a topic may have grown since, of which it knows nothing.

    Raises:
        OtherPlan: it was begun for something else.
    """
    if before.asked != now.asked:
        changed = f"it was begun for {before.asked.period}, and asked for otherwise"
    elif before.spans != now.spans:
        changed = "the ledger or its bundles say otherwise now which version scores when"
    elif before.topic_id != now.topic_id:
        changed = "the input topic was made anew since"
    else:
        return before
    raise OtherPlan(f"{what}: {changed}; give this one another --name, or remove that one with baton backfill remove")
