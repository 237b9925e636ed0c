"""Collects what is on record of one record: from Kafka, the ledger and the registry. What cannot be had is told."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Protocol, Self, TypeVar

import msgspec

from scoring.contract.acknowledgement import Acknowledgement, Position
from scoring.contract.errors import BatonError, ConfigurationError
from scoring.contract.features import TopicLookup
from scoring.contract.manifest import Topics
from scoring.contract.notice import Kind
from scoring.contract.prediction import Prediction
from scoring.explain.explaining import Evidence
from scoring.explain.explanation import Contributions
from scoring.explain.finding import Outcomes, Standing
from scoring.explain.judging import Judge, Raw
from scoring.explain.rescoring import Columned
from scoring.explain.tables import Tables
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
        tables: outcomes as the predictions' tables keep them: found at once, and when their topics have them no more.
    """

    entries: Callable[[str], Sequence[LedgerEntry]]
    acknowledgements: Callable[[str], Sequence[Acknowledgement]]
    bundles: Callable[[], OpensBundles]
    lookups: Callable[[], LookupSource] | None = None
    contributions: Callable[[Scorer, Columned], Contributions | None] | None = None
    tables: Callable[[], Tables] | None = None


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
        self._outcomes = Outcomes(predictions, letters, self._input.topic_id)

    def collect(self, topic: str, partition: int, offset: int, *, topic_id: str | None = None) -> Evidence:
        """What is on record of a record, by its place in the input topic, or by the place of its outcome.

        Args:
            topic_id: of an input topic that was deleted and made again since; None is the one that there is now.

        Raises:
            NothingThere, NoOutcome: there is nothing at that place, or something that is no outcome.
            Unavailable: the broker does not answer.
        """
        if topic == self._topics.input:
            place = Position(topic=topic, topic_id=topic_id or self._input.topic_id, partition=partition, offset=offset)
            return self._of_input(place)
        missing: list[str] = []
        try:
            if topic == self._topics.predictions:
                predicted = self._outcomes.prediction_at(partition, offset) or self._kept_prediction(
                    lambda tables: tables.prediction_at(topic, partition, offset), missing
                )
                if predicted is not None:
                    return self._predicted(*predicted, missing)
            else:
                letter = self._outcomes.letter_at(partition, offset) or self._kept_letter(
                    lambda tables: tables.letter_at(topic, partition, offset), missing
                )
                if letter is not None:
                    return self._dead(letter, missing)
        except (msgspec.MsgspecError, ValueError) as error:
            raise NoOutcome(
                f"{_where(topic, partition, offset)}: there is something else than an outcome of Baton's: {error}"
            ) from error
        why = self._outcomes.why_nothing(topic, partition, offset)
        raise NothingThere("; ".join((f"{_where(topic, partition, offset)}: {why}", *missing)))

    def _of_input(self, place: Position) -> Evidence:
        missing: list[str] = []
        predicted = self._prediction_of(place, missing)
        if predicted is not None:
            return self._predicted(*predicted, missing)
        letter = self._outcomes.letter_of(place) or self._kept_letter(lambda tables: tables.letters_of(place), missing)
        if letter is not None:
            return self._dead(letter, missing)
        return self._without_outcome(place, missing)

    def _without_outcome(self, place: Position, missing: list[str]) -> Evidence:
        """Tells a record that waits, or whose outcome is gone, from a place where there never was one."""
        record = self._record(place, missing)
        present = place.topic_id == self._input.topic_id
        low = self._input.bounds(place.partition)[0] if place.partition < self._input.partitions else 0
        if record is None and (not present or place.partition >= self._input.partitions or place.offset >= low):
            why = missing.pop().removeprefix(_GONE)
            said = (f"{_where(place.topic, place.partition, place.offset)}: {why}", *missing, *self._earlier(place))
            raise NothingThere("; ".join(said))
        missing.append(_NO_OUTCOME[self._outcomes.standing(place)])
        return Evidence(model=self._model, place=place, record=record, missing=(*missing, *self._earlier(place)))

    def _earlier(self, place: Position) -> list[str]:
        """Whether an earlier topic of that name may be meant."""
        ids = self._outcomes.earlier_topics(place)
        ids |= {*self._kept(lambda tables: sorted(tables.earlier_topics(place)), [])}
        return [
            f"{place.topic} was deleted and made again: of an earlier one there are outcomes, see --topic-id {each}"
            for each in sorted(ids)
        ]

    def _prediction_of(self, place: Position, missing: list[str]) -> tuple[Position, Prediction] | None:
        """Looked for in the table first, which is quick; the topic is what counts, as long as it has the prediction."""
        kept = self._kept(lambda tables: tables.predictions_of(place), missing)
        for stands, row in kept:
            again = self._outcomes.prediction_again(stands)
            if again is not None and again.input == place:
                if again != row:
                    missing.append("the predictions' table holds another prediction of it: the topic's is told here")
                return stands, again
        found = self._outcomes.prediction_of(place)
        if found is None and kept:
            self._say_kept(kept[0][0], missing)
            return kept[0]
        return found

    def _kept_prediction(
        self, ask: Callable[[Tables], Sequence[tuple[Position, Prediction]]], missing: list[str]
    ) -> tuple[Position, Prediction] | None:
        """A prediction that its topic has no more."""
        kept = self._kept(ask, missing)
        if not kept:
            return None
        self._say_kept(kept[0][0], missing)
        return kept[0]

    def _kept_letter(self, ask: Callable[[Tables], Sequence[Letter]], missing: list[str]) -> Letter | None:
        """A dead letter that its topic has no more."""
        kept = self._kept(ask, missing)
        if not kept:
            return None
        self._say_kept(kept[0].place, missing)
        return kept[0]

    def _say_kept(self, place: Position, missing: list[str]) -> None:
        why = self._outcomes.why_gone(place)
        where = _where(place.topic, place.partition, place.offset)
        missing.append(f"the outcome is gone from {where} ({why}): told is the row that the predictions' table keeps")

    def _kept(self, ask: Callable[[Tables], Sequence[Answer]], missing: list[str]) -> Sequence[Answer]:
        tables = self._records.tables
        if tables is None:
            return ()
        return _tried(lambda: ask(tables()), "the predictions' table", missing) or ()

    def _predicted(self, place: Position, prediction: Prediction, missing: list[str]) -> Evidence:
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

    def _dead(self, letter: Letter, missing: list[str]) -> Evidence:
        told = letter.told
        there, kept = self._record(told.origin, missing), _kept(letter)
        if there is not None and kept is not None and not _same(there, kept):
            missing.append(_ANOTHER)
        record = there or kept
        entries = self._entries(missing)
        entry = next((each for each in entries or () if each.sequence == told.sequence), None)
        scorer = self._scorer(told.version, entry.manifest_digest if entry else None, missing)
        missing.extend(_of_topics(scorer))
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
        if (place.topic, place.topic_id) != (self._input.topic, self._input.topic_id):
            known = f"the topic id was {place.topic_id}, it is {self._input.topic_id}"
            missing.append(f"{_GONE}{place.topic} was deleted and made again, or is another topic: {known}")
            return None
        found = self._input.at(place.partition, place.offset)
        if found is None:
            missing.append(f"{_GONE}{self._input.why_nothing(place.partition, place.offset)}")
            return None
        return Raw(key=found.key, value=found.value, headers=found.headers, timestamp_ms=found.timestamp_ms)

    def _scorer(self, version: str, digest: str | None, missing: list[str]) -> Scorer | None:
        return _tried(
            lambda: self._records.bundles().scorer(self._model, version, digest),
            f"the bundle of version {version}",
            missing,
            f"; --bundle FOLDER takes another copy, and workers keep theirs in BATON_CACHE_DIR/bundles/{digest or ''}",
        )

    def _entries(self, missing: list[str]) -> Sequence[LedgerEntry] | None:
        return _tried(lambda: self._records.entries(self._model), "the ledger", missing)

    def _acknowledgements(self, missing: list[str]) -> Sequence[Acknowledgement] | None:
        return _tried(lambda: self._records.acknowledgements(self._model), "the acknowledgements", missing)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


_GONE = "the record is gone: "
_ANOTHER = (
    "the record at its origin is another one than the dead letter keeps, so no worker wrote that letter; what follows "
    "is of the record in the input topic"
)
_NO_OUTCOME = {
    Standing.BEFORE: "it has no outcome any more: those of its partition that are kept begin behind it",
    Standing.BETWEEN: "it has no outcome, although records behind it have theirs: every record must have one",
    Standing.BEHIND: "it has no outcome yet: the newest one of its partition is of a record before it",
    Standing.ALONE: (
        "it has no outcome yet, or its topic no longer keeps it: there is none of its partition; `baton top` shows "
        "whether a worker scores it"
    ),
}


def _of_topics(scorer: Scorer | None) -> Iterator[str]:
    """A compacted topic no longer holds what it held then: that a record met it is not to be had."""
    for lookup in scorer.schema.lookups if scorer is not None else ():
        if isinstance(lookup, TopicLookup):
            yield (
                f"lookup {lookup.name!r}: what its topic {lookup.topic} held then is compacted away; judged again with "
                "the table that trains it, as it is now"
            )


def _kept(letter: Letter) -> Raw | None:
    """The record as the dead letter keeps it; without its timestamp."""
    return None if letter.reference else Raw(key=letter.key, value=letter.value, headers=letter.headers)


def _same(there: Raw, kept: Raw) -> bool:
    """Whether the record at a dead letter's origin is the one that the letter keeps."""
    return (there.key, there.value, there.headers) == (kept.key, kept.value, kept.headers)


def _where(topic: str, partition: int, offset: int) -> str:
    return f"{topic}, partition {partition}, offset {offset}"


def _tried(call: Callable[[], Answer], what: str, missing: list[str], remedy: str = "") -> Answer | None:
    try:
        return call()
    except BatonError as error:
        missing.append(f"{what} cannot be had: {error}{remedy}")
        return None
