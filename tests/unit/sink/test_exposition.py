"""A sink's metrics, and the probes behind its endpoint."""

import re
from pathlib import Path

from scoring.sink.exposition import METRICS, Source, exposition
from scoring.sink.metrics import Metrics
from scoring.sink.readiness import PartitionView, Report, View, view

READ = PartitionView(topic="small.predictions", partition=1, next_offset=7, lag=3, lag_s=1.5)
WAITING = PartitionView(topic="small.predictions", partition=2, problem="the tables are elsewhere")


def counted() -> Metrics:
    metrics = Metrics()
    metrics.records["small.predictions"] = 12
    metrics.unreadable["small.predictions"] = 2
    metrics.gone["small.predictions", "1"] = 5
    metrics.batches["written"] = 3
    metrics.batch_records.observe(4)
    return metrics


def told(seen: View) -> str:
    return exposition(Source(metrics=counted(), view=lambda: seen, info=("0", "1.0")))("text/plain")[0].decode()


def test_what_was_counted_is_told() -> None:
    text = told(view(Report(joined=True, partitions=(READ, WAITING)), 0.0))
    for line in (
        'baton_sink_records_total{topic="small.predictions"} 12.0',
        'baton_sink_unreadable_total{topic="small.predictions"} 2.0',
        'baton_sink_gone_total{partition="1",topic="small.predictions"} 5.0',
        'baton_sink_gone_total{partition="2",topic="small.predictions"} 0.0',
        'baton_sink_lag_records{partition="1",topic="small.predictions"} 3.0',
        'baton_sink_lag_seconds{partition="1",topic="small.predictions"} 1.5',
        'baton_sink_partition_waiting{partition="2",topic="small.predictions"} 1.0',
        "baton_sink_batch_records_count 1.0",
        "baton_sink_database_up 1.0",
        "baton_sink_ready 0.0",
    ):
        assert line in text
    assert 'baton_sink_lag_records{partition="2"' not in text


def test_every_metric_that_has_a_name_is_told_and_no_other() -> None:
    text = told(view(Report(joined=True, partitions=(READ,)), 0.0))
    found = set(re.findall(r"^# TYPE (baton_\w+?)(?:_total)? ", text, re.MULTILINE))
    assert found == {metric.name for metric in METRICS}


def test_the_page_of_metrics_names_each_with_its_kind_labels_and_meaning() -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"
    rows = re.findall(r"^\| `(baton_sink_\w+)` \| (\w+) \| ([^|]*) \| (.*) \|$", page.read_text(), re.MULTILINE)
    suffix = {"counter": "_total"}
    assert rows == [
        (f"{m.name}{suffix.get(m.kind, '')}", m.kind, ", ".join(f"`{label}`" for label in m.labels), m.meaning)
        for m in METRICS
    ]


def test_it_is_ready_while_everything_is_read_and_alive_while_its_thread_comes_round() -> None:
    ready = view(Report(joined=True, partitions=(READ,)), 0.0)
    assert (ready.live, ready.ready, ready.why_not) == (True, True, ())
    assert not view(Report(joined=True, partitions=(READ,)), 100.0).live
    assert not view(Report(joined=True, partitions=(READ,)), 100.0).ready


def test_why_it_is_not_ready_is_said() -> None:
    reasons = {
        Report(): "the group has not assigned partitions yet",
        Report(joined=True, problem="the database is away"): "the database is away",
        Report(joined=True, missing=("a",)): "there is no topic a; `baton topics create` makes it",
        Report(joined=True, partitions=(WAITING,)): "small.predictions/2 waits: the tables are elsewhere",
    }
    assert {view(report, 0.0).why_not[0] for report in reasons} == set(reasons.values())
    assert all(not view(report, 0.0).ready for report in reasons)


def test_a_sink_without_partitions_of_its_own_is_ready_for_others_have_them() -> None:
    assert view(Report(joined=True), 0.0).ready
