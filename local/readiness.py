"""When is a component ready: conditions that are asked again and again, never a fixed wait."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime

from local.kafka.broker import accepts_connections, answers_metadata
from local.settings import StackSettings

AIRFLOW_PARTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")

Condition = Callable[[], bool]


def conditions(settings: StackSettings, *, since: datetime) -> dict[str, Condition]:
    """By component, whether it serves. Heartbeats older than ``since`` are those of an earlier start."""
    return {
        "kafka": lambda: kafka_ready(settings),
        "mlflow": lambda: mlflow_ready(settings),
        "airflow": lambda: airflow_ready(settings, since=since),
        # These wait by themselves for broker and model: running is enough.
        "daemon": lambda: True,
        "sink": lambda: True,
        "api": lambda: fetch(f"{settings.api_url}/livez") is not None,
    }


def kafka_ready(settings: StackSettings) -> bool:
    """Whether the broker serves metadata."""
    return accepts_connections(settings.ports.kafka) and answers_metadata(
        {"bootstrap.servers": settings.kafka_bootstrap}, timeout_s=2.0
    )


def mlflow_ready(settings: StackSettings) -> bool:
    """Whether the registry's health check answers."""
    return fetch(f"{settings.mlflow_url}/health") is not None


def airflow_ready(settings: StackSettings, *, since: datetime) -> bool:
    """Whether all parts of Airflow say that they are healthy, in heartbeats not older than ``since``."""
    answer = fetch(f"{settings.airflow_url}/api/v2/monitor/health")
    return answer is not None and all_healthy(answer, since=since)


def all_healthy(answer: bytes, *, since: datetime) -> bool:
    """Judge the answer of Airflow's health check."""
    try:
        health = json.loads(answer)
        return all(_is_healthy(part, health[part], since) for part in AIRFLOW_PARTS)
    except (KeyError, TypeError, ValueError):
        return False


def fetch(url: str, *, timeout_s: float = 3.0) -> bytes | None:
    """The body of a successful GET to a server on this machine, or None."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout_s) as response:
            return bytes(response.read())
    except (urllib.error.URLError, OSError):
        return None


def _is_healthy(part: str, found: dict[str, str], since: datetime) -> bool:
    if found["status"] != "healthy":
        return False
    if part == "metadatabase":
        return True
    beat = datetime.fromisoformat(found[f"latest_{part}_heartbeat"])
    return (beat if beat.tzinfo else beat.replace(tzinfo=UTC)) >= since
