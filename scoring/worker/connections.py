"""The clients that score: the group's member, and the two producers that take turns.

They are made before anything else, so that they connect while numpy, ONNX Runtime and the bundles are loaded.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from threading import Thread

import structlog
from confluent_kafka import Consumer, KafkaException, Producer

from scoring.service.backoff import Backoff
from scoring.service.stop import Stop
from scoring.settings import Settings
from scoring.worker.clients import Clients, consumer_settings, offsets_settings, producer_settings
from scoring.worker.delivery import AtLeastOnce, ExactlyOnce
from scoring.worker.policy import Remedy, kafka_error, remedy

INITIALISE_TIMEOUT_S = 10.0
REACH_TIMEOUT_S = 2.0
log = structlog.get_logger()


class Connections:
    """The clients, connecting from the beginning.

    Attributes:
        consumer: the group's member.
        asking: a client that only asks what the group has committed.
        delivery: how micro-batches become final.
        producers: P0 and P1; not initialised yet.
    """

    def __init__(self, settings: Settings, made: Clients) -> None:
        self.consumer, self.delivery, self.producers = _delivery(settings, made)
        self.asking = made.consumer(offsets_settings(settings))
        self._reaching = _reach(self.producers)

    def initialised(self, stop: Stop, beat: Callable[[], None]) -> bool:
        """Fence a predecessor under both ids; false when told to stop before the broker was up.

        It comes before subscribing (protocol B.1); at least once has nobody to fence.
        """
        for thread in self._reaching:
            thread.join()
        if stop.requested():
            return False
        return not isinstance(self.delivery, ExactlyOnce) or _initialised(self.producers, stop, beat)


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


def _reach(producers: Iterable[Producer]) -> list[Thread]:
    """Let all of them connect at once, and wait for that no longer than ``REACH_TIMEOUT_S``.

    A client without a connection asks for its transaction coordinator in vain, and again only half a second later.
    """

    def reach(producer: Producer) -> None:
        with suppress(KafkaException):  # a broker that is away is told of by what needs it
            producer.list_topics(timeout=REACH_TIMEOUT_S)

    threads = [Thread(target=reach, args=(producer,), name="reach", daemon=True) for producer in producers]
    for thread in threads:
        thread.start()
    return threads


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
            beat()
    return True


def _initialise(producer: Producer) -> bool:
    try:
        producer.init_transactions(INITIALISE_TIMEOUT_S)
    except KafkaException as error:
        if remedy(kafka_error(error)) is not Remedy.REPEAT:
            raise
        return False
    return True
