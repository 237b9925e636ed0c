"""Which version counts when: what the ledger says of a moment holds for every moment of a reign."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.backfill.reigns import Reign, counting_at, named, reigns
from scoring.contract.notice import Kind
from scoring.promotion.entry import LedgerEntry
from scoring.promotion.ledger import Ledger
from tests.support.decisions import JANUARY, digest_for, entry, proposal

DAY = timedelta(days=1)


def at(day: float) -> datetime:
    return JANUARY + day * DAY


def ledger(*effective: float, retired: frozenset[int] = frozenset()) -> list[LedgerEntry]:
    """An entry for each day on which one takes effect, in the order of their sequence."""
    return [
        entry(
            sequence,
            str(sequence),
            effective_from=at(day),
            kind=Kind.RETIRE if sequence in retired else Kind.PROMOTE,
        )
        for sequence, day in enumerate(effective, start=1)
    ]


def told(found: list[Reign]) -> list[tuple[float, float, str, int | None]]:
    return [((r.start - JANUARY) / DAY, (r.end - JANUARY) / DAY, r.version, r.sequence) for r in found]


def test_each_champion_counts_from_the_event_time_that_it_is_effective_from() -> None:
    found, reasons = reigns(ledger(0, 10, 20), at(5), at(25))
    assert told(found) == [(5, 10, "1", 1), (10, 20, "2", 2), (20, 25, "3", 3)]
    assert reasons == []


def test_a_border_belongs_to_what_begins_there() -> None:
    assert told(reigns(ledger(0, 10), at(10), at(11))[0]) == [(10, 11, "2", 2)]
    assert told(reigns(ledger(0, 10), at(9), at(10))[0]) == [(9, 10, "1", 1)]


def test_an_entry_that_takes_effect_before_an_earlier_one_hides_that() -> None:
    assert told(reigns(ledger(0, 20, 10), at(0), at(30))[0]) == [(0, 10, "1", 1), (10, 30, "3", 3)]


def test_a_rollback_counts_from_its_own_moment_on() -> None:
    back = entry(3, "1", kind=Kind.ROLLBACK, effective_from=at(20))
    found, _ = reigns([*ledger(0, 10), back], at(0), at(30))
    assert told(found) == [(0, 10, "1", 1), (10, 20, "2", 2), (20, 30, "1", 3)]


def test_what_lies_before_the_first_entry_is_refused_with_when_it_could_begin() -> None:
    found, (reason,) = reigns(ledger(3, 10), at(0), at(5))
    assert told(found) == [(3, 5, "1", 1)]
    assert "from 2026-01-01T00:00:00Z to 2026-01-04T00:00:00Z" in reason
    assert "the first one counts from 2026-01-04T00:00:00Z on" in reason


def test_a_ledger_without_an_entry_says_what_to_do() -> None:
    found, (reason,) = reigns([], at(0), at(5))
    assert found == []
    assert "promote a version, or name one" in reason


def test_a_time_in_which_the_model_was_retired_is_refused() -> None:
    found, (reason,) = reigns(ledger(0, 10, 20, retired=frozenset({2})), at(5), at(25))
    assert told(found) == [(5, 10, "1", 1), (20, 25, "3", 3)]
    assert "retired from 2026-01-11T00:00:00Z to 2026-01-21T00:00:00Z (sequence 2)" in reason


def test_a_named_version_scores_all_of_it_under_the_newest_entry_that_names_it() -> None:
    back = entry(3, "1", kind=Kind.ROLLBACK, effective_from=at(20))
    found = named([*ledger(0, 10), back], "1", None, at(0), at(30))
    assert (found.sequence, found.manifest_digest) == (3, digest_for("1"))


def test_a_named_version_that_never_was_champion_has_no_sequence() -> None:
    found = named(ledger(0), "7", None, at(0), at(1))
    assert (found.sequence, found.manifest_digest) == (None, None)


@pytest.mark.parametrize("count", [1, 4])
@given(days=st.lists(st.integers(0, 12), min_size=1, max_size=6), hours=st.integers(0, 24 * 14))
def test_every_moment_of_a_reign_is_what_the_ledger_says_of_it(count: int, days: list[int], hours: int) -> None:
    entries = ledger(*days)
    found, _ = reigns(entries, at(0), at(14))
    moment = at(0) + timedelta(hours=hours) / count
    covering = [each.sequence for each in found if each.start <= moment < each.end]
    counting = counting_at(entries, moment)
    assert covering == ([counting.sequence] if counting and moment < at(14) else [])


def test_what_counts_is_what_the_ledger_itself_answers(tmp_path: Path) -> None:
    kept = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    for sequence, day in enumerate((1, 20, 10), start=1):
        kept.decide(proposal(str(sequence), parent=sequence - 1, effective_from=at(day)))
    entries = kept.entries("small")
    for day in range(30):
        assert counting_at(entries, at(day)) == kept.as_of("small", at(day))
