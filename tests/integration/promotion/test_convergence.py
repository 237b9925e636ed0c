"""Waiting for workers on a real broker; the workers are messages that the test sends (protocol A.9 to A.11)."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from confluent_kafka import Producer

from scoring.contract.acknowledgement import Acknowledgement, Outcome, Position, seal_acknowledgement
from scoring.contract.envelope import Keyring, Sealed
from scoring.contract.errors import ConfigurationError
from scoring.contract.heartbeat import Heartbeat, ModelStatus, State, seal_heartbeat
from scoring.contract.manifest import Topics
from scoring.contract.topics import ACKNOWLEDGEMENTS, WORKERS
from scoring.kafka import Options
from scoring.promotion.convergence import LIMIT_S, Answer, Follower, Standing, wait_until_converged
from scoring.promotion.entry import LedgerEntry
from scoring.promotion.ledger import Ledger
from scoring.promotion.observer import LIVE_WITHIN_S, Presence
from scoring.topics import ensure_topics
from tests.support.decisions import KEYRING, proposal

pytestmark = pytest.mark.integration
PARTITIONS = 2
OTHER_KEY = Keyring(active="k1", keys={"k1": b"x" * 32})


class Stage:
    """A model with one decided version, and the hands of the workers that serve it."""

    def __init__(self, folder: Path, kafka: Options, model: str) -> None:
        self.kafka, self.model = kafka, model
        self.topics = Topics.of(model)
        ensure_topics(kafka, [self.topics], PARTITIONS)
        self.ledger = Ledger.open(f"sqlite:///{folder / 'ledger.db'}")
        self.entry = self.ledger.decide(proposal("1", model=model))
        self.deployment = f"d-{model}"
        self.counter = 0
        self._producer = Producer({**kafka, "linger.ms": 0})

    def close(self) -> None:
        self._producer.close()

    def beat(
        self,
        slot: int = 0,
        sequence: int | None = 1,
        *,
        state: State = State.LIVE,
        pending: int | None = None,
        left: bool = False,
        keyring: Keyring = KEYRING,
        partitions: tuple[int, ...] = (0, 1),
    ) -> None:
        self.counter += 1
        positions = tuple(
            Position(topic=self.topics.input, topic_id="id", partition=number, offset=0) for number in partitions
        )
        status = ModelStatus(state=state, sequence=sequence, pending=pending, positions=positions)
        heartbeat = Heartbeat(
            worker=f"{self.deployment}/{slot}",
            instance="first",
            counter=self.counter,
            at=datetime.now(UTC),
            left=left,
            ledger=self.ledger.identity(),
            models={self.model: status},
        )
        self.send(WORKERS, seal_heartbeat(heartbeat, event_id=str(uuid4()), keyring=keyring))

    def acknowledgement(self, outcome: Outcome, *, slot: int = 0, reason: str | None = None) -> Sealed:
        now = datetime.now(UTC)
        said = Acknowledgement(
            ledger=self.ledger.identity(),
            model=self.model,
            sequence=1,
            version="1",
            worker=f"{self.deployment}/{slot}",
            instance="first",
            outcome=outcome,
            noticed_at=now,
            at=now,
            reason=reason,
        )
        return seal_acknowledgement(said, event_id=str(uuid4()), keyring=KEYRING)

    def send(self, topic: str, sealed: Sealed, producer: Producer | None = None) -> None:
        used = producer or self._producer
        used.produce(topic, sealed.value, sealed.key, headers=list(sealed.headers))
        if producer is None:
            assert used.flush(20) == 0

    def wait(self, *, limit_s: float = 30.0, progress: Callable[[Answer], None] = lambda _: None) -> Answer:
        return wait_until_converged(
            self.entry, ledger=self.ledger, kafka=self.kafka, keyring=KEYRING, limit_s=limit_s, progress=progress
        )

    def follow(
        self,
        entry: LedgerEntry | None = None,
        *,
        limit_s: float = LIMIT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> Follower:
        return Follower(
            entry or self.entry,
            ledger=self.ledger,
            kafka=self.kafka,
            keyring=KEYRING,
            limit_s=limit_s,
            clock=clock,
        )


@pytest.fixture
def stage(tmp_path: Path, kafka: Options, unique_name: Callable[[str], str]) -> Iterator[Stage]:
    made = Stage(tmp_path, kafka, unique_name("m"))
    yield made
    made.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as running:
        yield running


def settle(follower: Follower, *, tries: int = 40) -> Answer:
    """The settled answer, or the last one."""
    answer = follower.step(0.5)
    for _ in range(tries):
        if answer.settled:
            break
        answer = follower.step(0.5)
    return answer


def test_waiting_ends_when_the_worker_says_that_it_is_live(stage: Stage, pool: ThreadPoolExecutor) -> None:
    waiting = threading.Event()
    sentences: list[str] = []

    def progress(answer: Answer) -> None:
        sentences.append(answer.sentence)
        waiting.set()

    future = pool.submit(stage.wait, progress=progress)
    assert waiting.wait(20)
    stage.beat(sequence=None, state=State.FETCHING, pending=1)
    stage.beat()
    answer = future.result(30)
    assert answer.standing is Standing.CONVERGED
    assert answer.workers[0].worker == f"{stage.deployment}/0"
    assert "no worker was seen yet" in sentences[0]
    assert len(sentences) == len(set(sentences)), "the same progress was told twice"


def test_what_a_worker_said_before_is_history_and_not_life(stage: Stage) -> None:
    stage.beat()
    with stage.follow() as follower:
        answer = follower.step(0.5)
        assert answer.standing is Standing.WAITING
        assert "was not heard from yet" in answer.sentence
        stage.beat()
        assert settle(follower).standing is Standing.CONVERGED


def test_a_worker_that_is_gone_is_told_from_one_that_never_was(stage: Stage) -> None:
    stage.beat(left=True)
    answer = stage.wait(limit_s=1.0)
    assert answer.standing is Standing.TIMED_OUT
    assert f"no worker is alive (there were {stage.deployment}/0)" in answer.sentence


def test_no_worker_ever_is_unserved(stage: Stage) -> None:
    answer = stage.wait(limit_s=1.0)
    assert answer.standing is Standing.UNSERVED
    assert answer.green


def test_a_forged_heartbeat_is_counted_and_not_believed(stage: Stage) -> None:
    with stage.follow() as follower:
        before = follower.step(0.5).standing, follower.rejected
        stage.beat(keyring=OTHER_KEY)
        stage.beat(1, sequence=None, state=State.WAITING, partitions=())
        while not follower.step(0.5).workers:
            pass
        assert before[0] is Standing.WAITING
        assert follower.rejected > before[1]
        assert [view.worker for view in follower.step(0).workers] == [f"{stage.deployment}/1"]


def test_a_refusal_that_was_acknowledged_before_the_wait_began_is_found(stage: Stage) -> None:
    stage.send(ACKNOWLEDGEMENTS, stage.acknowledgement(Outcome.REFUSED, reason="golden rows differ"))
    answer = stage.wait(limit_s=20)
    assert answer.standing is Standing.REFUSED
    assert answer.refusals == {f"{stage.deployment}/0": "golden rows differ"}


def test_an_acknowledgement_whose_transaction_was_aborted_was_never_said(stage: Stage) -> None:
    producer = Producer({**stage.kafka, "transactional.id": f"t-{stage.model}", "transaction.timeout.ms": 10_000})
    producer.init_transactions(20)
    producer.begin_transaction()
    stage.send(ACKNOWLEDGEMENTS, stage.acknowledgement(Outcome.REFUSED), producer)
    producer.flush(20)
    producer.abort_transaction(20)
    producer.close()
    with stage.follow() as follower:
        stage.beat()
        assert settle(follower).standing is Standing.CONVERGED


class Clock:
    """The observer's clock, moved by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def heard(follower: Follower, workers: int) -> Answer:
    """The answer once so many workers were heard of."""
    answer = follower.step(0.5)
    for _ in range(60):
        if len(answer.workers) >= workers:
            return answer
        answer = follower.step(0.5)
    raise AssertionError(f"not heard of: {answer}")


def test_a_worker_that_falls_silent_is_waited_for_no_longer(stage: Stage) -> None:
    clock = Clock()
    with stage.follow(clock=clock) as follower:
        follower.step(0)  # what is said from now on is a sign of life
        stage.beat(1, sequence=None, state=State.FETCHING, pending=1, partitions=())
        stage.beat(0)
        assert heard(follower, 2).standing is Standing.WAITING
        clock.now_s += LIVE_WITHIN_S + 1
        stage.beat(0)
        answer = settle(follower)
        assert answer.standing is Standing.CONVERGED
        assert [view.presence for view in answer.workers] == [Presence.LIVE, Presence.SILENT]


def test_a_worker_that_joins_late_is_waited_for(stage: Stage) -> None:
    with stage.follow() as follower:
        follower.step(0)
        stage.beat(0, partitions=(0,))
        assert "owns partition 1" in heard(follower, 1).sentence
        stage.beat(1, sequence=None, state=State.WAITING, partitions=())
        assert heard(follower, 2).standing is Standing.WAITING
        stage.beat(1, partitions=(1,))
        assert settle(follower).standing is Standing.CONVERGED


def test_a_worker_that_departs_is_waited_for_no_longer(stage: Stage) -> None:
    with stage.follow() as follower:
        follower.step(0)
        stage.beat(1, sequence=None, state=State.FETCHING, pending=1, partitions=())
        stage.beat(0)
        assert heard(follower, 2).standing is Standing.WAITING
        stage.beat(1, sequence=None, state=State.FETCHING, pending=1, partitions=(), left=True)
        assert settle(follower).standing is Standing.CONVERGED


def test_a_worker_that_refuses_is_red_at_once(stage: Stage) -> None:
    with stage.follow() as follower:
        follower.step(0)
        stage.beat(1, sequence=None, state=State.REFUSED, pending=1, partitions=())
        stage.beat(0)
        answer = settle(follower)
        assert answer.standing is Standing.REFUSED
        assert set(answer.refusals) == {f"{stage.deployment}/1"}
        assert not answer.green


def test_a_worker_that_is_still_fetching_at_the_limit_is_red(stage: Stage) -> None:
    clock = Clock()
    with stage.follow(limit_s=30.0, clock=clock) as follower:
        follower.step(0)
        stage.beat(0, sequence=None, state=State.FETCHING, pending=1, partitions=())
        assert heard(follower, 1).standing is Standing.WAITING
        clock.now_s += 31
        stage.beat(0, sequence=None, state=State.FETCHING, pending=1, partitions=())
        answer = settle(follower)
        assert answer.standing is Standing.TIMED_OUT
        assert f"{stage.deployment}/0 is fetching on no sequence" in answer.sentence


def test_being_overtaken_is_learned_from_the_ledger(stage: Stage) -> None:
    stage.ledger.decide(proposal("2", model=stage.model, parent=1))
    answer = stage.wait(limit_s=20)
    assert answer.standing is Standing.SUPERSEDED
    assert "superseded by sequence 2" in answer.sentence


def test_a_worker_of_another_ledger_does_not_count(stage: Stage, tmp_path: Path) -> None:
    other = Ledger.open(f"sqlite:///{tmp_path / 'other.db'}")
    assert isinstance(other.identity(), UUID)
    entry = other.decide(proposal("1", model=stage.model))
    with Follower(entry, ledger=other, kafka=stage.kafka, keyring=KEYRING) as follower:
        stage.beat()
        answer = follower.step(0.5)
        while not answer.workers:
            answer = follower.step(0.5)
        assert answer.standing is Standing.WAITING
        assert "follows another ledger" in answer.sentence


def test_a_model_without_an_input_topic_is_a_mistake_of_the_configuration(
    tmp_path: Path, kafka: Options, control_topics: None
) -> None:
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    entry = ledger.decide(proposal("1", model="nobody"))
    with pytest.raises(ConfigurationError, match=r"nobody\.input"):
        wait_until_converged(entry, ledger=ledger, kafka=kafka, keyring=KEYRING)
