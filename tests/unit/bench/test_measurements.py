import json
from pathlib import Path

import pytest

from bench.measurements import Line, Results, medians, newest_run, quantile, read, table


def test_a_run_goes_on_where_its_lines_end_and_leaves_other_runs_alone(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    Results(path, "first").add(contestant="baton", round=0, records_per_s=10)
    Results(path, "second").add(contestant="baton", round=1, records_per_s=20)
    again = Results(path, "first")
    assert len(read(path)) == 2
    assert again.has(contestant="baton", round=0)
    assert not again.has(contestant="baton", round=1)
    again.add(contestant="baton", round=1, records_per_s=30)
    assert [line["records_per_s"] for line in Results(path, "first").lines] == [10, 30]
    assert newest_run(path) == "first"


def test_a_line_that_was_cut_off_by_a_kill_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    Results(path, "run").add(round=0)
    path.write_text(path.read_text() + '{"run": "run", "rou')
    assert [line["round"] for line in read(path)] == [0]


def test_a_run_after_a_kill_writes_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text('{"run": "run", "rou')
    Results(path, "run").add(round=0)
    assert [line["round"] for line in read(path)] == [0]


def test_without_recording_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    results = Results(path, "run", recording=False)
    results.add(round=0)
    assert len(results.lines) == 1
    assert not path.exists()


def test_each_line_says_by_which_revision_and_when_it_was_measured(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    Results(path, "run").add(round=0)
    (line,) = map(json.loads, path.read_text().splitlines())
    assert {"run", "round", "at", "revision", "python"} == line.keys()


def test_medians_are_taken_by_name() -> None:
    found = (("a", 1), ("a", 9), ("b", 5), ("a", 2), ("b", None))
    lines: list[Line] = [{"who": who, "n": n} for who, n in found]
    assert medians(lines, "who", "n") == {"a": 2, "b": 5}


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100)])
def test_a_quantile_is_the_smallest_value_that_covers_its_share(share: float, expected: int) -> None:
    assert quantile([*range(100, 0, -1)], share) == expected


def test_a_table_is_markdown() -> None:
    assert table(("a", "b"), [(1, "x")]) == "| a | b |\n| --- | --- |\n| 1 | x |"
