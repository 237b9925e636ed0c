"""The loop on Kafka in memory: what happens between calls that a test on a broker would rarely hit."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Any, cast
from uuid import UUID

import msgspec
import numpy as np
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException

from scoring.contract.encoder import Column, Columns
from scoring.contract.envelope import Keyring
from scoring.contract.errors import ConfigurationError, Unavailable
from scoring.contract.features import FeatureSchema, LookupField, TableLookup
from scoring.contract.heartbeat import ModelStatus, State
from scoring.contract.manifest import Topics
from scoring.contract.progress import Progress
from scoring.contract.topics import ACKNOWLEDGEMENTS
from scoring.scorer.bundle import open_bundle
from scoring.scorer.scorer import Scorer
from scoring.service.backoff import Backoff
from scoring.service.ending import MustExit
from scoring.worker import assignment
from scoring.worker.committer import Transaction
from scoring.worker.delivery import AtLeastOnce, Delivery, ExactlyOnce
from scoring.worker.emit import Emitter
from scoring.worker.fetching import Fetching
from scoring.worker.loop import Loop
from scoring.worker.models import Active, Arrival, Pending, Refused, Retired
from scoring.worker.pipeline import Pipeline
from scoring.worker.scoring_step import outputs_of
from tests.support.bundles import make_bundle, small_record, small_schema
from tests.support.simulated_kafka import SimulatedBroker, SimulatedConsumer, SimulatedOffsets, kafka_error

LEDGER = UUID(int=7)
MOMENT = datetime(2026, 3, 1, tzinfo=UTC)
WEATHER = TableLookup(
    name="weather",
    connection="warehouse",
    table="weather",
    match=(("station", "id"),),
    valid_at="at",
    fields=(LookupField(name="wind"),),
)
Script = Iterator[None]
MakeConsumer = Callable[[dict[str, Any]], Consumer]


class NoLookups:
    """Looks nothing up, or fails as planned."""

    def __init__(self) -> None:
        self.failures: list[Exception] = []
        self.asked: list[int] = []

    def resolve(self, schema: FeatureSchema, columns: Columns, rows: int) -> dict[str, Column]:
        if schema.lookups:
            self.asked.append(len(columns))
            if self.failures:
                raise self.failures.pop(0)
        return {f"{lookup.name}.{f.name}": np.full(rows, 1.5) for lookup in schema.lookups for f in lookup.fields}


class Stage:
    """A worker's loop with everything around it in memory."""

    def __init__(self, folder: Path, delivery: Callable[[MakeConsumer], Delivery] = lambda _: ExactlyOnce()) -> None:
        self.folder = folder
        self.broker = SimulatedBroker()
        self.consumer: SimulatedConsumer = self.broker.consumer()
        self.arrivals: SimpleQueue[Arrival] = SimpleQueue()
        self.settlements: list[Pending] = []
        self.refusals: dict[str, int] = {}
        self.lookups = NoLookups()
        self.unknown_topics: list[Exception] = []
        self.widths: dict[str, int] = {}
        self.turns = 0
        self.delivery = delivery(self.consumer.made)
        self.loop = self._loop()

    # Stands for Fetching.
    def settled(self, pending: Pending) -> None:
        self.settlements.append(pending)

    def refused(self, model: str, sequence: int) -> bool:
        return self.refusals.get(model, 0) >= sequence

    # Stands for the broker's directory.
    def topic_id(self, topic: str) -> str:
        if self.unknown_topics:
            raise self.unknown_topics.pop(0)
        return f"id of {topic}"

    def partitions(self, topic: str) -> int:
        return self.widths.get(topic, 8)

    def _loop(self) -> Loop:
        self.pipeline = Pipeline(self.broker.producers(), self.delivery, lambda: False)
        return Loop(
            consumer=self.consumer.as_consumer(),
            pipeline=self.pipeline,
            fetching=cast("Fetching", self),
            lookups=self.lookups,
            keyring=Keyring("k1", {"k1": b"1" * 32}),
            topics=self,
            offsets=SimulatedOffsets(self.broker),
            worker="d/0",
            instance="i",
            maximum_batch_records=4,
            stopping=self._stopping,
        )

    def active(self, sequence: int, *, model: str = "small", lookups: tuple[TableLookup, ...] = ()) -> Active:
        folder = self.folder / f"{model}-{sequence}"
        digest = make_bundle(folder, sequence, model=model, topics=Topics.of(model), schema=small_schema(lookups))
        scorer = Scorer(open_bundle(folder))
        emitter = Emitter(scorer.manifest, version=str(sequence), sequence=sequence, digest=digest)
        return Active(model, LEDGER, sequence, str(sequence), digest, MOMENT, scorer, emitter)

    def feed(self, records: int, *, model: str = "small", partition: int = 0) -> None:
        values = [msgspec.json.encode(small_record(number)) for number in range(records)]
        self.broker.feed(values, topic=f"{model}.input", partition=partition)

    def play(self, script: Callable[["Stage"], Script]) -> None:
        """Run the loop; before each turn the script goes on to its next ``yield``. Where it ends, the loop stops."""
        self._script = script(self)
        self.pipeline.start()
        try:
            self.loop.run()
        finally:
            self.pipeline.close()

    def _stopping(self) -> bool:
        self.turns += 1
        assert self.turns < 20_000, f"nothing happens any more: {self.broker.calls[-40:]}"
        try:
            next(self._script)
        except StopIteration:
            return True
        return False

    def until(self, condition: Callable[[], bool]) -> Script:
        while not condition():
            yield

    # --- looking --------------------------------------------------------------------------------------------------

    def predictions(self, model: str = "small") -> list[tuple[int, int, int]]:
        """Partition, offset and sequence of each committed prediction, in the order of the output."""
        values = [json.loads(o.value or b"") for o in self.broker.outputs if o.topic == f"{model}.predictions"]
        return [(v["input"]["partition"], v["input"]["offset"], v["sequence"]) for v in values]

    def letters(self, model: str = "small") -> int:
        return sum(output.topic == f"{model}.dead-letters" for output in self.broker.outputs)

    def acknowledgements(self) -> list[tuple[int, str, list[tuple[int, int]]]]:
        """Sequence, outcome and positions of each committed acknowledgement."""
        values = [json.loads(o.value or b"")["data"] for o in self.broker.outputs if o.topic == ACKNOWLEDGEMENTS]
        return [(v["sequence"], v["outcome"], [(p["partition"], p["offset"]) for p in v["positions"]]) for v in values]

    def status(self, model: str = "small") -> ModelStatus:
        return self.loop.status.get(model, ModelStatus(state=State.WAITING))

    def everything_is_scored_once(self, records: int, model: str = "small") -> bool:
        return [offset for _, offset, _ in self.predictions(model)] == list(range(records))


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_records_are_scored_once_in_order_and_committed_with_their_sequence(stage: Stage) -> None:
    def script(stage: Stage) -> Script:
        stage.feed(10)
        stage.arrivals.put(stage.active(3))
        yield from stage.until(lambda: len(stage.predictions()) == 10)

    stage.play(script)
    assert stage.everything_is_scored_once(10)
    offset, metadata = stage.broker.committed["small.input", 0]
    assert (offset, Progress.decode(metadata)) == (10, Progress(LEDGER, 3))
    assert stage.acknowledgements() == [(3, "live", [(0, 0)])]


def test_the_acknowledgement_names_the_first_offset_that_the_new_sequence_scored(stage: Stage) -> None:
    def script(stage: Stage) -> Script:
        stage.feed(6)
        stage.arrivals.put(stage.active(1))
        yield from stage.until(lambda: len(stage.predictions()) == 6)
        stage.arrivals.put(stage.active(2))
        stage.feed(6)
        yield from stage.until(lambda: len(stage.predictions()) == 12)

    stage.play(script)
    assert stage.acknowledgements() == [(1, "live", [(0, 0)]), (2, "live", [(0, 6)])]
    assert [sequence for _, _, sequence in stage.predictions()] == [1] * 6 + [2] * 6


def test_the_acknowledgement_goes_with_the_first_records_even_if_other_partitions_wait(stage: Stage) -> None:
    def script(stage: Stage) -> Script:
        stage.feed(4)
        stage.broker.inputs["small.input", 1]  # there, empty
        stage.broker.committed["small.input", 1] = (0, Progress(LEDGER, 9).encode())
        stage.arrivals.put(stage.active(1))
        yield from stage.until(lambda: len(stage.predictions()) == 4)
        yield from stage.until(lambda: len(stage.acknowledgements()) == 1)

    stage.play(script)
    assert stage.acknowledgements() == [(1, "live", [(0, 0)])]
    first = stage.broker.outputs[0]
    assert (first.topic, stage.broker.outputs[4].topic) == ("small.predictions", ACKNOWLEDGEMENTS)


def test_an_idle_topic_is_acknowledged_alone(stage: Stage) -> None:
    def script(stage: Stage) -> Script:
        stage.broker.inputs["small.input", 0]
        stage.arrivals.put(stage.active(1))
        yield from stage.until(lambda: len(stage.acknowledgements()) == 1)

    stage.play(script)
    assert stage.acknowledgements() == [(1, "live", [(0, 0)])]
    assert [pending.sequence for pending in stage.settlements] == [1]


def test_nothing_is_live_before_its_acknowledgement_was_committed(stage: Stage) -> None:
    def script(stage: Stage) -> Script:
        stage.feed(2)
        stage.broker.failures["p0.commit"] = [kafka_error(abortable=True)]
        stage.broker.failures["p1.commit"] = [kafka_error(abortable=True)]
        stage.arrivals.put(stage.active(1))
        while not stage.broker.outputs:
            assert stage.settlements == []
            assert stage.loop.status == {}
            yield
        yield from stage.until(lambda: bool(stage.loop.status))

    stage.play(script)
    assert stage.status().sequence == 1
    assert stage.acknowledgements() == [(1, "live", [(0, 0)])]


def test_a_sequence_that_arrives_while_another_one_is_being_acknowledged_gets_its_own(stage: Stage) -> None:
    """The second acknowledgement's transaction fails: it must come again, and until then the second is not live."""

    def script(stage: Stage) -> Script:
        gate = stage.broker.gates["p0.commit"] = threading.Event()
        stage.broker.failures["p1.commit"] = [kafka_error(abortable=True)]
        stage.feed(4)
        stage.arrivals.put(stage.active(1))
        yield from stage.until(lambda: f"p0.produce {ACKNOWLEDGEMENTS}" in stage.broker.calls)
        stage.arrivals.put(stage.active(2))
        stage.feed(4)
        yield from stage.until(lambda: f"p1.produce {ACKNOWLEDGEMENTS}" in stage.broker.calls)
        gate.set()
        yield from stage.until(lambda: "p1.abort" in stage.broker.calls)
        assert [pending.sequence for pending in stage.settlements] == [1]
        yield from stage.until(lambda: [a[0] for a in stage.acknowledgements()] == [1, 2])

    stage.play(script)
    assert [pending.sequence for pending in stage.settlements] == [1, 2]
    first_scored = min(offset for _, offset, sequence in stage.predictions() if sequence == 2)
    assert stage.acknowledgements()[1] == (2, "live", [(0, first_scored)])


def test_a_refusal_does_not_take_the_place_of_what_goes_live_at_the_same_time(stage: Stage) -> None:
    def script(stage: Stage) -> Script:
        stage.broker.inputs["small.input", 0]
        stage.arrivals.put(stage.active(5))
        stage.arrivals.put(Refused("small", LEDGER, 6, "6", "0" * 64, MOMENT, "golden rows differ"))
        yield from stage.until(lambda: len(stage.acknowledgements()) == 2)
        yield from stage.until(lambda: stage.status().sequence == 5)

    stage.play(script)
    assert sorted(stage.acknowledgements()) == [(5, "live", [(0, 0)]), (6, "refused", [])]
    assert sorted(pending.sequence for pending in stage.settlements) == [5, 6]
    assert stage.status().sequence == 5


def test_what_was_superseded_before_it_scored_is_not_acknowledged(stage: Stage) -> None:
    def script(stage: Stage) -> Script:
        stage.feed(3)
        stage.arrivals.put(stage.active(5))
        stage.arrivals.put(stage.active(6))
        yield from stage.until(lambda: len(stage.predictions()) == 3)

    stage.play(script)
    assert [sequence for sequence, _, _ in stage.acknowledgements()] == [6]


# --- records that come while the micro-batch before is being committed --------------------------------------------


def gathered(
    stage: Stage, *, gate: threading.Event, meanwhile: Callable[[], object], lookups: tuple[TableLookup, ...] = ()
) -> Script:
    """Two records are being committed, a third is in the next micro-batch, and then something happens."""
    stage.broker.gates["p0.commit"] = gate
    stage.feed(2)
    stage.arrivals.put(stage.active(1, lookups=lookups))
    yield from stage.until(lambda: "p0.commit" in stage.broker.calls)
    stage.feed(1)
    yield from stage.until(lambda: stage.broker.calls.count("p1.produce small.predictions") == 1)
    meanwhile()


def opened_by_the_second(stage: Stage, gate: threading.Event) -> None:
    """Open the gate when the second micro-batch was handed over: whoever waits for the commit waits for ever."""
    hand_over, handed = stage.pipeline.hand_over, [0]

    def counted(transaction: Transaction) -> None:
        handed[0] += 1
        hand_over(transaction)
        if handed[0] == 2:
            gate.set()

    stage.pipeline.hand_over = counted  # type: ignore[method-assign]


def test_records_that_come_during_a_commit_join_the_micro_batch_behind_it(stage: Stage) -> None:
    gate = threading.Event()

    def script(stage: Stage) -> Script:
        yield from gathered(stage, gate=gate, meanwhile=lambda: stage.feed(1))
        yield from stage.until(lambda: stage.broker.calls.count("p1.produce small.predictions") == 2)
        gate.set()
        yield from stage.until(lambda: len(stage.predictions()) == 4)

    stage.play(script)
    assert stage.everything_is_scored_once(4)
    assert stage.broker.calls.count("p1.begin") == stage.broker.calls.count("p1.commit") == 1
    assert stage.broker.committed["small.input", 0][0] == 4


def test_a_full_micro_batch_is_handed_over_whatever_is_being_committed(stage: Stage) -> None:
    gate = threading.Event()

    def script(stage: Stage) -> Script:
        opened_by_the_second(stage, gate)
        yield from gathered(stage, gate=gate, meanwhile=lambda: stage.feed(5))
        yield from stage.until(lambda: len(stage.predictions()) == 8)

    stage.play(script)
    assert stage.everything_is_scored_once(8)


def test_a_bundle_that_is_ready_does_not_wait_for_a_commit(stage: Stage) -> None:
    gate = threading.Event()

    def script(stage: Stage) -> Script:
        opened_by_the_second(stage, gate)
        yield from gathered(stage, gate=gate, meanwhile=lambda: stage.arrivals.put(stage.active(2)))
        yield from stage.until(stage.arrivals.empty)
        stage.feed(1)
        yield from stage.until(lambda: len(stage.predictions()) == 4)

    stage.play(script)
    assert stage.predictions() == [(0, 0, 1), (0, 1, 1), (0, 2, 1), (0, 3, 2)]
    assert stage.acknowledgements()[-1] == (2, "live", [(0, 3)])


def test_what_may_have_to_wait_for_a_database_is_not_gathered_in_an_open_transaction(stage: Stage) -> None:
    gate = threading.Event()

    def script(stage: Stage) -> Script:
        opened_by_the_second(stage, gate)
        yield from gathered(stage, gate=gate, meanwhile=lambda: None, lookups=(WEATHER,))
        yield from stage.until(lambda: len(stage.predictions()) == 3)

    stage.play(script)
    assert stage.everything_is_scored_once(3)


def test_records_that_have_to_wait_are_not_committed_with_those_gathered_before(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, failures = threading.Event(), [Unavailable("this host is out of memory")]

    def fails_once(*arguments: Any) -> Any:
        if failures and stage.broker.calls.count("p1.produce small.predictions") == 1:
            gate.set()
            raise failures.pop()
        return outputs_of(*arguments)

    monkeypatch.setattr("scoring.worker.loop.outputs_of", fails_once)

    def script(stage: Stage) -> Script:
        yield from gathered(stage, gate=gate, meanwhile=lambda: stage.feed(1))
        yield from stage.until(lambda: len(stage.predictions()) == 3)
        assert stage.broker.committed["small.input", 0][0] == 3
        yield from stage.until(lambda: len(stage.predictions()) == 4)

    stage.play(script)
    assert failures == []
    assert stage.everything_is_scored_once(4)


def test_a_rebalance_while_records_are_gathered_aborts_them(stage: Stage) -> None:
    gate = threading.Event()

    def script(stage: Stage) -> Script:
        def rebalance() -> None:
            stage.consumer.come(("small.input", 1))
            stage.feed(1, partition=1)
            threading.Timer(0.05, gate.set).start()  # the abort waits for what is being committed

        yield from gathered(stage, gate=gate, meanwhile=rebalance)
        yield from stage.until(lambda: len(stage.predictions()) == 4)

    stage.play(script)
    assert "p1.abort" in stage.broker.calls
    assert sorted(stage.predictions()) == [(0, 0, 1), (0, 1, 1), (0, 2, 1), (1, 0, 1)]


def test_what_fails_while_records_are_gathered_takes_all_of_them_back(stage: Stage) -> None:
    gate = threading.Event()
    stage.broker.failures["p1.produce"] = [None, kafka_error(abortable=True)]

    def script(stage: Stage) -> Script:
        def more() -> None:
            stage.feed(1)
            threading.Timer(0.05, gate.set).start()

        yield from gathered(stage, gate=gate, meanwhile=more)
        yield from stage.until(lambda: len(stage.predictions()) == 4)

    stage.play(script)
    assert "p1.abort" in stage.broker.calls
    assert stage.everything_is_scored_once(4)


CALLS = ["flush", "send_offsets", "commit", "produce"]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("passes", range(4))
def test_whatever_fails_every_record_is_scored_once_in_order(stage: Stage, call: str, passes: int) -> None:
    for producer in ("p0", "p1"):
        stage.broker.failures[f"{producer}.{call}"] = [*[None] * passes, kafka_error(abortable=True)]

    def script(stage: Stage) -> Script:
        stage.feed(40)
        stage.arrivals.put(stage.active(1))
        yield from stage.until(lambda: len(stage.predictions()) >= 20)
        stage.arrivals.put(stage.active(2))
        yield from stage.until(lambda: len(stage.predictions()) >= 40)

    stage.play(script)
    assert stage.everything_is_scored_once(40)
    assert stage.letters() == 0
    sequences = [sequence for _, _, sequence in stage.predictions()]
    assert sequences == sorted(sequences)


@pytest.mark.parametrize("call", ["send_offsets", "commit"])
def test_a_retriable_error_repeats_the_same_call(stage: Stage, call: str) -> None:
    stage.broker.failures[f"p0.{call}"] = [kafka_error(retriable=True)] * 3

    def script(stage: Stage) -> Script:
        stage.feed(8)
        stage.arrivals.put(stage.active(1))
        yield from stage.until(lambda: len(stage.predictions()) == 8)

    stage.play(script)
    assert stage.everything_is_scored_once(8)
    assert not any("abort" in call for call in stage.broker.calls)


@pytest.mark.parametrize("call", ["begin", "produce", "flush", "send_offsets", "commit", "abort"])
def test_a_fatal_error_ends_the_process(stage: Stage, call: str) -> None:
    stage.broker.failures[f"p0.{call}"] = [kafka_error(fatal=True)]
    if call == "abort":
        stage.broker.failures["p0.commit"] = [kafka_error(abortable=True)]

    def script(stage: Stage) -> Script:
        stage.feed(8)
        stage.arrivals.put(stage.active(1))
        yield from stage.until(lambda: False)

    with pytest.raises(MustExit):
        stage.play(script)


def test_a_transaction_that_fails_again_and_again_is_tried_ever_more_rarely(stage: Stage) -> None:
    for producer in ("p0", "p1"):
        stage.broker.failures[f"{producer}.commit"] = [kafka_error(abortable=True)] * 2

    def script(stage: Stage) -> Script:
        stage.feed(4)
        stage.arrivals.put(stage.active(1))
        yield from stage.until(lambda: len(stage.predictions()) == 4)

    class Timed(list[str]):
        """The calls; commits and aborts with their moments."""

        def append(self, call: str) -> None:
            if call.endswith((".abort", ".commit")):
                moments.append(time.monotonic())
            super().append(call)

    moments: list[float] = []
    stage.broker.calls = Timed(stage.broker.calls)
    stage.play(script)
    tries = [call for call in stage.broker.calls if call.endswith((".abort", ".commit"))]
    assert stage.everything_is_scored_once(4)
    assert [call.partition(".")[2] for call in tries] == [*["commit", "abort"] * 4, "commit"]
    pauses = [again - aborted for aborted, again in zip(moments[1::2], moments[2::2], strict=True)]
    assert all(pause >= least for pause, least in zip(pauses, (0.0, 0.1, 0.2, 0.4), strict=True)), pauses


# --- admission ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["offsets.committed", "consumer.watermarks", "consumer.seek"])
def test_a_partition_whose_admission_fails_halfway_is_admitted_later(stage: Stage, call: str) -> None:
    stage.broker.failures[call] = [None, kafka_error(), kafka_error()]

    def script(stage: Stage) -> Script:
        for partition in range(3):
            stage.feed(4, partition=partition)
        stage.arrivals.put(stage.active(1))
        yield from stage.until(lambda: len(stage.predictions()) == 12)

    stage.play(script)
    assert sorted(stage.predictions()) == [(partition, offset, 1) for partition in range(3) for offset in range(4)]


def test_an_unknown_topic_id_delays_admission(stage: Stage) -> None:
    stage.unknown_topics = [Unavailable("not now"), Unavailable("not now")]

    def script(stage: Stage) -> Script:
        for partition in range(3):
            stage.feed(2, partition=partition)
        stage.arrivals.put(stage.active(1))
        yield from stage.until(lambda: len(stage.predictions()) == 6)

    stage.play(script)
    assert {json.loads(o.value or b"")["input"]["topic_id"] for o in stage.broker.outputs[:2]} == {"id of small.input"}


@pytest.mark.parametrize(("oldest", "committed"), [(5, 2), (0, 9)], ids=["retention", "another topic"])
def test_records_that_are_gone_are_said_and_scoring_goes_on_with_what_is_left(
    stage: Stage, oldest: int, committed: int
) -> None:
    def script(stage: Stage) -> Script:
        stage.feed(8)
        stage.broker.oldest["small.input", 0] = oldest
        stage.broker.committed["small.input", 0] = (committed, Progress(LEDGER, 1).encode())
        stage.arrivals.put(stage.active(1))
        yield from stage.until(lambda: len(stage.predictions()) == 8 - oldest)
        yield from stage.until(lambda: "gone" in (stage.status().reason or ""))

    stage.play(script)
    assert stage.predictions() == [(0, offset, 1) for offset in range(oldest, 8)]


def test_a_partition_without_output_partitions_waits_and_the_others_do_not(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scoring.worker.assignment.OUTPUT_WAIT_S", 0.0)

    def script(stage: Stage) -> Script:
        stage.widths["small.dead-letters"] = 1
        for partition in range(2):
            stage.feed(3, partition=partition)
        stage.arrivals.put(stage.active(1))
        yield from stage.until(lambda: len(stage.predictions()) == 3)
        yield from stage.until(lambda: "have no such partition" in (stage.status().reason or ""))
        del stage.widths["small.dead-letters"]
        yield from stage.until(lambda: len(stage.predictions()) == 6)

    stage.play(script)


def test_a_partition_that_needs_a_newer_sequence_is_held_until_it_is_live(stage: Stage) -> None:
    def script(stage: Stage) -> Script:
        stage.feed(8)
        stage.broker.committed["small.input", 0] = (4, Progress(LEDGER, 2).encode())
        stage.arrivals.put(stage.active(1))
        yield from stage.until(lambda: stage.status().state is State.HELD)
        assert stage.status().pending == 2
        assert stage.predictions() == []
        stage.arrivals.put(stage.active(2))
        yield from stage.until(lambda: len(stage.predictions()) == 4)

    stage.play(script)
    assert stage.predictions() == [(0, offset, 2) for offset in range(4, 8)]


def test_a_worker_that_refused_what_its_partition_needs_lets_go_of_the_topic(stage: Stage) -> None:
    stage.refusals["small"] = 2

    def script(stage: Stage) -> Script:
        stage.feed(8)
        stage.broker.committed["small.input", 0] = (4, Progress(LEDGER, 2).encode())
        stage.arrivals.put(stage.active(1))
        yield from stage.until(lambda: "consumer.unsubscribe" in stage.broker.calls)
        yield from stage.until(lambda: not stage.consumer.positions)
        stage.arrivals.put(stage.active(3))
        yield from stage.until(lambda: len(stage.predictions()) == 4)

    stage.play(script)
    assert stage.predictions() == [(0, offset, 3) for offset in range(4, 8)]


def test_offsets_of_another_ledger_hold_a_partition(stage: Stage) -> None:
    def script(stage: Stage) -> Script:
        stage.feed(8)
        stage.broker.committed["small.input", 0] = (4, Progress(UUID(int=8), 1).encode())
        stage.arrivals.put(stage.active(9))
        yield from stage.until(lambda: stage.status().state is State.HELD)

    stage.play(script)
    assert stage.predictions() == []
    assert stage.status().reason == "its offset was committed under another ledger"


# --- rebalances ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [False, True])
def test_a_rebalance_aborts_and_goes_back_to_the_committed_offsets(stage: Stage, lost: bool) -> None:
    aborted: list[str] = []

    def script(stage: Stage) -> Script:
        for partition in range(2):
            stage.feed(12, partition=partition)
        stage.arrivals.put(stage.active(1))
        yield from two_in_flight(stage)
        stage.consumer.go(("small.input", 1), lost=lost)
        yield from stage.until(lambda: sum(p == 0 for p, _, _ in stage.predictions()) == 12)
        aborted.extend(call for call in stage.broker.calls if call.endswith(".abort"))
        stage.consumer.come(("small.input", 1))
        yield from stage.until(lambda: len(stage.predictions()) == 24)

    stage.play(script)
    assert aborted == ["p1.abort"]
    for partition in range(2):
        assert [offset for p, offset, _ in stage.predictions() if p == partition] == list(range(12))


def two_in_flight(stage: Stage) -> Script:
    """Until the first transaction is being committed and the second waits for that, which ends once somebody waits."""
    gate = stage.broker.gates["p0.commit"] = threading.Event()
    yield from stage.until(lambda: any(call.startswith("p1.produce") for call in stage.broker.calls))
    stage.pipeline._beat = gate.set


def test_nothing_is_scored_under_a_new_name_before_the_group_says_what_is_its_own(stage: Stage) -> None:
    """What somebody else has by then would be committed all the same: the new name is good."""

    def script(stage: Stage) -> Script:
        stage.feed(4)
        stage.arrivals.put(stage.active(1))
        yield from stage.until(lambda: len(stage.predictions()) == 4)
        stage.consumer.member = "second"
        stage.feed(4)
        polls = stage.broker.calls.count("consumer.poll")
        yield from stage.until(lambda: stage.broker.calls.count("consumer.poll") > polls + 20)
        assert len(stage.predictions()) == 4
        stage.broker.committed["small.input", 0] = (6, "")
        stage.consumer.go(("small.input", 0), lost=True)
        stage.consumer.come(("small.input", 0))
        yield from stage.until(lambda: len(stage.predictions()) == 6)

    stage.play(script)
    assert [offset for _, offset, _ in stage.predictions()] == [0, 1, 2, 3, 6, 7]


def test_an_acknowledgement_that_is_due_lets_no_record_in_under_a_new_name(stage: Stage) -> None:
    """It needs a transaction, which takes in what comes while the one before is being committed."""

    def script(stage: Stage) -> Script:
        stage.feed(4)
        stage.arrivals.put(stage.active(1))
        yield from stage.until(lambda: len(stage.predictions()) == 4 and len(stage.settlements) == 1)
        stage.consumer.member = "second"
        stage.arrivals.put(stage.active(2))
        yield from stage.until(lambda: len(stage.settlements) == 2)
        gate = stage.broker.gates["p0.commit"] = stage.broker.gates["p1.commit"] = threading.Event()
        stage.arrivals.put(stage.active(3))
        polls = stage.broker.calls.count("consumer.poll")
        yield from stage.until(lambda: stage.broker.calls.count("consumer.poll") > polls + 5)
        stage.arrivals.put(stage.active(4))
        stage.feed(4)
        polls = stage.broker.calls.count("consumer.poll")
        yield from stage.until(lambda: stage.broker.calls.count("consumer.poll") > polls + 5)
        gate.set()
        yield from stage.until(lambda: len(stage.settlements) == 4)

    stage.play(script)
    assert len(stage.predictions()) == 4


def test_what_is_left_of_an_earlier_name_ends_the_process(stage: Stage) -> None:
    def script(stage: Stage) -> Script:
        stage.arrivals.put(stage.active(1))
        stage.feed(1)
        yield from stage.until(lambda: len(stage.predictions()) == 1)
        stage.consumer.member = "second"
        stage.consumer.come(("small.input", 1))
        yield from stage.until(lambda: False)

    with pytest.raises(MustExit, match="let it in again"):
        stage.play(script)


def test_a_worker_that_is_never_told_what_is_its_own_ends(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assignment, "STRANGER_PATIENCE_S", 0.0)

    def script(stage: Stage) -> Script:
        stage.arrivals.put(stage.active(1))
        stage.feed(1)
        yield from stage.until(lambda: len(stage.predictions()) == 1)
        stage.consumer.member = "second"
        stage.feed(1)
        yield from stage.until(lambda: False)

    with pytest.raises(MustExit, match="never says what is its own"):
        stage.play(script)


def test_a_partition_that_went_and_came_starts_where_somebody_else_stopped(stage: Stage) -> None:
    def script(stage: Stage) -> Script:
        stage.feed(4)
        stage.arrivals.put(stage.active(1))
        yield from stage.until(lambda: len(stage.predictions()) == 4)
        stage.consumer.go(("small.input", 0))
        yield
        yield
        stage.feed(8)
        stage.broker.committed["small.input", 0] = (9, "")
        stage.consumer.come(("small.input", 0))
        yield from stage.until(lambda: len(stage.predictions()) == 7)

    stage.play(script)
    assert [offset for _, offset, _ in stage.predictions()] == [0, 1, 2, 3, 9, 10, 11]


def test_a_client_that_goes_back_by_itself_makes_nothing_be_scored_again(stage: Stage) -> None:
    def script(stage: Stage) -> Script:
        stage.feed(24)
        stage.arrivals.put(stage.active(1))
        yield from stage.until(lambda: len(stage.predictions()) >= 8)
        stage.consumer.positions["small.input", 0] = 0  # a late answer to its query for the oldest record
        yield from stage.until(lambda: len(stage.predictions()) >= 24)

    stage.play(script)
    assert stage.everything_is_scored_once(24)
    assert stage.broker.committed["small.input", 0][0] == 24


# --- models that go -----------------------------------------------------------------------------------------------


def test_a_retired_model_is_committed_and_let_go_of_and_can_come_back(stage: Stage) -> None:
    def script(stage: Stage) -> Script:
        stage.feed(8)
        stage.arrivals.put(stage.active(1))
        yield from stage.until(lambda: len(stage.predictions()) >= 4)
        stage.feed(20)
        stage.arrivals.put(Retired("small", LEDGER, 2, "1", "0" * 64, MOMENT))
        yield from stage.until(lambda: len(stage.acknowledgements()) == 2)
        yield from stage.until(lambda: stage.status().state is State.RETIRED)
        yield from stage.until(lambda: not stage.consumer.positions)
        stopped_at = len(stage.predictions())
        assert stopped_at < 28
        stage.arrivals.put(stage.active(3))
        yield from stage.until(lambda: len(stage.predictions()) == 28)

    stage.play(script)
    assert stage.everything_is_scored_once(28)
    assert [sequence for sequence, _, _ in stage.acknowledgements()] == [1, 2, 3]
    assert not any("abort" in call for call in stage.broker.calls)


def test_retiring_and_promoting_in_one_breath_loses_nothing(stage: Stage) -> None:
    def script(stage: Stage) -> Script:
        stage.feed(30)
        stage.arrivals.put(stage.active(1))
        yield from stage.until(lambda: len(stage.predictions()) >= 4)
        stage.arrivals.put(Retired("small", LEDGER, 2, "1", "0" * 64, MOMENT))
        yield
        stage.arrivals.put(stage.active(3))
        yield from stage.until(lambda: len(stage.predictions()) == 30)

    stage.play(script)
    assert stage.everything_is_scored_once(30)


def test_retiring_one_model_does_not_disturb_the_other(stage: Stage) -> None:
    def script(stage: Stage) -> Script:
        stage.feed(8)
        stage.feed(8, model="other")
        stage.arrivals.put(stage.active(1))
        stage.arrivals.put(stage.active(1, model="other"))
        yield from stage.until(lambda: len(stage.predictions()) + len(stage.predictions("other")) == 16)
        stage.arrivals.put(Retired("other", LEDGER, 2, "1", "0" * 64, MOMENT))
        stage.feed(8)
        stage.feed(8, model="other")
        yield from stage.until(lambda: len(stage.predictions()) == 16)
        yield from stage.until(lambda: stage.status("other").state is State.RETIRED)

    stage.play(script)
    assert stage.everything_is_scored_once(16)
    assert stage.everything_is_scored_once(8, "other")


def test_partitions_that_are_nobodys_are_asked_for_by_subscribing_anew(stage: Stage) -> None:
    def script(stage: Stage) -> Script:
        stage.feed(12)
        stage.broker.feed([], partition=1)
        stage.arrivals.put(stage.active(1))
        yield from stage.until(lambda: len(stage.predictions()) == 12)
        stage.loop._orphans._due = frozenset({("small.input", 1)})
        yield from stage.until(lambda: "consumer.unsubscribe" in stage.broker.calls)
        stage.feed(12)
        stage.feed(4, partition=1)
        yield from stage.until(lambda: len(stage.predictions()) == 28)

    stage.play(script)
    calls = [call for call in stage.broker.calls if "subscribe" in call]
    assert calls == ["consumer.subscribe small.input", "consumer.unsubscribe", "consumer.subscribe small.input"]
    assert [offset for partition, offset, _ in stage.predictions() if partition == 0] == list(range(24))


# --- one model whose transactions fail -----------------------------------------------------------------------------


@pytest.fixture
def quick_suspects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scoring.worker.suspects._WAITS", Backoff(first_s=0.02, longest_s=0.02))


@pytest.mark.usefixtures("quick_suspects")
def test_a_model_whose_outputs_the_broker_refuses_does_not_keep_the_others_waiting(stage: Stage) -> None:
    stage.broker.refused = {"small.predictions"}

    def script(stage: Stage) -> Script:
        stage.feed(12)
        stage.feed(12, model="other")
        stage.arrivals.put(stage.active(1))
        stage.arrivals.put(stage.active(1, model="other"))
        yield from stage.until(lambda: len(stage.predictions("other")) == 12)
        stage.feed(12, model="other")
        yield from stage.until(lambda: len(stage.predictions("other")) == 24)
        yield from stage.until(lambda: "fail again and again" in (stage.status().reason or ""))
        assert stage.status("other").reason is None
        assert stage.predictions() == []
        stage.broker.refused = set()
        yield from stage.until(lambda: len(stage.predictions()) == 12)
        stage.feed(4)
        stage.feed(4, model="other")
        yield from stage.until(lambda: len(stage.predictions()) + len(stage.predictions("other")) == 16 + 28)
        yield from stage.until(lambda: stage.status().reason is None)

    stage.play(script)
    assert stage.everything_is_scored_once(16)
    assert stage.everything_is_scored_once(28, "other")


@pytest.mark.usefixtures("quick_suspects")
def test_while_every_transaction_fails_nothing_is_lost_or_doubled(stage: Stage) -> None:
    stage.broker.refused = {"small.predictions", "other.predictions"}

    def script(stage: Stage) -> Script:
        stage.feed(12)
        stage.feed(12, model="other")
        stage.arrivals.put(stage.active(1))
        stage.arrivals.put(stage.active(1, model="other"))
        yield from stage.until(lambda: len(stage.loop._suspects.waiting()) == 2)
        stage.broker.refused = set()
        yield from stage.until(lambda: len(stage.predictions()) + len(stage.predictions("other")) == 24)

    stage.play(script)
    assert stage.everything_is_scored_once(12)
    assert stage.everything_is_scored_once(12, "other")


# --- lookups that fail --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [Unavailable("the database is away"), ConfigurationError("no such table")])
def test_records_whose_lookups_fail_wait_and_those_of_other_models_do_not(stage: Stage, error: Exception) -> None:
    stage.lookups.failures = [error] * 3

    def script(stage: Stage) -> Script:
        stage.feed(12)
        stage.feed(12, model="other")
        stage.arrivals.put(stage.active(1, lookups=(WEATHER,)))
        stage.arrivals.put(stage.active(1, model="other"))
        yield from stage.until(lambda: len(stage.predictions("other")) == 12)
        assert stage.predictions() == []
        stage.feed(12, model="other")
        yield from stage.until(lambda: len(stage.predictions("other")) == 24)
        yield from stage.until(lambda: len(stage.predictions()) == 12)

    stage.play(script)
    assert stage.everything_is_scored_once(12)
    assert stage.everything_is_scored_once(24, "other")
    assert stage.letters() == 0


@pytest.fixture
def quick_breaker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scoring.worker.breaker.MINIMUM_RECORDS", 8)
    monkeypatch.setattr("scoring.worker.loop._PROBES", Backoff(first_s=0.01, longest_s=0.01))


@pytest.mark.usefixtures("quick_breaker")
def test_a_topic_of_bad_records_is_not_drained_into_dead_letters_and_other_models_go_on(stage: Stage) -> None:
    def script(stage: Stage) -> Script:
        stage.arrivals.put(stage.active(1))
        stage.arrivals.put(stage.active(1, model="other"))
        stage.broker.inputs["other.input", 0]  # there, empty
        stage.feed(12)
        yield from stage.until(lambda: len(stage.predictions()) == 12)
        stage.broker.feed([b"{}"] * 200)
        stage.feed(40, model="other")
        yield from stage.until(lambda: "would become dead letters" in (stage.status().reason or ""))
        yield from stage.until(lambda: len(stage.predictions("other")) == 40)
        yield from stage.until(lambda: stage.loop._breakers["small.input"].probes > 5)

    stage.play(script)
    assert 0 < stage.letters() <= 12 + 4
    assert stage.broker.committed["small.input", 0][0] == 12 + stage.letters()


@pytest.mark.usefixtures("quick_breaker")
def test_good_records_behind_few_bad_ones_close_the_breaker_again(stage: Stage) -> None:
    def script(stage: Stage) -> Script:
        stage.arrivals.put(stage.active(1))
        stage.broker.feed([b"{}"] * 14)
        yield from stage.until(lambda: stage.loop._breakers["small.input"].probes > 2)
        held = stage.letters()
        # What was to be mended is mended: the records that are left are replaced by ones that can be scored.
        first = stage.broker.committed.get(("small.input", 0), (0, ""))[0]
        del stage.broker.inputs["small.input", 0][first:]
        stage.feed(40)
        yield from stage.until(lambda: len(stage.predictions()) == 40)
        assert stage.letters() == held
        yield from stage.until(lambda: stage.status().reason is None)

    stage.play(script)
    assert stage.loop._breakers["small.input"].probes == 0


def test_a_new_bundle_is_a_probe_at_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scoring.worker.breaker.MINIMUM_RECORDS", 4)
    monkeypatch.setattr("scoring.worker.loop._PROBES", Backoff(first_s=3_600.0, longest_s=3_600.0))

    def script(stage: Stage) -> Script:
        stage.arrivals.put(stage.active(1))
        stage.broker.feed([b"{}"] * 8)
        yield from stage.until(lambda: stage.loop._breakers["small.input"].probes == 1)
        stage.arrivals.put(stage.active(2))
        yield from stage.until(lambda: stage.loop._breakers["small.input"].probes == 2)

    stage.play(script)
    assert stage.letters() == 0


@pytest.fixture
def careless(tmp_path: Path) -> Stage:
    """A stage whose worker delivers at least once."""
    return Stage(tmp_path, AtLeastOnce)


def test_at_least_once_flushes_outputs_then_acknowledgements_then_commits_offsets(careless: Stage) -> None:
    def script(stage: Stage) -> Script:
        stage.feed(4)
        stage.arrivals.put(stage.active(3))
        yield from stage.until(lambda: len(stage.settlements) == 1)

    careless.play(script)
    assert careless.everything_is_scored_once(4)
    offset, metadata = careless.broker.committed["small.input", 0]
    assert (offset, Progress.decode(metadata)) == (4, Progress(LEDGER, 3))
    assert careless.acknowledgements() == [(3, "live", [(0, 0)])]
    assert [call for call in careless.broker.calls if call.startswith(("p0.", "consumer.commit"))] == [
        *["p0.produce small.predictions"] * 4,
        "p0.flush",
        f"p0.produce {ACKNOWLEDGEMENTS}",
        "p0.flush",
        "consumer.commit",
    ]


@pytest.mark.parametrize("code", [KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID])
def test_at_least_once_scores_again_what_it_could_not_commit(careless: Stage, code: int) -> None:
    # Offsets count up: only what no later commit covers is scored again.
    careless.broker.failures["consumer.commit"] = [None, *[KafkaException(KafkaError(code))] * 2]

    def script(stage: Stage) -> Script:
        stage.feed(12)
        stage.arrivals.put(stage.active(1))
        yield from stage.until(lambda: stage.broker.committed.get(("small.input", 0), (0, ""))[0] == 12)

    careless.play(script)
    assert {offset for _, offset, _ in careless.predictions()} == set(range(12))
    assert len(careless.predictions()) > 12


def test_at_least_once_waits_for_a_broker_that_is_away(careless: Stage) -> None:
    careless.broker.failures["consumer.commit"] = [KafkaException(KafkaError(KafkaError._TRANSPORT))] * 3

    def script(stage: Stage) -> Script:
        stage.feed(4)
        stage.arrivals.put(stage.active(1))
        yield from stage.until(lambda: stage.broker.committed.get(("small.input", 0), (0, ""))[0] == 4)

    careless.play(script)
    assert careless.everything_is_scored_once(4)


def test_at_least_once_never_commits_past_a_record_that_was_not_delivered(careless: Stage) -> None:
    lost = KafkaError(KafkaError._MSG_TIMED_OUT)
    delivery = cast("AtLeastOnce", careless.delivery)
    careless.broker.on_flush = lambda: delivery.report(lost, None)  # type: ignore[arg-type]

    def script(stage: Stage) -> Script:
        stage.feed(4)
        stage.arrivals.put(stage.active(1))
        yield from stage.until(lambda: stage.turns > 200)

    careless.play(script)
    assert "consumer.commit" not in careless.broker.calls
    assert "p0.purge" in careless.broker.calls


def test_while_lookups_fail_the_status_says_so(stage: Stage) -> None:
    def script(stage: Stage) -> Script:
        stage.feed(4)
        stage.arrivals.put(stage.active(1, lookups=(WEATHER,)))
        yield from stage.until(lambda: len(stage.predictions()) == 4)
        stage.lookups.failures = [Unavailable("away")] * 4
        stage.feed(4)
        yield from stage.until(lambda: stage.status().reason is not None)
        assert stage.status().reason == "its looked-up values cannot be read now"
        assert stage.status().positions[0].offset == 4
        yield from stage.until(lambda: len(stage.predictions()) == 8)

    stage.play(script)
    assert stage.everything_is_scored_once(8)


def test_a_transaction_that_fails_while_lookups_are_away_is_recovered_from(stage: Stage) -> None:
    def script(stage: Stage) -> Script:
        stage.feed(4)
        stage.arrivals.put(stage.active(1, lookups=(WEATHER,)))
        yield from stage.until(lambda: len(stage.predictions()) == 4)
        stage.feed(4)
        gate = stage.broker.gates["p1.commit"] = threading.Event()
        stage.broker.failures["p1.commit"] = [kafka_error(abortable=True)]
        yield from stage.until(lambda: "p1.flush" in stage.broker.calls)
        asked = len(stage.lookups.asked)
        stage.lookups.failures = [Unavailable("away")] * 2
        stage.feed(4)
        yield from stage.until(lambda: len(stage.lookups.asked) > asked)
        gate.set()
        yield from stage.until(lambda: len(stage.predictions()) == 12)

    stage.play(script)
    assert stage.everything_is_scored_once(12)


# --- the end ------------------------------------------------------------------------------------------------------


def test_stopping_commits_what_is_in_flight(stage: Stage) -> None:
    def script(stage: Stage) -> Script:
        stage.feed(40)
        stage.arrivals.put(stage.active(1))
        yield from two_in_flight(stage)

    stage.play(script)
    scored = sum("produce small.predictions" in call for call in stage.broker.calls)
    assert stage.everything_is_scored_once(scored)
    assert stage.broker.committed["small.input", 0][0] == scored > 0


def test_stopping_while_a_transaction_fails_aborts_it(stage: Stage) -> None:
    def script(stage: Stage) -> Script:
        stage.feed(4)
        stage.arrivals.put(stage.active(1))
        stage.broker.failures["p0.commit"] = [kafka_error(abortable=True)]
        yield from stage.until(lambda: "p0.begin" in stage.broker.calls)

    stage.play(script)
    assert stage.broker.outputs == []
    assert "p0.abort" in stage.broker.calls


def test_an_error_of_the_consumer_that_nobody_expected_ends_the_process(stage: Stage) -> None:
    stage.broker.failures["consumer.resume"] = [kafka_error()]

    def script(stage: Stage) -> Script:
        stage.feed(4)
        stage.arrivals.put(stage.active(1))
        yield from stage.until(lambda: False)

    stage.broker.failures["consumer.poll"] = [None, None, None, kafka_error()]
    with pytest.raises(MustExit, match="the consumer cannot go on"):
        stage.play(script)
