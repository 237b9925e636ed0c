"""The DAG that scores past periods, run by Airflow: its mapped tasks write what the command writes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from baton_airflow.backfill import PARTS, build_backfill_dag, form
from scoring.backfill.asked import asked_for, name_of
from scoring.backfill.chunks import Place
from scoring.cli import group
from scoring.contract.clock import rfc3339
from tests.support.backfills import rows_of
from tests.support.past import MODEL, RECORDS, Past, day, make_past, with_champions

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def past(tmp_path: Path) -> Iterator[Past]:
    found = with_champions(make_past(tmp_path))
    with pytest.MonkeyPatch.context() as environment:
        for name, value in found.environment.items():
            environment.setenv(name, value)
        yield found


def asked(**more: Any) -> dict[str, Any]:
    given = {"model": MODEL, "start": rfc3339(day(0)), "end": rfc3339(day(4)), "parts": 2}
    return {**{name: param.value for name, param in form().items()}, **given, **more}


def run(**more: Any) -> Any:
    return build_backfill_dag().test(run_conf=asked(**more))


def place(past: Past, name: str) -> Place:
    return Place(model=MODEL, name=name, url=past.environment["BATON_PREDICTIONS_URL"])


def test_mapped_tasks_write_what_the_command_writes_and_a_second_run_finds_it_done(past: Past) -> None:
    for _ in range(2):
        found = run()
        assert found.state == "success"
        told = {each.task_id: each.state for each in found.get_task_instances()}
        assert told == {"begin": "success", "score": "success", "end": "success"}
    name = name_of(asked_for(MODEL, day(0), day(4)), None)
    words = ["backfill", MODEL, "--from", rfc3339(day(0)), "--to", rfc3339(day(4)), "--name", "command"]
    assert CliRunner().invoke(group, words).exit_code == 0
    rows = rows_of(place(past, name))
    assert len(rows) == RECORDS
    assert rows == rows_of(place(past, "command"))


def test_what_looks_ahead_is_refused_and_not_tried_again(past: Past) -> None:
    past.register(4, start=day(-30), end=day(3))
    found = run(version="4")
    assert found.state == "failed"
    (began,) = [each for each in found.get_task_instances() if each.task_id == "begin"]
    assert (began.state, began.try_number) == ("failed", 1)


def test_the_form_explains_each_field() -> None:
    fields = form()
    assert fields.keys() == {
        "model",
        "start",
        "end",
        "version",
        "name",
        "from_topic",
        "allow_lookahead",
        "parts",
    }
    assert fields["parts"].value == PARTS
    for param in fields.values():
        assert param.schema["title"]
        assert len(param.description or "") > 20
