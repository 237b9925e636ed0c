"""Prometheus's own checker of rules: the program, and test files for it."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

INSTALL = "apt-get install -y prometheus"


class Case(msgspec.Struct, frozen=True):
    """What the workers' numbers are, and which alerts fire after ``minutes``.

    Attributes:
        series: values by series in Prometheus's own notation, one value a minute.
        firing: labels of each alert that fires, beside its name and severity.
    """

    alert: str
    title: str
    series: Mapping[str, str]
    minutes: int
    firing: Sequence[Mapping[str, str]] = ()


def promtool(*words: str) -> str:
    """What the program says; fails the test where it finds something wrong. Skips outside CI where it is missing."""
    if shutil.which("promtool") is None:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing(f"promtool is not installed; run: {INSTALL}")
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def rules_test(rules: Path, severities: Mapping[str, str], cases: Sequence[Case]) -> dict[str, Any]:
    """The content of a file for ``promtool test rules``."""
    return {"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [_test(c, severities) for c in cases]}


def _test(case: Case, severities: Mapping[str, str]) -> dict[str, Any]:
    fired = [{"alertname": case.alert, "severity": severities[case.alert], **labels} for labels in case.firing]
    return {
        "name": f"{case.alert}: {case.title}",
        "interval": "1m",
        "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
        "promql_expr_test": [
            {
                "expr": f'ALERTS{{alertname="{case.alert}", alertstate="firing"}}',
                "eval_time": f"{case.minutes}m",
                "exp_samples": [{"labels": _labels(labels), "value": 1} for labels in fired],
            }
        ],
    }


def _labels(labels: Mapping[str, str]) -> str:
    inner = ", ".join(f'{name}="{value}"' for name, value in sorted({**labels, "alertstate": "firing"}.items()))
    return f"ALERTS{{{inner}}}"
