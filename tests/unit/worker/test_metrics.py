"""What a worker counts, how far behind it is, and what Prometheus and probes are told of it."""

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Message

from scoring.contract.dead_letter import PREFIX
from scoring.contract.heartbeat import ModelStatus, State
from scoring.service.endpoint import AT_A_TIME, Endpoint
from scoring.service.histogram import Histogram
from scoring.worker.emit import Output
from scoring.worker.exposition import METRICS, CacheState, Source, exposition
from scoring.worker.lag import Lag, Lags
from scoring.worker.metrics import DECODE, SCORE, STAGES, Metrics, Tally, merged, tally
from scoring.worker.partitions import Partition, Pause
from scoring.worker.readiness import PartitionView, Report, View, view
from scoring.worker.watched import cache_state
from tests.support.simulated_kafka import message

LIVE = ModelStatus(state=State.LIVE, sequence=3, version="3")


def outputs(*reasons: str | None) -> list[Output]:
    """Predictions, and dead letters where there is a reason."""
    return [
        Output("p", 0, None, b"{}", [("correlation-id", b"1")])
        if reason is None
        else Output(
            "d", 0, None, b"x", [(f"{PREFIX}reason", b"the sender's own"), (f"{PREFIX}reason", reason.encode())]
        )
        for reason in reasons
    ]


# --- counting -----------------------------------------------------------------------------------------------------


def test_goes_of_one_micro_batch_count_as_one() -> None:
    goes = [Tally("a", 3, {"late": 1}, 100), Tally("b", 1, {}, 90), Tally("a", 2, {"late": 1, "odd": 1}, 110)]
    assert merged(goes) == [Tally("a", 5, {"late": 2, "odd": 1}, 110), Tally("b", 1, {}, 90)]
    assert merged([]) == []


def test_records_count_once_they_are_committed_and_dead_letters_by_their_reason() -> None:
    metrics = Metrics()
    found = tally("small", [], outputs(None, "null-value", None, "null-value", "non-finite"), letters=3)
    assert metrics.records == {}
    metrics.committed([found], 100.0)
    metrics.committed([found, Tally("other", 2, {})], 100.0)
    assert metrics.records == {"small": 10, "other": 2}
    assert metrics.letters_of("small") == {"null-value": 4, "non-finite": 2}
    assert metrics.letters_of("other") == {}
    assert metrics.transactions == {"committed": 2}


def test_the_delay_is_from_the_last_records_timestamp_to_the_commit() -> None:
    metrics = Metrics()
    metrics.committed([Tally("small", 1, {}, newest_ms=99_500), Tally("small", 1, {}, newest_ms=None)], 100.0)
    metrics.committed([Tally("small", 1, {}, newest_ms=200_000)], 100.0)  # a producer's clock that is ahead
    buckets, total = metrics.delay.read()
    assert dict(buckets)["0.25"] == 1
    assert dict(buckets)["0.5"] == dict(buckets)["+Inf"] == 2
    assert total == 0.5


def test_a_model_tells_the_middle_of_its_last_delays_and_its_last_swaps_pause() -> None:
    metrics = Metrics()
    assert (metrics.delay_of("small"), metrics.swap_pauses) == (None, {})
    for delay_ms in (1_000, *[4] * 60, *[8] * 40):
        metrics.committed([Tally("small", 1, {}, newest_ms=0)], delay_ms / 1_000)
    assert (metrics.delay_of("small"), metrics.delay_of("other")) == (0.004, None)
    metrics.swapped("small", 0.002)
    metrics.swapped("small", 0.001)
    assert metrics.swap_pauses == {"small": 0.001}
    assert metrics.swap_pause.count == 2


def test_each_stage_is_observed_once_per_micro_batch_however_many_models_it_holds() -> None:
    now_s = iter([0.0, 1.0, 3.0, 4.0, 7.0])
    metrics = Metrics(clock_s=lambda: next(now_s))
    metrics.begin()
    for stage in (DECODE, SCORE, DECODE, SCORE):
        metrics.lap(stage)
    metrics.end(records=7)
    assert [(metrics.stages[stage].count, metrics.stages[stage].read()[1]) for stage in (DECODE, SCORE)] == [
        (1, 2.0),
        (1, 5.0),
    ]
    assert metrics.batch_records.read()[1] == 7


def test_a_turn_without_records_is_no_observation() -> None:
    metrics = Metrics()
    metrics.begin()
    metrics.lap(DECODE)
    metrics.begin()
    metrics.end(records=1)
    assert metrics.stages[DECODE].count == 0


def test_a_bound_of_a_histogram_belongs_to_its_bucket() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 2.5):
        histogram.observe(value)
    assert histogram.read() == ([("1.0", 2.0), ("2.0", 4.0), ("+Inf", 5.0)], 7.5)


# --- lag ----------------------------------------------------------------------------------------------------------


class Clocks:
    """A monotonic clock and a wall clock that go together."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def lags(self) -> Lags:
        return Lags(lambda: 50.0 + self.passed_s, lambda: 1_000_000.0 + self.passed_s)


class Stamped:
    """What of a message counts here."""

    def __init__(self, partition: int, timestamp_ms: int) -> None:
        self._partition = partition
        self._timestamp_ms = timestamp_ms

    def partition(self) -> int:
        return self._partition

    def timestamp(self) -> tuple[int, int]:
        return (1, self._timestamp_ms) if self._timestamp_ms else (0, 0)


def scored(lags: Lags, *stamped: Stamped) -> None:
    messages: Mapping[str, list[Message]] = {"t": list(stamped)}  # type: ignore[arg-type]
    lags.scored(messages, {("t", one.partition()) for one in stamped})


def lag(lags: Lags, reached: int | None, end: int | None) -> Lag:
    return lags.measure([Partition("t", 0, "id", reached)], lambda _: end)["t", 0]


def test_at_the_end_the_lag_is_nothing_and_where_the_end_is_unknown_so_is_the_lag() -> None:
    lags = Clocks().lags()
    assert lag(lags, 7, 7) == Lag(0, 0.0)
    assert lag(lags, 7, None) == Lag(None, None)
    assert lag(lags, None, 7) == Lag(None, None)
    assert lag(lags, 8, 7) == Lag(0, 0.0)  # what the client last heard of the end is a little old


def test_behind_the_end_it_is_the_age_of_the_last_record_that_was_scored() -> None:
    clocks = Clocks()
    lags = clocks.lags()
    lag(lags, 0, 10)
    scored(lags, Stamped(0, 999_900_000), Stamped(0, 999_970_000), Stamped(1, 5))
    clocks.passed_s = 2.0
    assert lag(lags, 5, 10) == Lag(5, 32.0)


def test_one_record_after_a_quiet_hour_is_not_an_hour_late() -> None:
    clocks = Clocks()
    lags = clocks.lags()
    lag(lags, 0, 10)
    scored(lags, Stamped(0, 1_000_000_000))
    clocks.passed_s = 3_600.0
    assert lag(lags, 10, 10) == Lag(0, 0.0)
    clocks.passed_s += 0.5
    assert lag(lags, 10, 11) == Lag(1, 0.5)


def test_a_partition_that_is_never_scored_is_behind_since_it_came() -> None:
    clocks = Clocks()
    lags = clocks.lags()
    assert lag(lags, 3, 10) == Lag(7, 0.0)
    clocks.passed_s = 45.0
    assert lag(lags, 3, 10) == Lag(7, 45.0)
    assert lags.measure([], lambda _: 10) == {}
    assert lag(lags, 3, 10) == Lag(7, 0.0)  # it went, and came back: nothing is kept


def test_records_without_a_timestamp_tell_nothing() -> None:
    clocks = Clocks()
    lags = clocks.lags()
    lag(lags, 0, 10)
    scored(lags, Stamped(0, 0))
    clocks.passed_s = 1.0
    assert lag(lags, 5, 10) == Lag(5, 1.0)


def test_the_records_of_a_micro_batch_are_looked_at_only_once_per_measurement() -> None:
    clocks = Clocks()
    lags = clocks.lags()
    lag(lags, 0, 10)
    scored(lags, Stamped(0, 999_999_000))
    scored(lags, Stamped(0, 1_000_000_000))
    assert lag(lags, 5, 10) == Lag(5, 1.0)
    scored(lags, Stamped(0, 1_000_000_000))
    assert lag(lags, 5, 10) == Lag(5, 0.0)


# --- alive and ready ----------------------------------------------------------------------------------------------


def place(number: int = 0, *pauses: str, lag: int | None = 0, lag_s: float | None = 0.0) -> PartitionView:
    return PartitionView(model="small", topic="small.input", partition=number, lag=lag, lag_s=lag_s, pauses=pauses)


def judged(status: ModelStatus, *partitions: PartitionView, joined: bool = True, silent_s: float = 0.1) -> View:
    return view(Report(joined=joined, partitions=partitions), {"small": status}, silent_s)


@pytest.mark.parametrize(
    "status",
    [
        LIVE,
        ModelStatus(state=State.FETCHING, sequence=3, version="3", pending=4),
        ModelStatus(state=State.REFUSED, sequence=3, version="3", pending=4, reason="golden rows differ"),
        ModelStatus(state=State.RETIRED, pending=4),
    ],
    ids=lambda status: status.state.value,
)
def test_a_worker_that_scores_is_ready_also_while_it_fetches_or_refuses_the_next_version(status: ModelStatus) -> None:
    found = judged(status, place())
    assert found.ready, found.why_not


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (ModelStatus(state=State.WAITING), "small: waiting"),
        (ModelStatus(state=State.FETCHING, pending=3, reason="attempt 7"), "small: fetching: attempt 7"),
        (ModelStatus(state=State.REFUSED, pending=3, reason="damaged"), "small: refused: damaged"),
        (ModelStatus(state=State.HELD, sequence=3, pending=4), "small: held"),
    ],
)
def test_a_worker_without_a_bundle_or_with_a_held_partition_is_not_ready_and_says_why(
    status: ModelStatus, said: str
) -> None:
    assert judged(status, place()).why_not == (said,)


def test_a_worker_that_the_group_has_assigned_nothing_yet_is_not_ready() -> None:
    assert judged(LIVE, joined=False).why_not == ("the group has not assigned partitions yet",)
    assert judged(LIVE, joined=True).ready  # there are fewer partitions than workers


def test_a_model_whose_topic_was_let_go_of_is_not_ready() -> None:
    refused = ModelStatus(state=State.REFUSED, sequence=3, pending=4, reason="refused here")
    found = view(Report(joined=True, given_up=frozenset({"small"})), {"small": refused}, 0.0)
    assert found.why_not == ("small: this worker let go of its topic: refused here",)


def test_a_worker_whose_hot_thread_is_silent_is_neither_alive_nor_ready() -> None:
    found = judged(LIVE, place(), silent_s=31.0)
    assert (found.live, found.ready) == (False, False)


def test_every_pause_has_a_code_for_machines() -> None:
    assert {pause.code for pause in Pause} >= {
        "unread",
        "held",
        "other-ledger",
        "breaker",
        "lookup",
        "apart",
        "no-output",
    }


# --- what Prometheus is told --------------------------------------------------------------------------------------


def source(found: View) -> Source:
    metrics = Metrics()
    metrics.committed([Tally("small", 10, {"null-value": 2}, newest_ms=99_000)], 100.0)
    metrics.recoveries["rebalance"] += 1
    metrics.put_back["small.input", "breaker"] += 1
    metrics.stages[DECODE].observe(0.002)
    metrics.swap_pause.observe(0.0002)
    return Source(
        metrics=metrics,
        view=lambda: found,
        rejected=lambda: {"unsigned": 3},
        cache=lambda: CacheState(2, 1_000, 5_000),
        info=("default/0", "abc", "exactly-once", "0.1.0"),
        restarts=4,
    )


def samples(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_a_scrape_tells_everything_under_the_names_of_the_page() -> None:
    held = judged(LIVE, place(0, "held", lag=7, lag_s=2.5), place(1, "breaker", lag=None, lag_s=None))
    text, kind = exposition(source(held))("text/plain")
    found = samples(text.decode())
    assert kind.startswith("text/plain")
    expected = {
        'baton_worker_info{baton="0.1.0",delivery="exactly-once",instance="abc",worker="default/0"}': 1,
        "baton_worker_live": 1,
        "baton_worker_ready": 0,
        "baton_worker_restarts_total": 4,
        'baton_worker_records_total{model="small"}': 10,
        'baton_worker_dead_letters_total{model="small",reason="null-value"}': 2,
        'baton_worker_transactions_total{outcome="committed"}': 1,
        'baton_worker_recoveries_total{why="rebalance"}': 1,
        'baton_worker_put_back_total{topic="small.input",why="breaker"}': 1,
        'baton_worker_lag_records{partition="0",topic="small.input"}': 7,
        'baton_worker_lag_seconds{partition="0",topic="small.input"}': 2.5,
        'baton_worker_partition_paused{partition="0",reason="held",topic="small.input"}': 1,
        'baton_worker_partitions{model="small"}': 2,
        'baton_worker_breaker_open{model="small"}': 1,
        'baton_worker_model_info{model="small",sequence="3",version="3"}': 1,
        'baton_worker_model_sequence{model="small"}': 3,
        'baton_worker_model_state{model="small",state="live"}': 1,
        'baton_worker_model_state{model="small",state="waiting"}': 0,
        'baton_worker_notices_rejected_total{reason="unsigned"}': 3,
        "baton_worker_cache_bundles": 2,
        "baton_worker_cache_bytes": 1_000,
        "baton_worker_cache_free_bytes": 5_000,
        'baton_worker_stage_seconds_count{stage="decode"}': 1,
        'baton_worker_stage_seconds_bucket{le="0.0025",stage="decode"}': 1,
        "baton_worker_delay_seconds_sum": 1,
        "baton_worker_swap_pause_seconds_count": 1,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert 'baton_worker_lag_records{partition="1",topic="small.input"}' not in found  # unknown is not nothing
    assert any(name.startswith("process_resident_memory_bytes") for name in found)


def test_every_metric_that_has_a_name_is_told_and_no_other() -> None:
    text, _ = exposition(source(judged(LIVE, place(0, "held"))))("text/plain")
    told = set(re.findall(r"^# TYPE (baton_\w+?)(?:_total)? ", text.decode(), re.MULTILINE))
    assert told == {metric.name for metric in METRICS}
    assert all(f'stage="{stage}"' in text.decode() for stage in STAGES)


def test_prometheus_own_format_is_given_to_who_asks_for_it() -> None:
    text, kind = exposition(source(judged(LIVE)))("application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")


def test_the_page_of_metrics_names_each_with_its_kind_labels_and_meaning() -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"
    rows = re.findall(r"^\| `(baton_worker_\w+)` \| (\w+) \| ([^|]*) \| (.*) \|$", page.read_text(), re.MULTILINE)
    suffix = {"counter": "_total"}
    expected = [
        (
            f"{metric.name}{suffix.get(metric.kind, '')}",
            metric.kind,
            ", ".join(f"`{label}`" for label in metric.labels),
            metric.meaning,
        )
        for metric in METRICS
    ]
    assert rows == expected


def test_the_cache_is_looked_into(tmp_path: Path) -> None:
    assert cache_state(tmp_path / "nowhere") is None
    (tmp_path / "bundles" / "a").mkdir(parents=True)
    (tmp_path / "bundles" / "a" / "model.onnx").write_bytes(b"x" * 10)
    found = cache_state(tmp_path)
    assert found is not None
    assert (found.bundles, found.size_bytes) == (1, 10)
    assert found.free_bytes > 0


# --- the server ---------------------------------------------------------------------------------------------------


@pytest.fixture
def served() -> Iterator[list[Endpoint]]:
    running: list[Endpoint] = []
    yield running
    for endpoint in running:
        endpoint.stop()


def serve(served: list[Endpoint], found: View, token: str | None = None, port: int = 0) -> Endpoint:
    endpoint = Endpoint(
        "127.0.0.1", port, scraper=lambda: lambda _: (b"metrics\n", "text/plain"), view=lambda: found, token=token
    )
    served.append(endpoint)
    endpoint.start()
    return endpoint


def get(endpoint: Endpoint, path: str, token: str = "") -> tuple[int, bytes]:
    while endpoint.port is None:
        endpoint._stopped.wait(0.01)
    request = urllib.request.Request(f"http://127.0.0.1:{endpoint.port}{path}")
    if token:
        request.add_header("Authorization", token)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return int(answer.status), bytes(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return int(error.code), error.read()


def test_probes_are_answered_with_their_reasons(served: list[Endpoint]) -> None:
    endpoint = serve(served, judged(ModelStatus(state=State.WAITING)))
    assert get(endpoint, "/livez")[0] == 200
    status, body = get(endpoint, "/readyz")
    assert status == 503
    assert msgspec.json.decode(body)["why_not"] == ["small: waiting"]
    assert get(endpoint, "/metrics?x=1") == (200, b"metrics\n")
    assert get(endpoint, "/")[0] == 404
    ready = serve(served, judged(LIVE, place()))
    assert get(ready, "/readyz")[0] == 200
    dead = serve(served, judged(LIVE, place(), silent_s=100.0))
    assert get(dead, "/livez")[0] == 503


def test_with_a_token_nothing_but_the_bare_judgement_is_given_without_it(served: list[Endpoint]) -> None:
    endpoint = serve(served, judged(ModelStatus(state=State.WAITING)), token="a-long-secret-token")
    for wrong in ("", "Bearer a-long-secret-tokem", "Bearer", "Basic a-long-secret-token", "Bearer ä"):
        assert endpoint.answer("/metrics", "", wrong)[0] == 401
    assert get(endpoint, "/metrics")[0] == 401
    assert get(endpoint, "/readyz") == (503, b"no\n")
    assert get(endpoint, "/livez") == (200, b"ok\n")
    assert get(endpoint, "/metrics", "Bearer a-long-secret-token") == (200, b"metrics\n")
    assert b"waiting" in get(endpoint, "/readyz", "Bearer a-long-secret-token")[1]


def test_only_get_is_answered(served: list[Endpoint]) -> None:
    endpoint = serve(served, judged(LIVE))
    get(endpoint, "/livez")
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port or 0, timeout=10)
    connection.request("POST", "/metrics", body=b"x")
    assert connection.getresponse().status == 501
    connection.close()


def test_a_port_that_is_taken_stops_nothing_and_is_taken_over_when_it_is_free(
    served: list[Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scoring.service.endpoint.TRY_AGAIN_S", 0.05)
    first = serve(served, judged(LIVE))
    get(first, "/livez")
    second = serve(served, judged(LIVE), port=first.port or 0)
    second._stopped.wait(0.2)
    assert second.port is None
    first.stop()
    served.remove(first)
    assert get(second, "/livez")[0] == 200


def test_a_few_connections_that_say_nothing_do_not_keep_probes_out_for_long(served: list[Endpoint]) -> None:
    endpoint = serve(served, judged(LIVE))
    get(endpoint, "/livez")
    idle = [http.client.HTTPConnection("127.0.0.1", endpoint.port or 0, timeout=10) for _ in range(3 * AT_A_TIME)]
    for connection in idle:
        connection.connect()
    assert get(endpoint, "/livez")[0] == 200
    assert idle[0].sock.recv(1) == b""  # the oldest were ended
    for connection in idle:
        connection.close()


def test_a_message_of_the_simulated_broker_has_a_timestamp_or_none() -> None:
    assert tally("small", [message(b"x")], outputs(None), 0).records == 1
