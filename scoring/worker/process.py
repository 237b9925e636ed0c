"""One worker process: its parts are put together here, and ended in order."""

import os
from collections.abc import Callable
from functools import partial
from uuid import uuid4

import msgspec
import structlog
from confluent_kafka import Consumer, KafkaException, Producer

from scoring.contract.features import TableLookup
from scoring.log import identify
from scoring.lookups.port import LookupSource
from scoring.lookups.sources import Late, Sources
from scoring.lookups.topic import TopicLookups
from scoring.scorer.trial import TrialLimits
from scoring.settings import Settings
from scoring.worker.breaker import Limits
from scoring.worker.cache import Cache
from scoring.worker.clients import (
    Clients,
    check_options,
    consumer_settings,
    follower_settings,
    heartbeat_settings,
    lookup_settings,
    producer_settings,
    worker_id,
)
from scoring.worker.delivery import AtLeastOnce, ExactlyOnce
from scoring.worker.directory import Surroundings, TopicDirectory
from scoring.worker.ends import Ends
from scoring.worker.fetch_process import FetchProcess
from scoring.worker.fetching import Fetching
from scoring.worker.follower import Follower
from scoring.worker.heartbeat import HeartbeatSender
from scoring.worker.loop import Loop
from scoring.worker.metrics import Metrics
from scoring.worker.orphans import Orphans
from scoring.worker.pipeline import Pipeline
from scoring.worker.policy import Backoff, Remedy, kafka_error, remedy
from scoring.worker.slot import Held, hold_slot, take_core
from scoring.worker.stop import STOP_PATIENCE_S, Stop, stop_on_signals
from scoring.worker.watchdog import Watchdog
from scoring.worker.watched import Watched, endpoint_of

__all__ = ["STOP_PATIENCE_S", "Stop", "Surrounding", "run_worker", "stop_on_signals"]

INITIALISE_TIMEOUT_S = 10.0
log = structlog.get_logger()


class Surrounding(msgspec.Struct, frozen=True, kw_only=True):
    """What starts a worker and looks after it.

    Attributes:
        say: called every second while the hot thread comes round.
        restarts: how often this slot was started before.
        pinned: whether the worker keeps to a core of its own, where there is one.
    """

    say: Callable[[], None] = lambda: None
    restarts: int = 0
    pinned: bool = False


def run_worker(
    settings: Settings, stop: Stop, clients: Clients | None = None, surrounding: Surrounding | None = None
) -> None:
    """Run the worker until it is told to stop.

    Raises:
        ConfigurationError: settings are missing or wrong, all of which it lists; or the slot is taken on this host.
        MustExit: the process cannot go on; a fresh one has to start.
    """
    settings.check_worker(partial(check_options, settings))
    around = surrounding or Surrounding()
    worker, instance = worker_id(settings), uuid4().hex
    identify(worker=worker, instance=instance)
    slot = hold_slot(settings.need_cache_dir(), worker)
    cores, core = _pinned(settings) if around.pinned else (frozenset(), None)
    try:
        _Worker(settings, stop, clients or Clients(), around, instance, cores).run()
    finally:
        for held in (core, slot):
            if held is not None:
                held.release()


class _Worker:
    """The parts of a worker, put together; they are started, run and ended in order."""

    def __init__(
        self, settings: Settings, stop: Stop, made: Clients, around: Surrounding, instance: str, cores: frozenset[int]
    ) -> None:
        keyring, worker = settings.need_keyring(), worker_id(settings)
        self._settings, self._stop, self._restarts = settings, stop, around.restarts
        metrics = Metrics()
        self._watchdog = Watchdog(limit_s=settings.hang_limit_s, say=around.say)
        directory = TopicDirectory(settings.need_kafka())
        self._fetch_process = _fetch_process(settings, cores)
        self._topic_lookups = TopicLookups(lambda: made.consumer(lookup_settings(settings)))
        self._fetching = _fetching(settings, directory, self._fetch_process, self._topic_lookups)
        consumer, self._delivery, self._producers = _delivery(settings, made)
        self._pipeline = Pipeline(self._producers, self._delivery, stop.overdue, self._watchdog.beat, metrics.timed)
        self._ends = Ends(directory.ends)
        self._orphans = _orphans(settings, directory)
        self._loop = Loop(
            consumer=consumer,
            pipeline=self._pipeline,
            fetching=self._fetching,
            lookups=_lookups(settings, self._topic_lookups),
            topics=directory,
            maximum_batch_records=settings.maximum_batch_records,
            stopping=stop.requested,
            breaker=Limits(settings.breaker_share, settings.breaker_window_records),
            beat=self._watchdog.beat,
            metrics=metrics,
            ends=self._ends,
            orphans=self._orphans,
            keyring=keyring,
            worker=worker,
            instance=instance,
        )
        self._follower = Follower(
            lambda: made.consumer(follower_settings(settings)),
            keyring,
            self._fetching.offer,
            lambda: self._fetching.memory.ledger,
            self._fetching.caught_up,
        )
        watched = Watched(
            loop=self._loop,
            fetching=self._fetching,
            follower=self._follower,
            metrics=metrics,
            silent_s=self._watchdog.silent_s,
        )
        self._heartbeat = HeartbeatSender(
            producer=made.producer(heartbeat_settings(settings)),
            status=watched.statuses,
            ledger=lambda: self._fetching.memory.ledger,
            rejected=watched.rejected,
            keyring=keyring,
            worker=worker,
            instance=instance,
        )
        self._endpoint = endpoint_of(settings, watched, instance, around.restarts)

    def run(self) -> None:
        """Score until told to stop."""
        self._watchdog.start()
        if self._endpoint is not None:  # it answers that this worker is alive also while the broker is away
            self._endpoint.start()
        # Bundles are read while the broker answers the producers.
        self._fetching.start()
        self._follower.start()
        try:
            # Before subscribing: that fences both of a predecessor's ids (protocol B.1).
            if isinstance(self._delivery, ExactlyOnce) and not _initialised(
                self._producers, self._stop, self._watchdog.beat
            ):
                return
            log.info("worker.started", models=list(self._settings.need_models()), restarts=self._restarts)
            self._pipeline.start()
            self._heartbeat.start()
            self._ends.start()
            self._orphans.start()
            self._loop.run()
        finally:
            self._fetch_process.close()  # it would else outlive this process
        self._end()

    def _end(self) -> None:
        log.info("worker.stopping")
        self._follower.stop()
        self._fetching.stop()
        self._ends.stop()
        self._orphans.stop()
        self._pipeline.close()
        self._loop.close()
        self._topic_lookups.close()
        self._heartbeat.stop(left=True)
        if self._endpoint is not None:
            self._endpoint.stop()
        self._watchdog.stop()


def _pinned(settings: Settings) -> tuple[frozenset[int], Held | None]:
    """Keep this thread, and those that it starts, to a core that no other worker of this host keeps to.

    Returns:
        every core that this process might use, and what holds its own; None where there was none left.
    """
    cores = frozenset(os.sched_getaffinity(0))
    taken = take_core(settings.need_cache_dir(), cores)
    if taken is None:
        log.warning("core.none_left", cores=len(cores))
        return cores, None
    core, held = taken
    os.sched_setaffinity(0, {core})
    log.info("core.taken", core=core)
    return cores, held


def _lookups(settings: Settings, topic_lookups: TopicLookups) -> Sources:
    """Where looked-up values come from, for one thread: what is in memory is shared."""

    def tables() -> LookupSource:
        from scoring.lookups.sql import SqlLookups  # noqa: PLC0415  # a third of a start

        return SqlLookups(settings.need_connection, kinds=(TableLookup,))

    return Sources(Late(TableLookup, tables), topic_lookups)


def _fetching(
    settings: Settings, directory: TopicDirectory, fetch_process: FetchProcess, topic_lookups: TopicLookups
) -> Fetching:
    return Fetching(
        models=settings.need_models(),
        cache=Cache(settings.need_cache_dir(), worker_id(settings)),
        fetch=fetch_process.fetch,
        trial=fetch_process.try_bundle,
        check=Surroundings(directory, _lookups(settings, topic_lookups)).check,
    )


def _orphans(settings: Settings, directory: TopicDirectory) -> Orphans:
    member = consumer_settings(settings)
    return Orphans(partial(directory.group, member["group.id"]), member["group.instance.id"])


def _fetch_process(settings: Settings, cores: frozenset[int]) -> FetchProcess:
    limits = TrialLimits(
        memory_bytes=settings.trial_memory_bytes,
        processor_s=settings.trial_processor_s,
        # Backfills score more at a time than a small micro-batch: never try less than that.
        records=max(settings.maximum_batch_records, TrialLimits().records),
    )
    return FetchProcess(limits=limits, cores=cores)


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


def _initialised(producers: tuple[Producer, Producer], stop: Stop, beat: Callable[[], None]) -> bool:
    """Call ``init_transactions`` on both; false when told to stop while the broker is not up."""
    backoff = Backoff(first_s=0.2, longest_s=5.0)
    for producer in producers:
        attempt = 0
        while not _initialise(producer):
            attempt += 1
            beat()
            producer.poll(0)  # the client's own words come this way
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
