"""What a command works on: the dead letters of one model, their originals, and the replay of them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from typing import Any, Self

from confluent_kafka import Producer
from confluent_kafka.admin import ConfigResource, ResourceType

from scoring.contract.errors import ConfigurationError
from scoring.contract.manifest import Topics
from scoring.contract.replay import Note
from scoring.contract.topics import INPUT_MAXIMUM_BYTES, REPLAYS
from scoring.kafka import PATIENCE_S, Options, admin_client, kafka_errors
from scoring.letters.finding import Letters, Selection
from scoring.letters.letter import Letter, letter_of
from scoring.letters.notes import note_of, noted
from scoring.letters.originals import Gone, Original, Originals
from scoring.letters.replaying import Judged, Order, Summary, Tally, judge, replay
from scoring.letters.transactions import Replayer
from scoring.reading import Reader


class Session:
    """The dead letters of one model. A context manager.

    Args:
        topics: the model's; None takes them by their standard names.

    Raises:
        ConfigurationError: a topic is not there, or access is refused.
        Unavailable: the broker cannot be reached.
    """

    def __init__(self, kafka: Options, model: str, topics: Topics | None = None, *, notes_topic: str = REPLAYS) -> None:
        self.model = model
        self.topics = topics or Topics.of(model)
        self._kafka = kafka
        self._notes_topic = notes_topic
        self._stack = ExitStack()
        self._reader = self._stack.enter_context(Reader(kafka, self.topics.dead_letters))
        self._originals = self._stack.enter_context(Originals(kafka, self.topics.input))

    def letters(self, selection: Selection) -> Letters:
        """The dead letters that are there now and that the selection takes."""
        return Letters(self._reader, selection, self.model)

    def letter(self, partition: int, offset: int) -> Letter:
        """The dead letter at a place of the dead-letter topic.

        Raises:
            ConfigurationError: there is none, or what is there is no dead letter.
        """
        where = f"{self.topics.dead_letters}, partition {partition}, offset {offset}"
        found = self._reader.at(partition, offset)
        if found is None:
            raise ConfigurationError(f"{where}: there is no dead letter; see `baton dead-letters list {self.model}`")
        try:
            letter = letter_of(found, self._reader.topic, self._reader.topic_id)
        except ValueError as error:
            raise ConfigurationError(f"{where}: {error}") from error
        if letter.told.model != self.model:
            raise ConfigurationError(f"{where}: this is a dead letter of {letter.told.model}, not of {self.model}")
        return letter

    def original(self, letter: Letter) -> Original | Gone:
        """The record that a dead letter was made from."""
        return self._originals.of(letter)

    def put_back(self, letter: Letter) -> Note | bool:
        """The note that a dead letter was put back; True where it says no more than that, False where there is none."""
        return note_of(self._kafka, self.model, letter.place, topic=self._notes_topic)

    def noted(self) -> frozenset[bytes]:
        """The keys of the notes of all of the model's dead letters that were put back (``replay.note_key``)."""
        return frozenset(noted(self._kafka, self.model, topic=self._notes_topic))

    def order(self, *, actor: str, why: str, again: bool = False) -> Order:
        """An order to replay into the input topic as it is now."""
        with Reader(self._kafka, self.topics.input) as found:
            ends = tuple(found.bounds(partition)[1] for partition in range(found.partitions))
        return Order(
            model=self.model,
            input_topic=self.topics.input,
            input_topic_id=found.topic_id,
            ends=ends,
            maximum_bytes=self._maximum_bytes(),
            actor=actor,
            why=why,
            again=again,
        )

    def _maximum_bytes(self) -> int:
        """How large a record of the input topic may be."""
        resource = ConfigResource(ResourceType.TOPIC, self.topics.input)
        admin = admin_client(self._kafka)  # its requests end with it
        with kafka_errors(f"describing {self.topics.input}"):
            entries = admin.describe_configs([resource])[resource].result(PATIENCE_S)
        found = entries.get("max.message.bytes")
        return int(found.value) if found is not None and found.value else INPUT_MAXIMUM_BYTES

    def plan(self, letters: Letters, order: Order) -> Summary:
        """What a replay would do, by what is on record now; changes nothing."""
        tally = Tally()
        for judged in self._judged(letters, order):
            tally.add(judged)
        tally.add_nothing(letters.nothing_at)
        return tally.summary()

    def replay(
        self,
        letters: Letters,
        order: Order,
        *,
        clock: Callable[[], datetime],
        progress: Callable[[Summary], None],
        make_producer: Callable[[dict[str, Any]], Producer] = Producer,
        replayer: type[Replayer] = Replayer,
    ) -> Summary:
        """Put the letters' records back, each at most once (see ``replaying.replay``).

        Args:
            make_producer, replayer: tests put others in between.
        """
        with replayer(
            self.model,
            self._kafka,
            maximum_bytes=order.maximum_bytes,
            notes_topic=self._notes_topic,
            make_producer=make_producer,
        ) as opened:
            # Only now: whatever a fenced replay committed is among the notes.
            return replay(self._judged(letters, order), order, opened, clock, progress, letters.nothing_at)

    def _judged(self, letters: Letters, order: Order) -> Iterator[Judged]:
        notes = self.noted()
        for letter in letters.all():
            yield judge(letter, order, notes, self.original)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
