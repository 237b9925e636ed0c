"""Collects what is on record of one record: from Kafka, the ledger and the registry. What cannot be had is told."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Protocol, Self, TypeVar

import msgspec

from scoring.contract.acknowledgement import Acknowledgement, Position
from scoring.contract.errors import BatonError, ConfigurationError
from scoring.contract.manifest import Topics
from scoring.contract.notice import Kind
from scoring.contract.prediction import Prediction
from scoring.explain.explaining import Evidence
from scoring.explain.explanation import Contributions
from scoring.explain.finding import Outcomes, PredictionFinder, Standing
from scoring.explain.judging import Judge, Raw
from scoring.explain.rescoring import Columned
from scoring.kafka import Options
from scoring.letters.letter import Letter
from scoring.lookups.port import LookupSource
from scoring.promotion.entry import LedgerEntry
from scoring.reading import Reader
from scoring.scorer.scorer import Scorer

Answer = TypeVar("Answer")


class NothingThere(ConfigurationError):
    """There is nothing at the place that was asked for."""


class NoOutcome(ConfigurationError):
    """There is something at the place that was asked for, but no outcome of Baton's."""


class OpensBundles(Protocol):
    """Gives the scorer of a version (see ``bundles``)."""

    def scorer(self, model: str, version: str, digest: str | None) -> Scorer: ...  # noqa: D102


class Records(msgspec.Struct, frozen=True, kw_only=True):
    """Where the collector looks beside the model's own topics; each may raise BatonError, and is then left out.

    Attributes:
        entries: of the model in the ledger, in their order.
        acknowledgements: of the model.
        lookups: asks for the looked-up values of dead letters; None leaves them unasked.
        contributions: see ``Evidence``.
        finder: finds predictions by their inputs where that is quicker than in Kafka; None looks there.
    """

    entries: Callable[[str], Sequence[LedgerEntry]]
    acknowledgements: Callable[[str], Sequence[Acknowledgement]]
    bundles: Callable[[], OpensBundles]
    lookups: Callable[[], LookupSource] | None = None
    contributions: Callable[[Scorer, Columned], Contributions | None] | None = None
    finder: PredictionFinder | None = None


class Collector:
    """Collects for the records of one model. A context manager; not for use by several threads at once.

    Raises:
        ConfigurationError: one of the model's topics is not there.
        Unavailable: the broker cannot be reached.
    """

    def __init__(self, kafka: Options, model: str, topics: Topics, records: Records) -> None:
        self._model = model
        self._topics = topics
        self._records = records
        self._stack = ExitStack()
        self._input = self._stack.enter_context(Reader(kafka, topics.input))
        predictions = self._stack.enter_context(Reader(kafka, topics.predictions))
        letters = self._stack.enter_context(Reader(kafka, topics.dead_letters))
        self._outcomes = Outcomes(predictions, letters)

    def collect(self, topic: str, partition: int, offset: int) -> Evidence:
        """What is on record of a record, by its place in the input topic, or by the place of its outcome.

        Raises:
            NothingThere, NoOutcome: there is nothing at that place, or something that is no outcome.
            Unavailable: the broker does not answer.
        """
        if topic == self._topics.input:
            return self._of_input(partition, offset)
        where = f"{topic}, partition {partition}, offset {offset}"
        try:
            if topic == self._topics.predictions:
                predicted = self._outcomes.prediction_at(partition, offset)
                if predicted is not None:
                    return self._predicted(*predicted)
            else:
                letter = self._outcomes.letter_at(partition, offset)
                if letter is not None:
                    return self._dead(letter)
        except (msgspec.MsgspecError, ValueError) as error:
            raise NoOutcome(f"{where}: there is something else than an outcome of Baton's: {error}") from error
        raise NothingThere(f"{where}: there is nothing; it was deleted, is still to come, or was never committed")

    def _of_input(self, partition: int, offset: int) -> Evidence:
        place = Position(topic=self._topics.input, topic_id=self._input.topic_id, partition=partition, offset=offset)
        if partition >= self._input.partitions or offset >= self._input.bounds(partition)[1]:
            raise ConfigurationError(f"{place.topic}, partition {partition}, offset {offset}: there is nothing yet")
        predicted = (self._records.finder or self._outcomes).prediction_of(place)
        if predicted is not None:
            return self._predicted(*predicted)
        letter = self._outcomes.letter_of(place)
        if letter is not None:
            return self._dead(letter)
        missing: list[str] = []
        record = self._record(place, missing)
        missing.append(_NO_OUTCOME[self._outcomes.standing(place)])
        return Evidence(model=self._model, place=place, record=record, missing=tuple(missing))

    def _predicted(self, place: Position, prediction: Prediction) -> Evidence:
        missing: list[str] = []
        return Evidence(
            model=self._model,
            place=prediction.input,
            record=self._record(prediction.input, missing),
            prediction=prediction,
            prediction_place=place,
            scorer=self._scorer(prediction.version, prediction.manifest_digest, missing),
            entries=self._entries(missing),
            acknowledgements=self._acknowledgements(missing),
            contributions=self._records.contributions,
            missing=tuple(missing),
        )

    def _dead(self, letter: Letter) -> Evidence:
        missing: list[str] = []
        told = letter.told
        record = self._record(told.origin, missing) or _kept(letter)
        entries = self._entries(missing)
        entry = next((each for each in entries or () if each.sequence == told.sequence), None)
        scorer = self._scorer(told.version, entry.manifest_digest if entry else None, missing)
        return Evidence(
            model=self._model,
            place=told.origin,
            record=record,
            letter=told,
            letter_place=letter.place,
            scorer=scorer,
            then=None if scorer is None else self._judge(scorer, told.version, told.sequence),
            today=self._champion(entries, missing),
            entries=entries,
            acknowledgements=self._acknowledgements(missing),
            missing=tuple(missing),
        )

    def _champion(self, entries: Sequence[LedgerEntry] | None, missing: list[str]) -> Judge | None:
        if not entries or entries[-1].kind is Kind.RETIRE:
            missing.append(f"{self._model} has no champion now, so nothing says whether it would be scored")
            return None
        head = entries[-1]
        scorer = self._scorer(head.version, head.manifest_digest, missing)
        return None if scorer is None else self._judge(scorer, head.version, head.sequence)

    def _judge(self, scorer: Scorer, version: str, sequence: int) -> Judge:
        lookups = self._records.lookups
        return Judge(scorer, version=version, sequence=sequence, lookups=None if lookups is None else lookups())

    def _record(self, place: Position, missing: list[str]) -> Raw | None:
        """The record at a place of the input topic."""
        if place.topic_id != self._input.topic_id:
            missing.append(f"the record is gone: {self._input.topic} was deleted and made again, or is another topic")
            return None
        found = self._input.at(place.partition, place.offset)
        if found is None:
            missing.append(f"the record is gone: {place.topic}, partition {place.partition} no longer has it")
            return None
        return Raw(key=found.key, value=found.value, headers=found.headers, timestamp_ms=found.timestamp_ms)

    def _scorer(self, version: str, digest: str | None, missing: list[str]) -> Scorer | None:
        return _tried(
            lambda: self._records.bundles().scorer(self._model, version, digest),
            f"the bundle of version {version}",
            missing,
        )

    def _entries(self, missing: list[str]) -> Sequence[LedgerEntry] | None:
        return _tried(lambda: self._records.entries(self._model), "the ledger", missing)

    def _acknowledgements(self, missing: list[str]) -> Sequence[Acknowledgement] | None:
        return _tried(lambda: self._records.acknowledgements(self._model), "the acknowledgements", missing)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


_NO_OUTCOME = {
    Standing.BEFORE: "it has no outcome any more: those of its partition that are kept begin behind it",
    Standing.BETWEEN: "it has no outcome, although records behind it have theirs: every record must have one",
    Standing.BEHIND: "it has no outcome yet: the newest one of its partition is of a record before it",
}


def _kept(letter: Letter) -> Raw | None:
    """The record as the dead letter keeps it; without its timestamp."""
    return None if letter.reference else Raw(key=letter.key, value=letter.value, headers=letter.headers)


def _tried(call: Callable[[], Answer], what: str, missing: list[str]) -> Answer | None:
    try:
        return call()
    except BatonError as error:
        missing.append(f"{what} cannot be had: {error}")
        return None
