"""The alerts fire when they should and only then, and each leads to a page that says what to do."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.promtool import Case, promtool, rules_test

PROJECT = Path(__file__).parents[3]
FOLDER = PROJECT / "deploy" / "prometheus"
RULES = FOLDER / "rules.yml"

ONE = 'job="baton", instance="one"'
TWO = 'job="baton", instance="two"'
TOPIC = 'topic="m.input", partition="0"'
HERE = {"job": "baton", "instance": "one"}
SINK = 'job="baton-sink", instance="one"'
SINK_HERE = {"job": "baton-sink", "instance": "one"}
WRITTEN = 'topic="m.predictions", partition="0"'
API = 'job="baton-api", instance="one"'
API_HERE = {"job": "baton-api", "instance": "one"}
UNREADABLE = f'baton_sink_unreadable_total{{{SINK}, topic="m.predictions"}}'
PARTITIONS_OF_TWO = f'baton_worker_partitions{{{TWO}, model="m"}}'
UNASSIGNED = {f'baton_worker_partitions{{{ONE}, model="m"}}': "0x20", PARTITIONS_OF_TWO: "0x20"}
SERVED = {f'baton_worker_model_sequence{{{ONE}, model="m"}}': "3x20"}
REQUESTED = f'baton_api_model_sequence{{{API}, model="m"}}'
STARTED = f"process_start_time_seconds{{{API}}}"
FOREIGN = f'baton_api_notices_rejected_total{{{API}, reason="signature"}}'
FAILED = f'baton_api_requests_total{{{API}, operation="score", status="500"}}'


def requests(status: str, share: int) -> dict[str, str]:
    """A hundred requests a minute, of which so many are answered with a status."""
    name = f'baton_api_requests_total{{{API}, operation="score", status='
    return {f'{name}"200"}}': f"0+{100 - share}x30", f'{name}"{status}"}}': f"0+{share}x30"}


CASES = (
    Case(
        "BatonRecordsWait",
        "two minutes",
        {f"baton_worker_lag_seconds{{{ONE}, {TOPIC}}}": "90x10"},
        3,
        [{"topic": "m.input"}],
    ),
    Case("BatonRecordsWait", "a burst", {f"baton_worker_lag_seconds{{{ONE}, {TOPIC}}}": "90 90 5x10"}, 4),
    Case(
        "BatonSlowAnswers",
        "all take a minute",
        {
            f'baton_worker_delay_seconds_bucket{{{ONE}, le="30.0"}}': "0x30",
            f'baton_worker_delay_seconds_bucket{{{ONE}, le="60.0"}}': "0+600x30",
            f'baton_worker_delay_seconds_bucket{{{ONE}, le="+Inf"}}': "0+600x30",
        },
        20,
        [{}],
    ),
    Case(
        "BatonSlowAnswers",
        "all are quick",
        {
            f'baton_worker_delay_seconds_bucket{{{ONE}, le="0.1"}}': "0+600x30",
            f'baton_worker_delay_seconds_bucket{{{ONE}, le="+Inf"}}': "0+600x30",
        },
        20,
    ),
    Case(
        "BatonDeadLetters",
        "one in ten",
        {
            f'baton_worker_records_total{{{ONE}, model="m"}}': "0+100x30",
            f'baton_worker_dead_letters_total{{{ONE}, model="m", reason="not-json"}}': "0+10x30",
        },
        15,
        [{"model": "m"}],
    ),
    Case(
        "BatonDeadLetters",
        "one in a thousand",
        {
            f'baton_worker_records_total{{{ONE}, model="m"}}': "0+10000x30",
            f'baton_worker_dead_letters_total{{{ONE}, model="m", reason="not-json"}}': "0+10x30",
        },
        15,
    ),
    Case(
        "BatonDeadLetters",
        "one of few",
        {
            f'baton_worker_records_total{{{ONE}, model="m"}}': "0+4x30",
            f'baton_worker_dead_letters_total{{{ONE}, model="m", reason="not-json"}}': "0+1x30",
        },
        15,
    ),
    Case("BatonBreakerOpen", "open", {f'baton_worker_breaker_open{{{ONE}, model="m"}}': "0 1x10"}, 5, [{"model": "m"}]),
    Case("BatonBreakerOpen", "closed", {f'baton_worker_breaker_open{{{ONE}, model="m"}}': "0x10"}, 5),
    Case(
        "BatonPartitionHeld",
        "held for long",
        {f'baton_worker_partition_paused{{{ONE}, {TOPIC}, reason="held"}}': "1x30"},
        15,
        [{"topic": "m.input", "partition": "0", "reason": "held"}],
    ),
    Case(
        "BatonPartitionHeld",
        "another pause",
        {f'baton_worker_partition_paused{{{ONE}, {TOPIC}, reason="unread"}}': "1x30"},
        15,
    ),
    Case(
        "BatonLookupsAway",
        "a database is down",
        {f'baton_worker_partition_paused{{{ONE}, {TOPIC}, reason="lookup"}}': "1x30"},
        10,
        [{"topic": "m.input"}],
    ),
    Case(
        "BatonLookupsAway",
        "it came back",
        {f'baton_worker_partition_paused{{{ONE}, {TOPIC}, reason="lookup"}}': "1 1 stale"},
        10,
    ),
    Case("BatonNoWorker", "none answers", {f"up{{{ONE}}}": "0x10", f"up{{{TWO}}}": "0x10"}, 5, [{}]),
    Case("BatonNoWorker", "none is known", {'up{job="prometheus"}': "1x10"}, 5, [{}]),
    Case("BatonNoWorker", "one is left", {f"up{{{ONE}}}": "0x10", f"up{{{TWO}}}": "1x10"}, 5),
    Case("BatonWorkerDown", "one is gone", {f"up{{{ONE}}}": "1 0x10", f"up{{{TWO}}}": "1x10"}, 5, [HERE]),
    Case("BatonWorkerDown", "one hangs", {f"up{{{ONE}}}": "1x10", f"baton_worker_live{{{ONE}}}": "1 0x10"}, 5, [HERE]),
    Case(
        "BatonWorkerDown", "a restart", {f"up{{{ONE}}}": "1 0 1x10", f"baton_worker_live{{{ONE}}}": "1 stale 1x10"}, 5
    ),
    Case("BatonWorkerNotReady", "a quarter of an hour", {f"baton_worker_ready{{{ONE}}}": "0x20"}, 15, [HERE]),
    Case("BatonWorkerNotReady", "a start", {f"baton_worker_ready{{{ONE}}}": "0x3 1x20"}, 15),
    Case(
        "BatonModelUnserved",
        "no partitions",
        {**SERVED, **UNASSIGNED},
        10,
        [{"model": "m"}],
    ),
    Case("BatonModelUnserved", "one stands by", {**SERVED, **UNASSIGNED, PARTITIONS_OF_TWO: "4x20"}, 10),
    Case("BatonModelUnserved", "before the first promotion", UNASSIGNED, 10),
    Case(
        "BatonModelUnserved",
        "out of service",
        {**SERVED, **UNASSIGNED, f'baton_worker_model_state{{{ONE}, model="m", state="retired"}}': "1x20"},
        10,
    ),
    Case("BatonRestartLoop", "supervised", {f"baton_worker_restarts_total{{{ONE}}}": "0+1x30"}, 20, [HERE]),
    Case(
        "BatonRestartLoop",
        "in containers",
        {f"process_start_time_seconds{{{ONE}}}": "100 200 300 400 500 600x30"},
        20,
        [HERE],
    ),
    Case(
        "BatonRestartLoop",
        "a rollout",
        {f"baton_worker_restarts_total{{{ONE}}}": "0x30", f"process_start_time_seconds{{{ONE}}}": "100x9 200x20"},
        20,
    ),
    Case(
        "BatonVersionRefused",
        "refused",
        {f'baton_worker_model_state{{{ONE}, model="m", state="refused"}}': "0 1x10"},
        5,
        [{"model": "m", "instance": "one"}],
    ),
    Case("BatonVersionRefused", "live", {f'baton_worker_model_state{{{ONE}, model="m", state="refused"}}': "0x10"}, 5),
    Case(
        "BatonVersionSkew",
        "one stays behind",
        {
            f'baton_worker_model_sequence{{{ONE}, model="m"}}': "1 2x20",
            f'baton_worker_model_sequence{{{TWO}, model="m"}}': "1x20",
        },
        10,
        [{"model": "m"}],
    ),
    Case(
        "BatonVersionSkew",
        "a swap",
        {
            f'baton_worker_model_sequence{{{ONE}, model="m"}}': "1 2x20",
            f'baton_worker_model_sequence{{{TWO}, model="m"}}': "1 1 2x20",
        },
        10,
    ),
    Case(
        "BatonFetchTakesLong",
        "the registry is away",
        {f'baton_worker_model_state{{{ONE}, model="m", state="fetching"}}': "1x30"},
        20,
        [{"model": "m", "instance": "one"}],
    ),
    Case(
        "BatonFetchTakesLong",
        "a fetch",
        {f'baton_worker_model_state{{{ONE}, model="m", state="fetching"}}': "1 0x30"},
        20,
    ),
    Case(
        "BatonForeignNotices",
        "one came",
        {f'baton_worker_notices_rejected_total{{{ONE}, reason="signature"}}': "0x5 1x10"},
        10,
        [{"instance": "one", "reason": "signature"}],
    ),
    Case(
        "BatonForeignNotices",
        "none came lately",
        {f'baton_worker_notices_rejected_total{{{ONE}, reason="signature"}}': "1x30"},
        30,
    ),
    Case("BatonCacheDiskFull", "nearly", {f"baton_worker_cache_free_bytes{{{ONE}}}": "5e8x10"}, 8, [HERE]),
    Case("BatonCacheDiskFull", "room", {f"baton_worker_cache_free_bytes{{{ONE}}}": "5e10x10"}, 8),
    Case("BatonSinkDown", "gone", {f"up{{{SINK}}}": "1 0x10"}, 8, [SINK_HERE]),
    Case("BatonSinkDown", "there", {f"up{{{SINK}}}": "1x10", f"baton_sink_live{{{SINK}}}": "1x10"}, 8),
    Case(
        "BatonSinkBehind",
        "two hours",
        {f"baton_sink_lag_seconds{{{SINK}, {WRITTEN}}}": "7200x10"},
        8,
        [{"topic": "m.predictions"}],
    ),
    Case("BatonSinkBehind", "catching up", {f"baton_sink_lag_seconds{{{SINK}, {WRITTEN}}}": "7200 600 5x10"}, 8),
    Case("BatonSinkNotReady", "the database is away", {f"baton_sink_ready{{{SINK}}}": "0x30"}, 20, [SINK_HERE]),
    Case("BatonSinkNotReady", "a restart", {f"baton_sink_ready{{{SINK}}}": "0x5 1x30"}, 20),
    Case(
        "BatonSinkGap",
        "one came",
        {f"baton_sink_gone_total{{{SINK}, {WRITTEN}}}": "0 0 500x10"},
        8,
        [{"topic": "m.predictions"}],
    ),
    Case("BatonSinkGap", "long ago", {f"baton_sink_gone_total{{{SINK}, {WRITTEN}}}": "500x10"}, 8),
    Case(
        "BatonSinkUnreadable",
        "one came",
        {UNREADABLE: "0 0 1x10"},
        8,
        [{"topic": "m.predictions"}],
    ),
    Case("BatonSinkUnreadable", "long ago", {UNREADABLE: "1x10"}, 8),
    Case("BatonApiDown", "gone", {f"up{{{API}}}": "1 0x10"}, 8, [API_HERE]),
    Case("BatonApiDown", "there", {f"up{{{API}}}": "1x10"}, 8),
    Case("BatonApiNotReady", "nothing promoted", {f"baton_api_ready{{{API}}}": "0x30"}, 20, [API_HERE]),
    Case("BatonApiNotReady", "a start", {f"baton_api_ready{{{API}}}": "0x5 1x30"}, 20),
    Case("BatonApiRestartLoop", "again and again", {STARTED: "100 200 300 400 500 600x30"}, 20, [API_HERE]),
    Case("BatonApiRestartLoop", "a rollout", {STARTED: "100x9 200x20"}, 20),
    Case(
        "BatonApiForeignNotices",
        "one came",
        {FOREIGN: "0x5 1x10"},
        10,
        [{"instance": "one", "reason": "signature"}],
    ),
    Case("BatonApiForeignNotices", "none came lately", {FOREIGN: "1x30"}, 30),
    Case("BatonApiRefuses", "too much", requests("429", 20), 25, [{}]),
    Case("BatonApiRefuses", "once in a while", requests("429", 2), 25),
    Case("BatonApiRefuses", "records that are wrong", requests("422", 80), 25),
    Case("BatonApiFails", "one did", {FAILED: "0 0 1x10"}, 8, [{"operation": "score"}]),
    Case("BatonApiFails", "long ago", {FAILED: "1x30"}, 25),
    Case(
        "BatonApiBehind",
        "refused",
        {**SERVED, f'baton_api_model_sequence{{{API}, model="m"}}': "2x20"},
        15,
        [{"model": "m"}],
    ),
    Case("BatonApiBehind", "a swap", {**SERVED, f'baton_api_model_sequence{{{API}, model="m"}}': "2x5 3x20"}, 15),
)


@pytest.fixture(scope="module")
def alerts() -> dict[str, Any]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def test_prometheus_finds_nothing_wrong_with_the_rules_and_its_own_settings() -> None:
    assert "rules found" in promtool("check", "rules", str(RULES))
    promtool("check", "config", "--syntax-only", str(FOLDER / "prometheus.yml"))


def test_each_alert_fires_when_it_should_and_only_then(alerts: dict[str, Any], tmp_path: Path) -> None:
    severities = {name: rule["labels"]["severity"] for name, rule in alerts.items()}
    file = tmp_path / "cases.yml"
    file.write_text(yaml.safe_dump(rules_test(RULES, severities, CASES)))
    assert "SUCCESS" in promtool("test", "rules", str(file))


def test_for_each_alert_there_is_a_case_that_fires_and_one_that_does_not(alerts: dict[str, Any]) -> None:
    assert {case.alert for case in CASES if case.firing} == set(alerts)
    assert {case.alert for case in CASES if not case.firing} == set(alerts)


def test_each_alert_says_how_bad_it_is_and_leads_to_its_heading(alerts: dict[str, Any]) -> None:
    for name, rule in alerts.items():
        assert rule["labels"]["severity"] in {"critical", "warning"}, name
        assert len(rule["annotations"]["summary"]) > 15, name
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        headings = dict(re.findall(r"^## (\w+)\n\n(\w+)\.", (PROJECT / page).read_text(), re.MULTILINE))
        assert anchor == name.lower()
        assert headings[name].lower() == rule["labels"]["severity"], name
        assert set(headings) == set(alerts)
