"""The ledger on SQLite and on PostgreSQL."""

from datetime import UTC, datetime, timedelta, timezone
from importlib.resources import files
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
import sqlalchemy as sa

from scoring.contract.errors import ConfigurationError, DecisionRefused, Unavailable
from scoring.contract.notice import Kind
from scoring.contract.verdict import Judgement, Verdict
from scoring.promotion.database import open_database
from scoring.promotion.ledger import Ledger
from scoring.promotion.rules import LostRace, RolledBack
from scoring.promotion.tables import REVISION, VERSION_TABLE, metadata
from tests.support.deciders import at_once
from tests.support.decisions import JANUARY, digest_for, proposal
from tests.support.postgres import MakeDatabase

PROCESSES = 4
ROUNDS = 15


def test_an_entry_comes_back_as_it_was_decided(ledger: Ledger) -> None:
    verdict = Verdict(gate="parity", judgement=Judgement.PASS, sentence="Größe ≤ ½ €", value=0.1 + 0.2, limit=None)
    made = ledger.decide(proposal("7", run_id="run", evidence=(verdict,), reason="weil's besser ist"))
    assert ledger.head("small") == made
    assert ledger.entries("small") == [made]
    assert ledger.entry("small", 1) == made
    assert (made.sequence, made.parent_sequence, made.version, made.kind) == (1, 0, "7", Kind.PROMOTE)
    assert made.candidate_id == made.manifest_digest == digest_for("7")
    assert made.evidence == (verdict,)
    assert made.interval == proposal("7").interval


def test_times_come_back_aware_in_utc_to_the_microsecond(ledger: Ledger) -> None:
    tokyo = timezone(timedelta(hours=9))
    moment = datetime(2013, 4, 1, 9, 0, 0, 123_456, tzinfo=tokyo)
    ledger.decide(proposal("1", effective_from=moment))
    found = ledger.head("small")
    assert found is not None
    assert found.effective_from == moment
    assert found.effective_from.utcoffset() == found.decided_at.utcoffset() == timedelta(0)


def test_decided_at_is_the_databases_clock_and_effective_from_defaults_to_it(ledger: Ledger) -> None:
    before = datetime.now(UTC)
    made = ledger.decide(proposal("1"))
    assert made.effective_from == made.decided_at
    assert before - timedelta(milliseconds=1) <= made.decided_at <= datetime.now(UTC)


def test_an_empty_ledger_has_no_head(ledger: Ledger) -> None:
    assert ledger.head("small") is None
    assert ledger.entries("small") == []
    assert ledger.as_of("small", JANUARY) is None
    assert ledger.models() == []


def test_models_have_sequences_of_their_own(ledger: Ledger) -> None:
    ledger.decide(proposal("1", model="b"))
    ledger.decide(proposal("1", model="a"))
    assert ledger.decide(proposal("2", model="b", parent=1)).sequence == 2
    assert ledger.models() == ["a", "b"]


def test_a_ledger_keeps_its_identity_and_two_ledgers_differ(ledger: Ledger, ledger_url: str, tmp_path: Path) -> None:
    assert isinstance(ledger.identity(), UUID)
    assert Ledger.open(ledger_url).identity() == ledger.identity()
    assert Ledger.open(f"sqlite:///{tmp_path / 'other.db'}").identity() != ledger.identity()


def test_as_of_is_the_highest_sequence_that_is_effective_by_then(ledger: Ledger) -> None:
    for sequence, day in enumerate((1, 20, 10), start=1):
        effective = JANUARY + timedelta(days=day)
        ledger.decide(proposal(str(sequence), parent=sequence - 1, effective_from=effective))
    found = {
        day: (entry.sequence if (entry := ledger.as_of("small", JANUARY + timedelta(days=day))) else None)
        for day in (0, 1, 9, 10, 20, 30)
    }
    assert found == {0: None, 1: 1, 9: 1, 10: 3, 20: 3, 30: 3}


def test_as_of_is_exact_to_the_microsecond(ledger: Ledger) -> None:
    ledger.decide(proposal("1", effective_from=JANUARY))
    assert ledger.as_of("small", JANUARY - timedelta(microseconds=1)) is None
    assert ledger.as_of("small", JANUARY) is not None


def test_known_at_asks_by_the_moment_of_the_decision(ledger: Ledger) -> None:
    made = ledger.decide(proposal("1", effective_from=JANUARY))
    assert ledger.known_at("small", made.decided_at) == made
    assert ledger.known_at("small", made.decided_at - timedelta(seconds=1)) is None


def test_a_decision_on_an_old_head_loses_and_is_told_the_new_one(ledger: Ledger) -> None:
    first = ledger.decide(proposal("1"))
    with pytest.raises(LostRace) as lost:
        ledger.decide(proposal("2"))
    assert lost.value.head == first
    assert len(ledger.entries("small")) == 1


def test_a_retry_returns_the_entry_that_it_made(ledger: Ledger) -> None:
    first = ledger.decide(proposal("1", run_id="run"))
    assert ledger.decide(proposal("1", run_id="run")) == first
    assert len(ledger.entries("small")) == 1


def test_a_retry_returns_its_entry_even_when_that_was_rolled_back_since(ledger: Ledger) -> None:
    ledger.decide(proposal("1"))
    second = ledger.decide(proposal("2", run_id="run", parent=1))
    ledger.decide(proposal("1", parent=2, kind=Kind.ROLLBACK))
    assert ledger.decide(proposal("2", run_id="run", parent=3)) == second
    head = ledger.head("small")
    assert head is not None
    assert (head.sequence, head.version) == (3, "1")


def test_what_would_be_refused_is_foreseen_and_nothing_is_decided(ledger: Ledger) -> None:
    first = ledger.decide(proposal("1", run_id="run"))
    ledger.foresee(proposal("1", run_id="run"))
    ledger.foresee(proposal("2", parent=1))
    with pytest.raises(LostRace):
        ledger.foresee(proposal("2"))
    assert ledger.entries("small") == [first]


def test_a_rolled_back_version_is_promoted_by_another_run_only_by_force(ledger: Ledger) -> None:
    ledger.decide(proposal("1"))
    ledger.decide(proposal("2", parent=1))
    ledger.decide(proposal("1", parent=2, kind=Kind.ROLLBACK))
    with pytest.raises(RolledBack):
        ledger.decide(proposal("2", parent=3))
    forced = ledger.decide(proposal("2", parent=3, forced=True))
    assert (forced.sequence, forced.forced) == (4, True)


def test_one_run_cannot_promote_and_retire_the_same_candidate(ledger: Ledger) -> None:
    ledger.decide(proposal("1", run_id="run"))
    with pytest.raises(DecisionRefused, match="another run id"):
        ledger.decide(proposal("1", run_id="run", parent=1, kind=Kind.RETIRE))


def test_migrating_again_changes_nothing(ledger: Ledger, ledger_url: str) -> None:
    made = ledger.decide(proposal("1"))
    again = Ledger.open(ledger_url)
    assert again.head("small") == made
    assert again.identity() == ledger.identity()


def test_the_ledger_lives_beside_another_applications_migrations(ledger_url: str) -> None:
    engine = open_database(ledger_url).engine
    with engine.begin() as connection:
        connection.execute(sa.text("create table alembic_version (version_num varchar(32))"))
        connection.execute(sa.text("insert into alembic_version values ('somebody-elses')"))
    Ledger.open(ledger_url).decide(proposal("1"))
    with engine.connect() as connection:
        assert connection.execute(sa.text("select version_num from alembic_version")).scalars().all() == [
            "somebody-elses"
        ]
        assert connection.execute(sa.text(f"select version_num from {VERSION_TABLE}")).scalars().all() == [REVISION]


def test_a_ledger_of_a_newer_version_is_refused_not_touched(ledger: Ledger, ledger_url: str) -> None:
    with open_database(ledger_url).engine.begin() as connection:
        connection.execute(sa.text(f"update {VERSION_TABLE} set version_num = '9999'"))
    for migrating in (True, False):
        with pytest.raises(ConfigurationError, match="9999"):
            Ledger.open(ledger_url, migrating=migrating)


def test_a_database_without_a_ledger_is_an_error_and_never_an_empty_ledger(ledger_url: str) -> None:
    database = open_database(ledger_url)
    with database.engine.begin() as connection:
        connection.execute(sa.text("create table unrelated (a integer)"))
    with pytest.raises(ConfigurationError, match="baton ledger migrate"):
        Ledger(database).head("small")
    with pytest.raises(ConfigurationError, match="baton ledger migrate"):
        Ledger.open(ledger_url, migrating=False)


def test_the_database_itself_keeps_the_sequence_unbroken(ledger: Ledger, ledger_url: str) -> None:
    ledger.decide(proposal("1"))
    copy = (
        "insert into ledger_entries (model, sequence, version, manifest_digest, kind, parent_sequence, run_id, "
        "candidate_id, actor, reason, evidence, interval_start, interval_end, decided_at, effective_from, forced) "
        "select model, {sequence}, version, manifest_digest, kind, {parent}, 'other', candidate_id, actor, reason, "
        "evidence, interval_start, interval_end, decided_at, effective_from, forced from ledger_entries"
    )
    for sequence, parent in ((3, 2), (3, 1), (1, "null"), (5, 4)):
        with pytest.raises(sa.exc.IntegrityError), open_database(ledger_url).engine.begin() as connection:
            connection.execute(sa.text(copy.format(sequence=sequence, parent=parent)))


def test_of_processes_that_decide_at_once_one_wins_each_sequence_and_the_others_are_told(ledger_url: str) -> None:
    Ledger.open(ledger_url)
    results = [cast("dict[str, Any]", found) for found in at_once("promote", ledger_url, PROCESSES, str(ROUNDS))]
    assert sorted(sequence for result in results for sequence in result["won"]) == list(range(1, ROUNDS + 1))
    entries = Ledger.open(ledger_url).entries("small")
    assert [(e.sequence, e.parent_sequence) for e in entries] == [(n, n - 1) for n in range(1, ROUNDS + 1)]
    assert sum(result["lost"] for result in results) > 0, "nobody ever lost: they did not run at the same time"


def test_without_the_unique_key_two_decisions_take_one_sequence(make_postgres_database: MakeDatabase) -> None:
    """The planted bug: the check in the program alone is no compare-and-set (protocol A.2)."""
    url = make_postgres_database()
    Ledger.open(url)
    with open_database(url).engine.begin() as connection:
        connection.execute(sa.text("alter table ledger_entries drop constraint ledger_entries_parent"))
        connection.execute(sa.text("alter table ledger_entries drop constraint ledger_entries_one_per_sequence"))
    at_once("promote", url, PROCESSES, str(ROUNDS))
    sequences = [entry.sequence for entry in Ledger.open(url).entries("small")]
    assert len(sequences) > len(set(sequences))


def test_processes_that_make_the_ledger_at_once_make_one(ledger_url: str) -> None:
    assert len(set(at_once("make", ledger_url, PROCESSES))) == 1


def test_doubled_tasks_of_one_run_make_one_entry_and_both_succeed(ledger_url: str) -> None:
    Ledger.open(ledger_url)
    assert at_once("retry", ledger_url, PROCESSES) == [1] * PROCESSES
    assert len(Ledger.open(ledger_url).entries("small")) == 1


def test_a_ledger_that_cannot_be_reached_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        Ledger.open(f"sqlite:///{tmp_path / 'no-folder' / 'ledger.db'}")
    with pytest.raises(Unavailable):
        Ledger.open("postgresql+psycopg://nobody@127.0.0.1:1/none")


def test_a_missing_sqlite_ledger_is_not_made_by_reading(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="baton ledger migrate"):
        Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", migrating=False)
    assert not (tmp_path / "ledger.db").exists()


@pytest.mark.parametrize("url", ["nonsense", "oracle+nodriver://x/y"])
def test_an_unusable_url_is_a_mistake_of_the_configuration(url: str) -> None:
    with pytest.raises(ConfigurationError, match="ledger's URL"):
        Ledger.open(url)


def test_the_migrations_make_the_tables_that_the_queries_are_built_from(ledger: Ledger, ledger_url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    with open_database(ledger_url).engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": False})
        assert compare_metadata(context, metadata) == []
    scripts = ScriptDirectory(str(files("scoring.promotion") / "migrations"))
    assert scripts.get_heads() == [REVISION]
