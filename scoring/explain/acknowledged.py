"""The workers' acknowledgements: read once from the beginning, and then only what is new."""

from collections import defaultdict
from typing import Self

from confluent_kafka import Message

from scoring.contract.acknowledgement import Acknowledgement, unseal_acknowledgement
from scoring.contract.envelope import Keyring
from scoring.contract.errors import EnvelopeRejected
from scoring.contract.topics import ACKNOWLEDGEMENTS
from scoring.kafka import Options, Tail, headers_of


class Acknowledged:
    """Follows ``baton.acknowledgements``. A context manager; not for use by several threads at once."""

    def __init__(self, kafka: Options, keyring: Keyring) -> None:
        self._kafka = kafka
        self._keyring = keyring
        self._tail: Tail | None = None
        self._found: defaultdict[str, list[Acknowledgement]] = defaultdict(list)

    def of(self, model: str) -> list[Acknowledgement]:
        """Every acknowledgement of a model that is kept and can be believed.

        Raises:
            Unavailable, ConfigurationError: the topic cannot be read.
        """
        tail = self._tail or self._begun()
        while (message := tail.poll(0)) is not None:
            self._take(message)
        return self._found[model]

    def _begun(self) -> Tail:
        """The topic, read to its end."""
        tail = Tail(self._kafka, {ACKNOWLEDGEMENTS: None})
        try:
            for message in tail.to_end():
                self._take(message)
        except BaseException:
            self._found.clear()
            tail.close()
            raise
        self._tail = tail
        return tail

    def _take(self, message: Message) -> None:
        try:
            found = unseal_acknowledgement(message.key(), message.value(), headers_of(message), self._keyring)
        except EnvelopeRejected:  # it is not believed, here as anywhere
            return
        self._found[found.model].append(found)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._tail is not None:
            self._tail.close()
