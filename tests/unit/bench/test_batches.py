from itertools import pairwise

import msgspec
import pytest

from bench.batches import Batch, Faults, Gathering, faults, longest_gap_s, moments


def prediction(partition: int, offset: int, sequence: int = 1, second: int = 0) -> bytes:
    """A prediction as a worker writes it."""
    place = {"topic": "flights.input", "topic_id": "x", "partition": partition, "offset": offset}
    return msgspec.json.encode(
        {
            "model": "flights",
            "version": "1",
            "sequence": sequence,
            "manifest_digest": "a" * 64,
            "scored_at": f"2026-04-01T06:00:{second:02d}.250000Z",
            "score": 0.5,
            "decision": False,
            "event_time": "2013-01-01T00:00:00Z",
            "input": place,
        }
    )


def gathered(*values: bytes) -> list[Batch]:
    gathering = Gathering()
    for value in values:
        gathering.add(value)
    assert gathering.records == len(values)
    return gathering.batches()


def test_predictions_of_one_moment_are_one_micro_batch() -> None:
    found = gathered(*(prediction(0, offset) for offset in range(5)), prediction(0, 5, second=1), prediction(1, 0))
    assert [(batch.partition, batch.first, batch.last) for batch in found] == [(0, 0, 4), (0, 5, 5), (1, 0, 0)]
    assert [late - early for early, late in pairwise(moments(found))] == [1.0]


def test_a_swap_ends_a_micro_batch_even_within_one_moment() -> None:
    assert len(gathered(prediction(0, 0, sequence=1), prediction(0, 1, sequence=2))) == 2


def test_what_is_no_prediction_is_refused() -> None:
    with pytest.raises(ValueError, match="no prediction"):
        gathered(b"{}")


def test_a_good_stream_has_no_faults() -> None:
    good = [prediction(p, n, sequence=1 + n // 5, second=n) for n in range(10) for p in (0, 1)]
    assert faults(gathered(*good)) == Faults(0, 0, 0)


def test_a_version_that_scores_after_its_successor_is_found() -> None:
    bad = [prediction(0, 0, 1, 0), prediction(0, 1, 2, 1), prediction(0, 2, 1, 2), prediction(0, 3, 1, 2)]
    assert faults(gathered(*bad)).backwards == 2
    other_partition = [prediction(0, 0, 2, 0), prediction(1, 0, 1, 1)]
    assert faults(gathered(*other_partition)).backwards == 0


def test_records_that_were_doubled_disordered_or_skipped_are_found() -> None:
    assert faults(gathered(prediction(0, 0), prediction(0, 0))).disordered == 1
    assert faults(gathered(prediction(0, 5), prediction(0, 4))).disordered == 1
    assert faults(gathered(prediction(0, 0), prediction(0, 4))).skipped == 3


def test_the_longest_gap_counts_where_its_second_micro_batch_begins() -> None:
    begun = [0.0, 1.0, 5.0, 6.0, 6.5]
    assert longest_gap_s(begun, 0.0, 10.0) == 4.0
    assert longest_gap_s(begun, 2.0, 5.5) == 4.0
    assert longest_gap_s(begun, 5.0, 10.0) == 1.0


def test_a_window_without_micro_batches_is_an_error_and_not_a_short_gap() -> None:
    with pytest.raises(ValueError, match="no two micro-batches"):
        longest_gap_s([0.0, 1.0], 2.0, 3.0)
