"""One worker process: its parts are put together here, and ended in order."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import structlog
from confluent_kafka import Consumer, KafkaException, Producer

from scoring.contract.errors import Rejection
from scoring.contract.heartbeat import ModelStatus
from scoring.log import identify
from scoring.lookups.sql import SqlLookups
from scoring.scorer.trial import TrialLimits
from scoring.settings import Settings
from scoring.worker.breaker import Limits
from scoring.worker.cache import Cache
from scoring.worker.clients import (
    Clients,
    consumer_settings,
    follower_settings,
    heartbeat_settings,
    producer_settings,
    worker_id,
)
from scoring.worker.delivery import AtLeastOnce, ExactlyOnce
from scoring.worker.directory import Surroundings, TopicDirectory
from scoring.worker.fetch_process import FetchProcess
from scoring.worker.fetching import Fetching
from scoring.worker.follower import Follower
from scoring.worker.heartbeat import HeartbeatSender, merge
from scoring.worker.loop import Loop
from scoring.worker.pipeline import Pipeline
from scoring.worker.policy import Backoff, Remedy, kafka_error, remedy
from scoring.worker.watchdog import Watchdog

STOP_PATIENCE_S = 30.0
INITIALISE_TIMEOUT_S = 10.0
log = structlog.get_logger()


class Stop:
    """Whether, and since when, the worker was told to stop."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._since_s: float | None = None

    def request(self) -> None:
        """Tell the worker to stop; the first time counts. Takes no lock, so it is safe in a signal handler."""
        if self._since_s is None:
            self._since_s = self._clock_s()

    def requested(self) -> bool:
        """Whether it was told to stop."""
        return self._since_s is not None

    def overdue(self) -> bool:
        """Whether it has been stopping for too long, so that calls that cannot get through are given up."""
        return self._since_s is not None and self._clock_s() - self._since_s > STOP_PATIENCE_S

    def wait(self, seconds: float) -> bool:
        """Wait; true soon after it was told to stop."""
        until_s = self._clock_s() + seconds
        while not self.requested() and self._clock_s() < until_s:
            time.sleep(min(0.1, seconds))
        return self.requested()


@contextmanager
def stop_on_signals(stop: Stop) -> Iterator[None]:
    """SIGTERM and SIGINT ask the worker to stop after the micro-batch in hand."""
    previous = {number: signal.signal(number, lambda *_: stop.request()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def run_worker(settings: Settings, stop: Stop, clients: Clients | None = None) -> None:
    """Run the worker until it is told to stop.

    Raises:
        ConfigurationError: a setting is missing or wrong.
        MustExit: the process cannot go on; a fresh one has to start.
    """
    made = clients or Clients()
    worker, instance, keyring = worker_id(settings), uuid4().hex, settings.need_keyring()
    identify(worker=worker, instance=instance)
    directory, fetch_process = TopicDirectory(settings.need_kafka()), _fetch_process(settings)
    fetching = _fetching(settings, directory, fetch_process)
    consumer, delivery, producers = _delivery(settings, made)
    # Before subscribing: that fences both of a predecessor's ids (protocol B.1).
    if isinstance(delivery, ExactlyOnce) and not _initialised(producers, stop):
        return
    watchdog = Watchdog()
    pipeline = Pipeline(producers, delivery, stop.overdue, watchdog.beat)
    loop = Loop(
        consumer=consumer,
        pipeline=pipeline,
        fetching=fetching,
        lookups=SqlLookups(settings.need_connection),
        keyring=keyring,
        topics=directory,
        worker=worker,
        instance=instance,
        maximum_batch_records=settings.maximum_batch_records,
        stopping=stop.requested,
        breaker=Limits(settings.breaker_share, settings.breaker_window_records),
        beat=watchdog.beat,
    )
    follower = Follower(
        lambda: made.consumer(follower_settings(settings)),
        keyring,
        fetching.offer,
        lambda: fetching.memory.ledger,
        fetching.caught_up,
    )
    heartbeat = HeartbeatSender(
        producer=made.producer(heartbeat_settings(settings)),
        keyring=keyring,
        worker=worker,
        instance=instance,
        status=lambda: _statuses(loop, fetching),
        ledger=lambda: fetching.memory.ledger,
        rejected=lambda: _rejected(follower, fetching),
    )
    log.info("worker.started", models=list(settings.need_models()))
    for thread in (pipeline, fetching, follower, heartbeat, watchdog):
        thread.start()
    try:
        loop.run()
    finally:
        fetch_process.close()  # it would else outlive this process
    log.info("worker.stopping")
    follower.stop()
    fetching.stop()
    pipeline.close()
    loop.close()
    heartbeat.stop(left=True)
    watchdog.stop()


def _fetching(settings: Settings, directory: TopicDirectory, fetch_process: FetchProcess) -> Fetching:
    return Fetching(
        models=settings.need_models(),
        cache=Cache(settings.need_cache_dir(), worker_id(settings)),
        fetch=fetch_process.fetch,
        trial=fetch_process.try_bundle,
        check=Surroundings(directory, SqlLookups(settings.need_connection)).check,  # lookups of its thread's own
    )


def _fetch_process(settings: Settings) -> FetchProcess:
    limits = TrialLimits(
        memory_bytes=settings.trial_memory_bytes,
        processor_s=settings.trial_processor_s,
        # Backfills score more at a time than a small micro-batch: never try less than that.
        records=max(settings.maximum_batch_records, TrialLimits().records),
    )
    return FetchProcess(limits=limits)


def _rejected(follower: Follower, fetching: Fetching) -> dict[str, int]:
    """How many notices were not believed, by reason; the other thread may be counting meanwhile."""
    foreign = {Rejection.OTHER_LEDGER.value: fetching.foreign} if fetching.foreign else {}
    return {**follower.rejected.copy(), **foreign}


def _statuses(loop: Loop, fetching: Fetching) -> dict[str, ModelStatus]:
    scoring, phases = loop.status, dict(fetching.phases)
    return {model: merge(scoring.get(model), phase) for model, phase in phases.items()}


def _delivery(
    settings: Settings, clients: Clients
) -> tuple[Consumer, ExactlyOnce | AtLeastOnce, tuple[Producer, Producer]]:
    """The group's member, how micro-batches become final, and the two producers that take turns."""
    member, first, second = consumer_settings(settings), producer_settings(settings, 0), producer_settings(settings, 1)
    if settings.delivery == "exactly-once":
        return clients.consumer(member), ExactlyOnce(), (clients.producer(first), clients.producer(second))
    delivery = AtLeastOnce(lambda more: clients.consumer({**member, **more}))
    reported = {"on_delivery": delivery.report}
    producers = clients.producer({**first, **reported}), clients.producer({**second, **reported})
    return delivery.consumer, delivery, producers


def _initialised(producers: tuple[Producer, Producer], stop: Stop) -> bool:
    """Call ``init_transactions`` on both; false when told to stop while the broker is not up."""
    backoff = Backoff(first_s=0.2, longest_s=5.0)
    for producer in producers:
        attempt = 0
        while not _initialise(producer):
            attempt += 1
            log.warning("broker.waiting", attempt=attempt)
            if stop.wait(backoff.wait_s(attempt)):
                return False
    return True


def _initialise(producer: Producer) -> bool:
    try:
        producer.init_transactions(INITIALISE_TIMEOUT_S)
    except KafkaException as error:
        if remedy(kafka_error(error)) is not Remedy.REPEAT:
            raise
        return False
    return True
