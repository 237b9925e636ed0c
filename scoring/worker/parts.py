"""The parts of a worker, put together; they are started, run and ended in order."""

import structlog

from scoring.lookups.topic import TopicLookups
from scoring.service.stop import Stop
from scoring.service.watchdog import Watchdog
from scoring.settings import Settings
from scoring.worker.breaker import Limits
from scoring.worker.cache import Cache
from scoring.worker.clients import (
    Clients,
    consumer_settings,
    follower_settings,
    heartbeat_settings,
    lookup_settings,
    worker_id,
)
from scoring.worker.connections import Connections
from scoring.worker.directory import Surroundings, TopicDirectory
from scoring.worker.ends import Ends
from scoring.worker.fetch_process import FetchProcess
from scoring.worker.fetching import Fetching
from scoring.worker.follower import Follower
from scoring.worker.heartbeat import HeartbeatSender
from scoring.worker.loop import Loop
from scoring.worker.metrics import Metrics
from scoring.worker.offsets import GroupOffsets
from scoring.worker.orphans import Orphans
from scoring.worker.pipeline import Pipeline
from scoring.worker.supply import fetch_process_of, lookups_of
from scoring.worker.surrounding import Surrounding
from scoring.worker.watched import Watched, endpoint_of

log = structlog.get_logger()


class Worker:
    """A worker whose clients are connecting.

    Args:
        made: makes the clients that only follow and tell.
        instance: the name of this process among those that fill the slot.
        cores: those that what it starts may use; empty means all that it may use itself.
    """

    def __init__(
        self,
        settings: Settings,
        stop: Stop,
        made: Clients,
        connections: Connections,
        around: Surrounding,
        instance: str,
        cores: frozenset[int],
    ) -> None:
        keyring, worker = settings.need_keyring(), worker_id(settings)
        self._settings, self._stop, self._restarts = settings, stop, around.restarts
        self._connections = connections
        metrics = Metrics()
        self._watchdog = Watchdog(event="worker.must_exit", limit_s=settings.hang_limit_s, say=around.say)
        member = consumer_settings(settings)
        directory = TopicDirectory(settings.need_kafka(), member["group.id"])
        self._fetch_process = fetch_process_of(settings, cores)
        self._topic_lookups = TopicLookups(lambda: made.consumer(lookup_settings(settings)))
        self._fetching = _fetching(settings, directory, self._fetch_process, self._topic_lookups)
        self._pipeline = Pipeline(
            connections.producers, connections.delivery, stop.overdue, self._watchdog.beat, metrics.timed
        )
        self._ends = Ends(directory.ends)
        self._offsets = GroupOffsets(connections.asking)
        self._orphans = Orphans(directory.group, member["client.id"])
        self._loop = Loop(
            consumer=connections.consumer,
            pipeline=self._pipeline,
            fetching=self._fetching,
            lookups=lookups_of(settings, self._topic_lookups),
            topics=directory,
            offsets=self._offsets,
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
            if not self._connections.initialised(self._stop, self._watchdog.beat):
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
        self._offsets.close()
        self._topic_lookups.close()
        self._heartbeat.stop(left=True)
        if self._endpoint is not None:
            self._endpoint.stop()
        self._watchdog.stop()


def _fetching(
    settings: Settings, directory: TopicDirectory, fetch_process: FetchProcess, topic_lookups: TopicLookups
) -> Fetching:
    return Fetching(
        models=settings.need_models(),
        cache=Cache(settings.need_cache_dir(), worker_id(settings)),
        fetch=fetch_process.fetch,
        trial=fetch_process.try_bundle,
        check=Surroundings(directory, lookups_of(settings, topic_lookups)).check,
    )
