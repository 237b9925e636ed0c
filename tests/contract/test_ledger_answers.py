"""``baton ledger as-of`` for any moment, on SQLite and on PostgreSQL: which version, on what evidence, by whom."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from scoring.cli import group
from scoring.contract.clock import rfc3339
from scoring.contract.notice import Kind
from scoring.contract.verdict import Judgement, Verdict
from scoring.promotion.database import open_database
from scoring.promotion.entry import LedgerEntry
from scoring.promotion.ledger import Ledger
from scoring.promotion.tables import entries as table
from tests.support.decisions import JANUARY, proposal

# Some are decided for the past, some for the future; 2, 5 and 7 never count, for a later decision goes further back.
EFFECTIVE_DAYS = (-20, -10, -12, None, 10, 5, 40, 30)
KINDS = ("promote 1", "promote 2", "rollback 1", "promote 3", "promote 4", "retire 4", "promote 5", "rollback 3")


@pytest.fixture
def history(ledger: Ledger, ledger_url: str) -> list[LedgerEntry]:
    """Eight entries, decided a day apart as the ledger tells it."""
    for place, (step, days) in enumerate(zip(KINDS, EFFECTIVE_DAYS, strict=True)):
        kind, version = step.split()
        verdict = Verdict(gate="parity", judgement=Judgement.PASS, sentence=f"of {place}", value=place / 7, limit=0.5)
        effective = None if days is None else JANUARY + timedelta(days=days)
        made = proposal(
            version, parent=place, kind=Kind(kind), months=int(version), evidence=(verdict,), effective_from=effective
        )
        ledger.decide(msgspec.structs.replace(made, actor=f"actor-{place}", forced=kind == "promote"))
    # The database's clock decides; a test cannot wait for days.
    engine = open_database(ledger_url).engine
    with engine.begin() as connection:
        for place, days in enumerate(EFFECTIVE_DAYS):
            decided = JANUARY + timedelta(days=place, microseconds=place)
            changed: dict[str, datetime] = {"decided_at": decided}
            if days is None:
                changed["effective_from"] = decided
            connection.execute(sa.update(table).where(table.c.sequence == place + 1).values(**changed))
    return ledger.entries("small")


def asked(url: str, moment: datetime, *options: str) -> dict[str, Any] | None:
    command = ["ledger", "as-of", "small", rfc3339(moment), "--json", *options]
    found = CliRunner().invoke(group, command, env={"BATON_LEDGER_URL": url})
    if found.exit_code == 1:
        assert found.stdout == ""
        return None
    assert found.exit_code == 0, found.output
    document: dict[str, Any] = msgspec.json.decode(found.stdout)
    return document


def newest(entries: Sequence[LedgerEntry], moment: datetime, when: str) -> LedgerEntry | None:
    """The answer, worked out without a query."""
    return next((entry for entry in reversed(entries) if getattr(entry, when) <= moment), None)


def moments(entries: Sequence[LedgerEntry]) -> list[datetime]:
    """Each edge, a microsecond before and after it, and others in between."""
    step = timedelta(microseconds=1)
    edges = [moment for entry in entries for moment in (entry.effective_from, entry.decided_at)]
    chosen = random.Random(7)
    others = [JANUARY + timedelta(hours=chosen.uniform(-700, 1_200)) for _ in range(20)]
    return [*(edge + shift for edge in edges for shift in (-step, step - step, step)), *others]


@pytest.mark.parametrize(
    ("when", "options"),
    [("effective_from", []), ("decided_at", ["--decided"]), ("decided_at", ["--processing-time"])],
)
def test_any_moment_has_its_answer_with_evidence_and_actor(
    history: list[LedgerEntry], ledger_url: str, when: str, options: list[str]
) -> None:
    assert len(history) == len(KINDS)
    found = [(newest(history, moment, when), asked(ledger_url, moment, *options)) for moment in moments(history)]
    counted = {entry.sequence for entry, _ in found if entry}
    assert counted == ({1, 3, 4, 6, 8} if when == "effective_from" else set(range(1, 9)))
    assert any(entry is None for entry, _ in found)
    for entry, document in found:
        assert document == (None if entry is None else msgspec.to_builtins(entry) | _as_told(entry))
        assert document is None or document["evidence"][0]["sentence"] == f"of {document['sequence'] - 1}"
        assert document is None or document["actor"] == f"actor-{document['sequence'] - 1}"


def _as_told(entry: LedgerEntry) -> dict[str, Any]:
    """The times as JSON has them."""
    document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(entry))
    return document


def test_both_questions_have_different_answers_where_a_decision_was_about_the_past(
    history: list[LedgerEntry], ledger_url: str
) -> None:
    assert history[2].effective_from < history[0].decided_at
    moment = JANUARY + timedelta(days=-1)
    by_event, by_decision = asked(ledger_url, moment), asked(ledger_url, moment, "--decided")
    assert by_event is not None
    assert (by_event["kind"], by_event["sequence"], by_decision) == ("rollback", 3, None)


def test_people_are_told_who_decided_when_and_on_what_evidence(history: list[LedgerEntry], ledger_url: str) -> None:
    assert history[3].version == "3"
    command = ["ledger", "as-of", "small", rfc3339(history[3].decided_at), "--decided"]
    told = CliRunner().invoke(group, command, env={"BATON_LEDGER_URL": ledger_url}).output
    assert "small: sequence 4, promote version 3, forced, by actor-3 at 2026-01-04T" in told
    assert "gate parity: pass: of 3 (0.428571, limit 0.5)" in told
    nothing = CliRunner().invoke(
        group, [*command[:3], "1999-01-01T00:00:00Z", "--decided"], env={"BATON_LEDGER_URL": ledger_url}
    )
    assert nothing.stderr == "baton: nothing was decided about small by 1999-01-01T00:00:00Z\n"
    assert datetime.now(UTC) > history[0].decided_at
