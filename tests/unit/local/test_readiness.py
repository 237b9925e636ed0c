import json
from datetime import UTC, datetime, timedelta

import pytest

from local.ports import free_ports
from local.readiness import AIRFLOW_PARTS, all_healthy, fetch

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def _health(*, beat: datetime = START, unhealthy: str = "") -> bytes:
    parts = {part: {"status": "unhealthy" if part == unhealthy else "healthy"} for part in AIRFLOW_PARTS}
    for part in AIRFLOW_PARTS[1:]:
        parts[part][f"latest_{part}_heartbeat"] = beat.isoformat()
    return json.dumps(parts).encode()


def test_airflow_is_ready_when_every_part_is_healthy() -> None:
    assert all_healthy(_health(), since=START)


@pytest.mark.parametrize("part", AIRFLOW_PARTS)
def test_airflow_is_not_ready_while_one_part_is_not(part: str) -> None:
    assert not all_healthy(_health(unhealthy=part), since=START)


def test_a_heartbeat_of_an_earlier_start_does_not_count() -> None:
    assert not all_healthy(_health(beat=START - timedelta(seconds=1)), since=START)


@pytest.mark.parametrize("answer", [b"", b"<html>", b"[]", b"{}", b'{"metadatabase": null}'])
def test_an_answer_of_another_form_is_not_readiness(answer: bytes) -> None:
    assert not all_healthy(answer, since=START)


def test_nothing_is_fetched_from_a_port_on_which_nobody_listens() -> None:
    assert fetch(f"http://127.0.0.1:{free_ports(1)[0]}/health") is None
