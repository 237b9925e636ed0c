"""What the alerts and the dashboard ask for exists: metrics and labels stand in the reference."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[3]
REFERENCE = PROJECT / "docs" / "reference" / "metrics.md"
RULES = PROJECT / "deploy" / "prometheus" / "rules.yml"
DASHBOARD = PROJECT / "deploy" / "grafana" / "dashboards" / "workers.json"
# What Prometheus adds to every series, and what the metrics of each process carry.
TARGET = {"job", "instance"}
PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_start_time_seconds"}


def known() -> dict[str, set[str]]:
    """Labels by the names of series, from the reference."""
    rows = re.findall(r"^\| `(baton_\w+)` \| (\w+) \| ([^|]*) \|", REFERENCE.read_text(), re.MULTILINE)
    found = dict.fromkeys(("up", *PROCESS), TARGET)
    for name, kind, labels in rows:
        own = TARGET | set(re.findall(r"`(\w+)`", labels))
        if kind == "histogram":
            found |= {f"{name}_bucket": own | {"le"}, f"{name}_sum": own, f"{name}_count": own}
        else:
            found[name] = own
    return found


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def expressions() -> Iterator[str]:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for panel in panels():
        yield from (target["expr"] for target in panel["targets"])


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_every_series_that_is_asked_for_exists_with_its_labels(expression: str) -> None:
    series = known()
    found = re.findall(r"\b(up|(?:baton|process)_\w+)\b(?:\{([^}]*)\})?", expression)
    assert found
    offered = set().union(*(series[name] for name, _ in found))
    for name, selectors in found:
        used = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", selectors))
        assert used <= series[name], (name, used - series[name])
    for grouped in re.findall(r"\bby \(([^)]*)\)", expression):
        assert {label.strip() for label in grouped.split(",")} <= offered, grouped


def test_the_dashboard_leaves_nothing_out_that_tells_of_records_or_versions() -> None:
    asked = " ".join(target["expr"] for panel in panels() for target in panel["targets"])
    told_elsewhere = {"baton_worker_info", "baton_worker_live", "baton_worker_notices_rejected_total"}
    told_elsewhere |= {"baton_worker_cache_bundles"}
    told_elsewhere |= {"baton_api_info", "baton_api_notices_rejected_total"}
    told_elsewhere |= {"baton_api_cache_bundles", "baton_api_cache_bytes", "baton_api_cache_free_bytes"}  # the workers'
    names = re.findall(r"^\| `(baton_(?:worker|api)_\w+)` \|", REFERENCE.read_text(), re.MULTILINE)
    assert {name for name in names if name not in asked} == told_elsewhere


def test_every_panel_has_a_title_of_its_own_and_a_place_of_its_own() -> None:
    found = panels()
    assert len({panel["title"] for panel in found}) == len({panel["id"] for panel in found}) == len(found)
    cells = [
        (x, y)
        for panel in found
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
