"""Two producers taking turns: the order of calls that exactly-once and the order of the output rest on (B.3-B.5)."""

import itertools
import threading
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaException, TopicPartition

from scoring.service.ending import MustExit
from scoring.worker.committer import Transaction
from scoring.worker.delivery import ExactlyOnce
from scoring.worker.emit import Output
from scoring.worker.pipeline import Pipeline
from scoring.worker.policy import BatchFailed
from tests.support.arena import wait_until
from tests.support.simulated_kafka import SimulatedBroker, kafka_error

RECORD = Output("out", 0, b"k", b"v", None)


@pytest.fixture
def broker() -> SimulatedBroker:
    return SimulatedBroker()


@pytest.fixture
def pipeline(broker: SimulatedBroker) -> Iterator[Pipeline]:
    made = Pipeline(broker.producers(), ExactlyOnce(), lambda: False)
    made.start()
    yield made
    made.close()


def run_batch(pipeline: Pipeline, number: int = 0) -> None:
    producer = pipeline.begin()
    pipeline.produce(producer, [RECORD])
    pipeline.hand_over(Transaction(producer, [], f"group {number}"))


def places(broker: SimulatedBroker, call: str) -> list[int]:
    return [place for place, made in enumerate(broker.calls) if made.split(" ")[0].endswith(f".{call}")]


def test_the_producers_take_turns(pipeline: Pipeline, broker: SimulatedBroker) -> None:
    for number in range(4):
        run_batch(pipeline, number)
    pipeline.drain()
    assert [call for call in broker.calls if call.endswith("begin")] == ["p0.begin", "p1.begin"] * 2
    assert len(broker.outputs) == 4
    assert len(pipeline.committed) == 4
    assert pipeline.idle


def test_a_batch_is_produced_only_after_the_one_before_was_flushed(pipeline: Pipeline, broker: SimulatedBroker) -> None:
    gate = broker.gates["p0.flush"] = threading.Event()
    run_batch(pipeline)
    second = threading.Thread(target=run_batch, args=(pipeline,))
    second.start()
    second.join(0.05)  # nothing may happen in that time
    assert "p1.begin" not in broker.calls
    gate.set()
    second.join(10)
    pipeline.drain()
    assert places(broker, "flush")[0] < places(broker, "produce")[1]


def test_the_next_batch_is_produced_while_the_one_before_is_committed(
    pipeline: Pipeline, broker: SimulatedBroker
) -> None:
    gate = broker.gates["p0.commit"] = threading.Event()
    run_batch(pipeline)
    run_batch(pipeline)
    assert "p1.produce out" in broker.calls
    gate.set()
    pipeline.drain()


def test_offsets_are_sent_only_after_the_commit_before_returned(pipeline: Pipeline, broker: SimulatedBroker) -> None:
    for number in range(6):
        run_batch(pipeline, number)
    pipeline.drain()
    ends, flushes = places(broker, "commit"), places(broker, "flush")
    assert all(end < flush for end, flush in zip(ends, flushes[1:], strict=False))


def test_a_failure_aborts_the_batch_and_the_one_behind_it(pipeline: Pipeline, broker: SimulatedBroker) -> None:
    broker.failures["p0.commit"] = [kafka_error(abortable=True)]
    gate = broker.gates["p0.commit"] = threading.Event()
    run_batch(pipeline)
    run_batch(pipeline)
    gate.set()
    with pytest.raises(BatchFailed):
        pipeline.drain()
    pipeline.abort()
    assert [call for call in broker.calls if call.endswith("abort")] == ["p0.abort", "p1.abort"]
    assert broker.outputs == []
    assert pipeline.idle
    run_batch(pipeline)
    pipeline.drain()
    assert len(broker.outputs) == 1


def test_aborting_keeps_what_was_committed_meanwhile(pipeline: Pipeline, broker: SimulatedBroker) -> None:
    gate = broker.gates["p0.commit"] = threading.Event()
    run_batch(pipeline)
    wait_until(lambda: "p0.commit" in broker.calls, 5.0, "the committer never came to its commit")
    threading.Timer(0.02, gate.set).start()
    pipeline.abort()
    assert len(pipeline.committed) == 1
    assert not any(call.endswith("abort") for call in broker.calls)


def test_aborting_with_a_transaction_open_aborts_that(pipeline: Pipeline, broker: SimulatedBroker) -> None:
    producer = pipeline.begin()
    pipeline.produce(producer, [RECORD])
    pipeline.abort()
    assert broker.calls[-1] == "p0.abort"
    assert pipeline.idle


def test_aborting_nothing_is_harmless(pipeline: Pipeline, broker: SimulatedBroker) -> None:
    pipeline.abort()
    assert broker.calls == []


def test_a_full_queue_is_waited_for(pipeline: Pipeline, broker: SimulatedBroker) -> None:
    broker.failures["p0.produce"] = [BufferError("full"), BufferError("full")]
    run_batch(pipeline)
    pipeline.drain()
    assert len(broker.outputs) == 1


def test_what_the_client_refuses_to_produce_is_never_committed(pipeline: Pipeline, broker: SimulatedBroker) -> None:
    broker.failures["p0.produce"] = [kafka_error()]
    with pytest.raises(BatchFailed):
        run_batch(pipeline)
    pipeline.abort()
    assert broker.outputs == []
    assert not any(call.endswith("commit") for call in broker.calls)


@pytest.mark.parametrize("call", ["flush", "send_offsets", "commit"])
def test_an_error_of_no_known_kind_ends_the_process(broker: SimulatedBroker, pipeline: Pipeline, call: str) -> None:
    broker.failures[f"p0.{call}"] = [RuntimeError("surprise")]
    producer = pipeline.begin()
    pipeline.hand_over(Transaction(producer, [TopicPartition("in", 0, 1)], "group"))
    with pytest.raises(MustExit):
        pipeline.drain()


def test_an_abort_that_is_only_late_is_repeated(pipeline: Pipeline, broker: SimulatedBroker) -> None:
    broker.failures["p0.abort"] = [kafka_error(retriable=True)] * 3
    pipeline.begin()
    pipeline.abort()
    assert broker.calls.count("p0.abort") == 4


@pytest.mark.parametrize("call", ["send_offsets", "commit"])
def test_told_to_stop_for_too_long_it_gives_up_what_the_broker_does_not_answer(call: str) -> None:
    broker, asked = SimulatedBroker(), itertools.count()
    for name in (f"p0.{call}", "p0.abort"):
        broker.failures[name] = [kafka_error(retriable=True)] * 1_000
    pipeline = Pipeline(broker.producers(), ExactlyOnce(), lambda: next(asked) > 20)
    pipeline.start()
    producer = pipeline.begin()
    pipeline.hand_over(Transaction(producer, [TopicPartition("in", 0, 1)], "group"))
    with pytest.raises(MustExit):
        pipeline.drain()
    pipeline.close()


def test_told_to_stop_for_too_long_it_does_not_wait_for_a_flush_or_an_abort() -> None:
    broker = SimulatedBroker()
    broker.failures["p0.abort"] = [kafka_error(retriable=True)] * 1_000
    pipeline = Pipeline(broker.producers(), ExactlyOnce(), lambda: True)
    pipeline.start()
    run_batch(pipeline)
    with pytest.raises(MustExit, match="cannot be aborted"):
        pipeline.drain()
    pipeline.close()
    assert "p0.commit" not in broker.calls


def test_the_errors_cause_is_chained(pipeline: Pipeline, broker: SimulatedBroker) -> None:
    broker.failures["p0.commit"] = [kafka_error(fatal=True)]
    run_batch(pipeline)
    with pytest.raises(MustExit) as caught:
        pipeline.drain()
    assert isinstance(caught.value.__cause__, KafkaException)


@pytest.mark.parametrize("waiting", ["for the transaction", "for records"])
def test_a_call_that_never_returns_ends_the_worker(
    pipeline: Pipeline, broker: SimulatedBroker, monkeypatch: pytest.MonkeyPatch, waiting: str
) -> None:
    monkeypatch.setattr("scoring.worker.committer.CALL_TIMEOUT_S", 0.01)
    monkeypatch.setattr("scoring.worker.committer.HUNG_AFTER_S", 0.01)
    monkeypatch.setattr("scoring.worker.pipeline.CALL_TIMEOUT_S", 0.01)
    gate = broker.gates["p0.commit"] = threading.Event()
    run_batch(pipeline)

    def never_done() -> bool:
        wait()
        return False

    wait = pipeline.drain if waiting == "for the transaction" else pipeline.collect
    with pytest.raises(MustExit, match="did not return"):
        wait_until(never_done, 5, "the worker goes on")
    gate.set()


def test_a_long_wait_is_told_from_a_hang(broker: SimulatedBroker) -> None:
    beats: list[None] = []
    pipeline = Pipeline(broker.producers(), ExactlyOnce(), lambda: False, lambda: beats.append(None))
    pipeline.start()
    run_batch(pipeline)
    pipeline.drain()
    pipeline.close()
    assert beats
