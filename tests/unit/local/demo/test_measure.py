import pytest

from local.demo.measure import AROUND_MS, VersionCount, pause_at_swap, per_second, records_per_s, versions
from local.demo.oracle import Outcome
from local.demo.records import Record

START_MS = 1_000_000


def outcome(at_ms: int, sequence: int, *, dead_letter: bool = False) -> Outcome:
    record = Record(0, at_ms, START_MS + at_ms, b"k", b"{}")
    return Outcome(record, f"id{at_ms}", dead_letter, f"v{sequence}", sequence, ("t", 0, at_ms))


def stream(gaps: dict[int, int], *, swap_ms: int, until_ms: int = 60_000, step_ms: int = 10) -> list[Outcome]:
    """An output every ``step_ms``, with a silence of so many milliseconds after each moment of ``gaps``."""
    silent = {t for at, width in gaps.items() for t in range(at + 1, at + width)}
    moments = [t for t in range(0, until_ms, step_ms) if t not in silent]
    return [outcome(t, 1 if t < swap_ms else 2) for t in moments]


def test_the_longest_gap_around_the_swap_is_its_pause() -> None:
    found = pause_at_swap(stream({29_990: 80}, swap_ms=30_000), 2, since_ms=START_MS)
    assert found.at_ms == START_MS + 30_070
    assert found.longest_gap_ms == found.handover_gap_ms == 80
    assert found.typical_gap_ms == 10


def test_gaps_far_from_the_swap_do_not_count_for_it() -> None:
    swap_ms = 30_000
    far = {swap_ms - AROUND_MS - 2_000: 900, swap_ms + AROUND_MS + 1_000: 700}
    found = pause_at_swap(stream(far, swap_ms=swap_ms), 2, since_ms=START_MS)
    assert found.longest_gap_ms == 10


def test_a_gap_that_reaches_into_the_window_counts() -> None:
    swap_ms = 30_000
    found = pause_at_swap(stream({swap_ms - AROUND_MS - 100: 300}, swap_ms=swap_ms), 2, since_ms=START_MS)
    assert (found.longest_gap_ms, found.handover_gap_ms) == (300, 10)


def test_nothing_is_called_typical_without_a_window_to_compare_with() -> None:
    assert pause_at_swap(stream({}, swap_ms=6_000), 2, since_ms=START_MS).typical_gap_ms is None


def test_a_swap_that_never_happened_has_no_pause() -> None:
    with pytest.raises(ValueError, match="sequence 2 made no output"):
        pause_at_swap(stream({}, swap_ms=90_000), 2, since_ms=START_MS)


def test_predictions_are_counted_by_version_without_dead_letters() -> None:
    outcomes = [outcome(0, 1), outcome(1, 1), outcome(2, 2), outcome(3, 2, dead_letter=True)]
    assert versions(outcomes) == (VersionCount("v1", 1, 2), VersionCount("v2", 2, 1))


def test_rates_are_of_the_seconds_in_which_something_came_out() -> None:
    outcomes = [outcome(0, 1), outcome(500, 1), outcome(9_000, 2), outcome(9_001, 2, dead_letter=True)]
    assert per_second(outcomes) == {(1000, 1): 2, (1009, 2): 1, (1009, 0): 1}
    assert records_per_s(outcomes) == 2.0
    assert records_per_s([]) == 0.0
