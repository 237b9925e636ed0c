"""The ledger: the SQL table of promotions and rollbacks. It is the truth; alias and notice are copies of its head."""

from datetime import datetime
from typing import Self
from uuid import UUID

import msgspec
import sqlalchemy as sa

from scoring.contract.decoding import decodable
from scoring.contract.errors import DecisionRefused
from scoring.contract.notice import Kind
from scoring.contract.verdict import Verdict
from scoring.database.connection import Database, database_now
from scoring.database.migrations import migrate, require_current
from scoring.promotion.database import MIGRATIONS, open_database
from scoring.promotion.entry import Interval, LedgerEntry, Proposal
from scoring.promotion.rules import LostRace, check
from scoring.promotion.tables import entries, identity

decodable(tuple[Verdict, ...])


class Ledger:
    """Reads and writes the ledger in its database (see ``Ledger.open``).

    Every method raises Unavailable when the database cannot be reached, and ConfigurationError when the ledger is not
    there: failing to read is an error, never an empty ledger (protocol A.5).
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._identity: UUID | None = None

    @classmethod
    def open(cls, url: str, *, migrating: bool = True) -> Self:
        """Open the ledger at a SQLAlchemy URL.

        Args:
            migrating: make or upgrade its tables where needed; otherwise their absence is an error.
        """
        database = open_database(url)
        if migrating:
            migrate(database, MIGRATIONS)
        else:
            database.require_file()
            require_current(database, MIGRATIONS)
        return cls(database)

    def identity(self) -> UUID:
        """The UUID that this ledger has had since it was made; notices carry it (protocol A.8)."""
        if self._identity is None:
            with self._database.reading() as connection:
                self._identity = UUID(connection.execute(sa.select(identity.c.ledger)).scalar_one())
        return self._identity

    def models(self) -> list[str]:
        """The models that have an entry, sorted."""
        with self._database.reading() as connection:
            found = connection.execute(sa.select(entries.c.model).distinct().order_by(entries.c.model))
            return list(found.scalars())

    def head(self, model: str) -> LedgerEntry | None:
        """The newest entry of ``model``, or None."""
        with self._database.reading() as connection:
            return _first(connection, _of(model).order_by(entries.c.sequence.desc()).limit(1))

    def entries(self, model: str) -> list[LedgerEntry]:
        """All entries of ``model`` in the order of their sequence."""
        with self._database.reading() as connection:
            return _all(connection, model)

    def entry(self, model: str, sequence: int) -> LedgerEntry | None:
        """The entry with that sequence, or None."""
        with self._database.reading() as connection:
            return _first(connection, _of(model).where(entries.c.sequence == sequence))

    def made_by(self, model: str, run_id: str, candidate_id: str) -> LedgerEntry | None:
        """The entry that a run made for a candidate, or None; a retry asks for it first (protocol A.3)."""
        with self._database.reading() as connection:
            return _made_by(connection, model, run_id, candidate_id)

    def as_of(self, model: str, event_time: datetime) -> LedgerEntry | None:
        """What counted for events at ``event_time``: the highest sequence whose ``effective_from`` is not later."""
        return self._newest_where(model, entries.c.effective_from <= event_time)

    def known_at(self, model: str, moment: datetime) -> LedgerEntry | None:
        """What had been decided at a moment of processing time: the highest sequence decided by then."""
        return self._newest_where(model, entries.c.decided_at <= moment)

    def decide(self, proposal: Proposal) -> LedgerEntry:
        """Enter a decision: inserting sequence n+1 on parent n *is* the decision (protocol A.2).

        Returns:
            the entry; for a retry with the same run id and candidate the one that it made, even when that has since
            been rolled back (protocol A.3).

        Raises:
            LostRace: somebody else decided on the same parent.
            DecisionRefused: a rule forbids it; the message says which.
        """
        try:
            with self._database.writing() as connection:
                return self._decide(connection, proposal)
        except sa.exc.IntegrityError as error:
            # The unique key found a decision that was not there when this transaction read.
            return self._after_conflict(proposal, error)

    def foresee(self, proposal: Proposal) -> None:
        """Hold a decision against the rules as they stand now, and decide nothing; a retry's own entry is no obstacle.

        Raises:
            DecisionRefused: ``decide`` would refuse it.
        """
        with self._database.reading() as connection:
            past = _all(connection, proposal.model)
        if _made(past, proposal) is None:
            check(past, proposal)

    def _decide(self, connection: sa.Connection, proposal: Proposal) -> LedgerEntry:
        # Read once: between two queries a twin of this task could decide, and would then look like somebody else.
        past = _all(connection, proposal.model)
        known = _made(past, proposal)
        if known is not None:
            return _same_decision(known, proposal)
        check(past, proposal)
        entry = _entry(proposal, database_now(connection))
        connection.execute(entries.insert().values(_row(entry)))
        return entry

    def _after_conflict(self, proposal: Proposal, error: sa.exc.IntegrityError) -> LedgerEntry:
        known = self.made_by(proposal.model, proposal.run_id, proposal.manifest_digest)
        if known is not None:
            return _same_decision(known, proposal)
        raise LostRace(proposal, self.head(proposal.model)) from error

    def _newest_where(self, model: str, condition: sa.ColumnElement[bool]) -> LedgerEntry | None:
        with self._database.reading() as connection:
            return _first(connection, _of(model).where(condition).order_by(entries.c.sequence.desc()).limit(1))


def _of(model: str) -> sa.Select[tuple[object, ...]]:
    return sa.select(entries).where(entries.c.model == model)


def _first(connection: sa.Connection, query: sa.Select[tuple[object, ...]]) -> LedgerEntry | None:
    row = connection.execute(query).mappings().first()
    return None if row is None else _from_row(row)


def _all(connection: sa.Connection, model: str) -> list[LedgerEntry]:
    return [_from_row(row) for row in connection.execute(_of(model).order_by(entries.c.sequence)).mappings()]


def _made_by(connection: sa.Connection, model: str, run_id: str, candidate_id: str) -> LedgerEntry | None:
    wanted = (entries.c.run_id == run_id) & (entries.c.candidate_id == candidate_id)
    return _first(connection, _of(model).where(wanted))


def _made(past: list[LedgerEntry], proposal: Proposal) -> LedgerEntry | None:
    """The entry that the same run made for the same candidate."""
    made = (proposal.run_id, proposal.manifest_digest)
    return next((entry for entry in past if (entry.run_id, entry.candidate_id) == made), None)


def _same_decision(known: LedgerEntry, proposal: Proposal) -> LedgerEntry:
    if known.kind is not proposal.kind:
        raise DecisionRefused(
            f"{proposal.model}: run {proposal.run_id} already made sequence {known.sequence} ({known.kind.value}) of "
            f"this candidate and cannot {proposal.kind.value} it as well; use another run id"
        )
    return known


def _entry(proposal: Proposal, now: datetime) -> LedgerEntry:
    return LedgerEntry(
        model=proposal.model,
        sequence=proposal.parent + 1,
        version=proposal.version,
        manifest_digest=proposal.manifest_digest,
        kind=proposal.kind,
        parent_sequence=proposal.parent,
        run_id=proposal.run_id,
        candidate_id=proposal.manifest_digest,
        actor=proposal.actor,
        reason=proposal.reason,
        evidence=proposal.evidence,
        interval=proposal.interval,
        decided_at=now,
        effective_from=proposal.effective_from or now,
        forced=proposal.forced,
    )


_SAME_IN_BOTH = (
    "model",
    "sequence",
    "version",
    "manifest_digest",
    "run_id",
    "candidate_id",
    "actor",
    "reason",
    "decided_at",
    "effective_from",
    "forced",
)


def _row(entry: LedgerEntry) -> dict[str, object]:
    return {name: getattr(entry, name) for name in _SAME_IN_BOTH} | {
        "kind": entry.kind.value,
        "parent_sequence": entry.parent_sequence or None,
        "evidence": msgspec.json.encode(entry.evidence).decode(),
        "interval_start": entry.interval.start,
        "interval_end": entry.interval.end,
    }


def _from_row(row: sa.RowMapping) -> LedgerEntry:
    return LedgerEntry(
        **{name: row[name] for name in _SAME_IN_BOTH},
        kind=Kind(row["kind"]),
        parent_sequence=row["parent_sequence"] or 0,
        evidence=msgspec.json.decode(row["evidence"], type=tuple[Verdict, ...]),
        interval=Interval(start=row["interval_start"], end=row["interval_end"]),
    )
