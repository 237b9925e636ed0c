"""Reading what the sink keeps: the latest prediction of a key, its history, and what became of an input record."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Query
from starlette.responses import Response

from scoring.api.body import JSON
from scoring.api.problems import Kind, Problem
from scoring.contract.errors import ConfigurationError, ContractError, Unavailable, sentence
from scoring.predictions.reading import MAXIMUM_OFFSET, MAXIMUM_PARTITION, Predictions
from scoring.predictions.stored import StoredDeadLetter, StoredPrediction

AT_A_TIME = 4
MAXIMUM_LIMIT = 1_000
# Questions to the database that wait at the most; one more is answered with 429.
WAITING = 64
Found = TypeVar("Found")
_Offset = Annotated[int, Query(ge=0, le=MAXIMUM_OFFSET)]
_Partition = Annotated[int, Query(ge=0, le=MAXIMUM_PARTITION)]
_Limit = Annotated[int, Query(ge=1, le=MAXIMUM_LIMIT)]


class PredictionRoutes:
    """The operations that ask the predictions' database.

    Args:
        connect: opens the predictions at the first question; raises ConfigurationError where there are none.
    """

    def __init__(self, connect: Callable[[], Predictions]) -> None:
        self._connect = connect
        self._predictions: Predictions | None = None
        self._threads = ThreadPoolExecutor(AT_A_TIME, "predictions")
        self._asked = 0
        self._opening = threading.Lock()

    def close(self) -> None:
        """Let go of threads and connections."""
        self._threads.shutdown(cancel_futures=True)
        if self._predictions is not None:
            self._predictions.close()

    async def latest(self, model: str, key: str) -> Response:
        """The prediction that counts for a key."""
        found = await self._ask(lambda predictions: predictions.latest(model, key))
        if found is None:
            raise Problem(Kind.NOT_FOUND, f"there is no prediction of {model} for this key")
        return _json(_prediction(found))

    async def history(self, model: str, key: str, limit: _Limit = 100, cursor: str | None = None) -> Response:
        """All predictions for a key, newest first."""
        page = await self._ask(lambda asked: asked.history(model, key, before=cursor, limit=limit))
        return _json({"predictions": [*map(_prediction, page.predictions)], "cursor": page.before})

    async def lineage(self, model: str, topic: str, partition: _Partition, offset: _Offset) -> Response:
        """What became of an input record."""
        predictions, letters = await self._ask(
            lambda asked: (
                asked.of_input(topic, partition, offset),
                asked.dead_letters_of_input(topic, partition, offset),
            )
        )
        own = [found for found in predictions if found.prediction.model == model]
        refused = [found for found in letters if found.letter.model == model]
        if not own and not refused:
            raise Problem(Kind.NOT_FOUND, f"no prediction and no dead letter of {model} came of this record yet")
        return _json({"predictions": _all(own, _prediction), "dead_letters": _all(refused, _letter)})

    async def _ask(self, question: Callable[[Predictions], Found]) -> Found:
        if self._asked >= WAITING:
            sentence = f"{self._asked} questions wait for the predictions' database, and no more may; ask again"
            raise Problem(Kind.QUEUE_FULL, sentence, limit="questions")
        self._asked += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._answer, question)
        finally:
            self._asked -= 1

    def _answer(self, question: Callable[[Predictions], Found]) -> Found:
        try:
            with self._opening:  # by the first of several threads
                predictions = self._predictions = self._predictions or self._connect()
            return question(predictions)
        except ContractError as error:
            raise Problem(Kind.MALFORMED, sentence(error)) from error
        except (Unavailable, ConfigurationError) as error:
            raise Problem(Kind.UNAVAILABLE, sentence(error)) from error


def _all(found: Iterable[Found], told: Callable[[Found], dict[str, Any]]) -> list[dict[str, Any]]:
    return [told(each) for each in found]


def _prediction(found: StoredPrediction) -> dict[str, Any]:
    """As the topic has it: what is written in a record stays as it is written, and what is not there is not there."""
    told = msgspec.structs.asdict(found.prediction)
    told["pass_through"] = msgspec.Raw((found.pass_through_text or "{}").encode())
    told["lookups"] = msgspec.Raw((found.lookups_text or "{}").encode())
    for name in ("label", "probabilities"):
        if told[name] is None:
            del told[name]
    return {"key": found.record_key, "place": found.place, "prediction": told}


def _letter(found: StoredDeadLetter) -> dict[str, Any]:
    """The reason, never the record."""
    letter = found.letter
    return {
        "key": found.record_key,
        "place": found.place,
        "input": letter.origin,
        "at": letter.at,
        "model": letter.model,
        "version": letter.version,
        "sequence": letter.sequence,
        "reason": letter.reason,
        "detail": letter.detail,
    }


def _json(document: object) -> Response:
    return Response(msgspec.json.encode(document), media_type=JSON)
