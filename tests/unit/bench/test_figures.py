"""The arithmetic between what was sampled and what is told."""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bench import latency, swaps, throughput
from bench.cost import event_s, memory_figures
from bench.measurements import Results
from bench.visible import SCORE, Counted, Sample, _right, at


def drained(rate: float, stall_s: float = 0.0) -> list[Sample]:
    """Samples of somebody who takes a second to start, then drains at a rate."""
    return [Sample(t / 10, int(max(0.0, t / 10 - 1.0 - stall_s) * rate), t / 20) for t in range(100)]


def test_the_rate_is_taken_after_the_warm_up_and_without_the_start() -> None:
    for stall_s in (0.0, 3.0):
        found = throughput.window(drained(1_000, stall_s), 4_000, share=1.0)
        assert found["records_per_s"] == pytest.approx(1_000, rel=0.01)
        assert found["records"] == pytest.approx(3_000, rel=0.05)
        assert found["processor_us_per_record"] == pytest.approx(500, rel=0.02)


def test_markers_of_transactions_are_no_records() -> None:
    found = throughput.window(drained(1_000), 4_000, share=Counted(80, 100, 0, 0).share)
    assert found["records_per_s"] == pytest.approx(800, rel=0.01)


def test_whoever_is_done_between_two_looks_is_given_the_time_between_them() -> None:
    samples = [Sample(0.0, 0, 0.0), Sample(2.0, 0, 1.0), Sample(2.5, 4_000, 1.2), Sample(3.0, 4_000, 1.3)]
    found = throughput.window(samples, 4_000, share=1.0)
    assert found["records"] == 4_000
    assert found["window_s"] == pytest.approx(0.5)
    assert found["records_per_s"] == pytest.approx(8_000)


def test_without_a_look_before_there_is_no_rate() -> None:
    with pytest.raises(ValueError, match="before the first look"):
        throughput.window([Sample(0.0, 4_000, 0.0)], 4_000, share=1.0)


def test_a_sample_that_never_came_is_an_error() -> None:
    with pytest.raises(StopIteration):
        at(drained(1), 1_000)


@pytest.mark.parametrize(
    ("value", "right"),
    [
        (b'{"model":"m","score":0.25,"decision":false}', True),
        (b'{"score": 0.25}', True),
        (b'{"score": 0.2500001}', False),
        (b"{}", False),
        (None, False),
    ],
)
def test_a_score_is_held_against_the_one_that_its_record_must_have(value: bytes | None, right: bool) -> None:
    assert _right(b"k", value, {b"k": 0.25}) is right
    assert _right(b"another", value, {b"k": 0.25}) is False
    assert _right(b"k", value, {}) is True
    assert SCORE.groups == 1


def test_ratios_are_batons_median_by_the_others(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.jsonl", "run")
    for contestant, rates in {"baton": (90, 100, 110), "quix": (9, 10, 20), "baton-2": (50,)}.items():
        for number, rate in enumerate(rates):
            microseconds = 12.0 if contestant == "baton-2" else 10.0
            results.add(contestant=contestant, round=number, records_per_s=rate, processor_us_per_record=microseconds)
    text = throughput.summary(results)
    assert "| quix | 3 | 10 | 10.00 | 10.00 times |" in text
    assert "| baton | 3 | 100 | 10.00 |  |" in text
    assert "1.20 times the processor time" in text


def test_latency_is_taken_of_the_records_that_were_sent_in_the_window() -> None:
    sent = np.array([0, 100, 200, 300], dtype=np.int64) * 1_000_000
    came = sent + np.array([50, 1, 3, 70], dtype=np.int64) * 1_000_000
    found = latency._steady(2_000, 100_000_000, 200_000_000, sent, came)
    assert (found["records"], found["p50_ms"], found["longest_ms"]) == (2, 1.0, 3.0)


def test_a_burst_lasts_until_its_last_answer() -> None:
    sent = np.array([10, 11, 500, 501], dtype=np.int64) * 1_000_000
    came = np.array([12, 30, 505, 504], dtype=np.int64) * 1_000_000
    found = latency._burst([10_000_000, 500_000_000], sent, came)
    assert (found["p50_ms"], found["longest_ms"]) == (5.0, 20.0)


def pair(sent: tuple[int, int, int]) -> swaps.Pair:
    made = swaps.Pair(2)
    made.edges, made.sent = [0.0, 1.0, 2.0], [*sent]
    return made


def test_a_pair_has_the_longest_gap_with_a_swap_and_without() -> None:
    begun = [t / 100 for t in range(50)] + [t / 100 + 0.02 for t in range(50, 201)]
    found = pair((0, 1_000, 2_000)).measured(begun, 1_000)
    assert max(late - early for early, late in pairwise(begun)) == pytest.approx(0.03)
    assert found["gap_ms"] == pytest.approx(30.0, abs=0.01)
    assert found["without_ms"] == pytest.approx(10.0, abs=0.01)


def test_a_window_in_which_the_sender_fell_behind_is_refused() -> None:
    begun = [t / 100 for t in range(201)]
    with pytest.raises(RuntimeError, match="did not keep its pace"):
        pair((0, 1_000, 1_500)).measured(begun, 1_000)


LOG = """not json
{"partitions": ["in/0", "in/3"], "event": "partitions.revoked", "timestamp": "2026-04-01T06:00:01Z"}
{"partitions": ["in/3"], "event": "partitions.revoked", "timestamp": "2026-04-01T06:00:02Z"}
{"event": "topics.subscribed", "timestamp": "2026-04-01T06:00:03.500000Z"}
"""


def test_partitions_that_left_are_read_from_the_workers_log() -> None:
    assert swaps.revoked(LOG) == [0, 3]
    assert swaps.revoked("") == []


def test_a_moment_is_read_from_the_workers_log() -> None:
    assert event_s(LOG, "partitions.revoked") + 2.5 == event_s(LOG, "topics.subscribed")
    with pytest.raises(LookupError):
        event_s(LOG, "partitions.assigned")


def test_memory_that_grows_is_seen_to_grow() -> None:
    megabyte = 2**20
    flat = memory_figures([(records, 150 * megabyte) for records in range(1, 101)])
    leaking = memory_figures([(records, (100 + records) * megabyte) for records in range(1, 101)])
    assert (flat["early_mb"], flat["late_mb"]) == (150.0, 150.0)
    assert leaking["late_mb"] - leaking["early_mb"] > 70
    assert leaking["highest_mb"] == 200.0


@pytest.mark.parametrize("bench", ["throughput", "latency", "swaps", "cost", "stages"])
def test_every_bench_explains_itself(
    bench: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = __import__(f"bench.{bench}", fromlist=["main"])
    monkeypatch.setattr(sys, "argv", [bench, "--help"])
    with pytest.raises(SystemExit):
        module.main()
    text = capsys.readouterr().out
    assert f"python -m bench.{bench}" in text
    assert "--short" in text
    assert "--run" in text
