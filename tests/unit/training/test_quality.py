"""Quality by interval, from the runs that a registry keeps."""

import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta

import pytest

from scoring.contract.clock import rfc3339
from scoring.contract.errors import ConfigurationError
from scoring.registry.port import RunInfo
from training.quality.drawing import curve, page
from training.quality.intervals import intervals, metrics_in

BEGIN = datetime(2013, 1, 1, tzinfo=UTC)


def params(month: int) -> dict[str, str]:
    """Of a run over the months before ``month``, the last of them held out."""
    end = BEGIN.replace(month=month)
    held_out = end - timedelta(days=28)
    return {
        "data_start": rfc3339(BEGIN),
        "data_end": rfc3339(end),
        "holdout_start": rfc3339(held_out),
        "holdout_rows": "1200",
    }


def run(month: int, value: float, *, at: int = 0, outcome: str = "accepted", purpose: str = "backfill") -> RunInfo:
    return RunInfo(
        run_id=f"{month}-{at}",
        started_at=BEGIN + timedelta(days=400, minutes=at),
        params=params(month),
        metrics={
            "auc": value,
            "auc_low": value - 0.02,
            "auc_high": value + 0.02,
            "auc_gain": 0.1,
            "auc_gain_low": 0.08,
            "trivial_auc": 0.5,
            "average_precision": 0.4,
            "average_precision_low": 0.3,
        },
        tags={"baton.outcome": outcome, "baton.purpose": purpose, "baton.sentence": "<why>", "baton.run_id": "a run"},
    )


def test_the_newest_run_of_each_interval_counts_in_order_of_the_holdouts() -> None:
    metric, found = intervals([run(5, 0.7, at=3), run(4, 0.8, at=2), run(4, 0.6, at=9), run(4, 0.9, at=1)])
    assert metric == "auc"
    assert [(each.end.month, each.value) for each in found] == [(4, 0.6), (5, 0.7)]
    first = found[0]
    assert (first.low, first.high, first.baseline, first.against) == (0.58, 0.62, 0.5, "trivial")
    assert (first.rows, first.purpose, first.outcome) == (1_200, "backfill", "accepted")
    assert first.start == datetime.fromisoformat(params(4)["holdout_start"])


def test_what_the_gates_compare_is_shown_first_and_another_metric_on_request() -> None:
    runs = [run(4, 0.7)]
    assert metrics_in(runs) == ["auc", "average_precision"]
    metric, found = intervals(runs, "average_precision")
    assert (metric, found[0].value, found[0].high, found[0].baseline) == ("average_precision", 0.4, None, None)


def test_a_metric_that_no_run_has_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match="no metric rmse in these runs; there is auc, average_precision"):
        intervals([run(4, 0.7)], "rmse")
    nothing = RunInfo(run_id="x", started_at=BEGIN, params={}, metrics={}, tags={})
    with pytest.raises(ConfigurationError, match="no candidate was evaluated yet"):
        intervals([nothing])


def test_the_page_draws_a_point_for_each_interval_and_marks_what_was_refused() -> None:
    _, found = intervals(
        [run(month, 0.7 + month / 100, outcome="refused" if month == 5 else "accepted") for month in (4, 5, 6)]
    )
    svg = ET.fromstring(curve("small", "auc", found))  # noqa: S314  our own
    circles = [str(each.get("class")) for each in svg.iter("circle")]
    assert sorted(circles) == ["bad", "first", "first"]
    text = page("small", "auc", found)
    assert text.count("<tr ") == 3
    assert "&lt;why&gt;" in text
    assert "http" not in text.replace("http-equiv", "")
