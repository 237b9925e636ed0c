"""One sink process, from its settings to its exit status."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import NoReturn

import msgspec
import structlog
from confluent_kafka import Consumer

from scoring import __version__
from scoring.contract.errors import ConfigurationError, Unavailable
from scoring.kafka import admin_client, topic_ids
from scoring.log import configure_logging, identify
from scoring.predictions.writing import Tables
from scoring.service.backoff import Backoff
from scoring.service.ending import EXIT_AGAIN, MustExit, exit_with_the_thread, leave
from scoring.service.endpoint import Endpoint
from scoring.service.options import ClientSettings, check_options
from scoring.service.stop import Stop, stop_on_signals
from scoring.service.systemd import notifier
from scoring.service.watchdog import Watchdog
from scoring.settings import Settings
from scoring.sink.assignment import BROKER_TIMEOUT_S, Assignment
from scoring.sink.clients import consumer_settings
from scoring.sink.exposition import Source, exposition
from scoring.sink.feeds import feeds_of
from scoring.sink.intake import Intake
from scoring.sink.loop import Loop
from scoring.sink.metrics import Metrics
from scoring.sink.readiness import Report, View, view

EVENT = "sink.must_exit"
# Rows of a batch are in memory as Python objects, some two kilobytes each.
MAXIMUM_BATCH_RECORDS = 10_000
_WAITS = Backoff(first_s=0.2, longest_s=10.0)
log = structlog.get_logger()


class Made(msgspec.Struct, frozen=True):
    """Makes a sink's clients; fault tests put some in between that die at a named call."""

    consumer: Callable[[ClientSettings], Consumer] = Consumer
    tables: Callable[[str], Tables] = Tables.open


class Sink:
    """The parts of a sink, put together."""

    def __init__(self, settings: Settings, stop: Stop, made: Made) -> None:
        self._settings, self._stop, self._made = settings, stop, made
        self._metrics = Metrics()
        service = notifier()
        self._ready = partial(service.say, "READY=1")
        self._watchdog = Watchdog(event=EVENT, limit_s=settings.hang_limit_s, say=partial(service.say, "WATCHDOG=1"))
        self._report: Callable[[], Report] = Report
        self._endpoint = self._made_endpoint()

    def run(self) -> None:
        """Keep everything that comes, until told to stop."""
        self._watchdog.start()
        if self._endpoint is not None:  # it answers also while the database is away
            self._endpoint.start()
        self._ready()
        tables = self._opened()
        if tables is not None:
            self._loop(*tables).run()

    def _opened(self) -> tuple[Tables, Consumer] | None:
        """The tables, and the consumer that is called as they are; None when told to stop while they were away."""
        tries = 0
        while not self._stop.requested():
            self._watchdog.beat()
            try:
                tables = self._made.tables(self._settings.need_predictions_url())
                return tables, self._made.consumer(consumer_settings(self._settings, tables.identity()))
            except Unavailable as error:
                tries += 1
                problem = str(error)
                self._report = lambda problem=problem: Report(problem=problem)  # type: ignore[misc]
                if tries == 1:
                    log.warning("database.away", error=problem)
                self._stop.wait(_WAITS.wait_s(tries))
        return None

    def _loop(self, tables: Tables, consumer: Consumer) -> Loop:
        feeds = feeds_of(self._settings.models, self._settings.sink_topics)
        admin = admin_client(self._settings.need_kafka())
        assignment = Assignment(
            consumer,
            tables,
            sorted(feeds),
            lambda topics: topic_ids(admin, topics, BROKER_TIMEOUT_S),
            self._metrics,
            _now,
        )
        loop = Loop(
            consumer=consumer,
            assignment=assignment,
            intake=Intake(consumer, MAXIMUM_BATCH_RECORDS),
            store=tables,
            feeds=feeds,
            metrics=self._metrics,
            stopping=self._stop.requested,
            beat=self._watchdog.beat,
            now=_now,
        )
        self._report = lambda: loop.report
        log.info("sink.started", topics=sorted(feeds), database=tables.database.shown)
        return loop

    def _view(self) -> View:
        return view(self._report(), self._watchdog.silent_s())

    def _made_endpoint(self) -> Endpoint | None:
        settings = self._settings
        if not settings.sink_metrics_port:
            return None
        source = Source(metrics=self._metrics, view=self._view, info=(str(settings.slot), __version__))
        return Endpoint(
            settings.metrics_address,
            settings.sink_metrics_port + settings.slot,
            scraper=partial(exposition, source),
            view=self._view,
            token=settings.need_metrics_token(settings.sink_metrics_port),
        )


def live(settings: Settings, made: Made | None = None) -> NoReturn:
    """Run a sink until it is told to stop, and end this process: with status 0, or 70 for a fresh one to start.

    Raises:
        ConfigurationError: settings are missing or wrong, or the tables are not there.
    """
    configure_logging(settings.log_format)
    settings.check_sink(partial(check_options, settings))
    identify(sink=str(settings.slot))
    threading.excepthook = partial(exit_with_the_thread, event=EVENT)
    stop = Stop()
    try:
        with stop_on_signals(stop):
            Sink(settings, stop, made or Made()).run()
    except MustExit as error:
        log.critical(EVENT, error=str(error))
        leave(EXIT_AGAIN)
    except ConfigurationError:
        raise
    except Exception:  # an unknown state; what was not written is read again
        log.critical(EVENT, exc_info=True)
        leave(EXIT_AGAIN)
    leave(0)


def _now() -> datetime:
    return datetime.now(UTC)
