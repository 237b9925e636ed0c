"""Seals on what a task hands on, so that nobody who may edit XComs gets a candidate past the gates or the approval.

A seal is an HMAC with the signing keys of the notices over the result, the model, the run, the task, and the seals of
what the result was made from. So a result counts only in its own run, and only beside those that it belongs to.
"""

from typing import Any

import msgspec
from airflow.sdk.exceptions import AirflowFailException

from scoring.contract.digest import digest_of
from scoring.contract.envelope import Keyring, require_signature, sign
from scoring.contract.errors import EnvelopeRejected
from training.results import Result, from_json, to_json

Json = Any
SEAL = "seal"
# No message on Kafka begins like this, so that neither passes for the other.
_WHAT = "baton.task-result.v1"
# Below it every whole number is a float, too.
_EXACT = 2**53


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """What stands beside a result in XCom.

    Attributes:
        of: stands for what the result was made from.
    """

    key_id: str
    of: str
    signature: str


class Seals:
    """Seals what the tasks of one run hand on, and opens it.

    Args:
        run_id: Airflow's.
    """

    def __init__(self, keyring: Keyring, model: str, run_id: str) -> None:
        self._keyring = keyring
        self._model = model
        self._run_id = run_id

    def give(self, task_id: str, result: msgspec.Struct, *over: Json) -> Json:
        """The result as JSON, with its seal.

        Args:
            over: what it was made from, as it was handed on.
        """
        value = plain(result)
        of = _of(over)
        key_id, signature = sign(self._signed(task_id, of, from_json(type(result), value)), self._keyring)
        return {**value, SEAL: to_json(Seal(key_id=key_id, of=of, signature=signature.decode()))}

    def take(self, kind: type[Result], task_id: str, value: Json) -> Result:
        """What a task of this run handed on.

        Raises:
            AirflowFailException: it is not what the task signed.
        """
        try:
            result, seal = from_json(kind, value), from_json(Seal, value[SEAL])
            signed = self._signed(task_id, seal.of, result)
            require_signature(signed, seal.key_id, seal.signature.encode(), self._keyring)
        except (EnvelopeRejected, msgspec.ValidationError, KeyError, TypeError) as error:
            raise AirflowFailException(_changed(task_id, "it does not bear the seal of this run's task")) from error
        return result

    def take_over(self, kind: type[Result], task_id: str, value: Json, *over: Json) -> Result:
        """The same, of a result that was made from ``over``."""
        result = self.take(kind, task_id, value)
        if value[SEAL]["of"] != _of(over):
            raise AirflowFailException(_changed(task_id, "it was made from something else than what is there now"))
        return result

    def _signed(self, task_id: str, of: str, result: Json) -> bytes:
        """From the typed result: a database may write numbers and the order of keys in another way."""
        said = (_WHAT, self._model, self._run_id, task_id, of, _plain_numbers(to_json(result)))
        return msgspec.json.encode(said, order="deterministic")


def plain(result: msgspec.Struct | None) -> Json:
    """The result as JSON and nothing else: Airflow would wrap a tuple, which no reader of the REST API expects."""
    return msgspec.json.decode(msgspec.json.encode(to_json(result)))


def _plain_numbers(value: Json) -> Json:
    """Numbers as any database gives them back: PostgreSQL's jsonb knows neither -0.0 nor exponents."""
    if isinstance(value, dict):
        return {name: _plain_numbers(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_numbers(each) for each in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    number = float(value)
    return int(number) if number.is_integer() and abs(number) < _EXACT else number


def _of(over: tuple[Json, ...]) -> str:
    return digest_of(msgspec.json.encode([None if each is None else each[SEAL]["signature"] for each in over]))


def _changed(task_id: str, why: str) -> str:
    return (
        f"what the task {task_id!r} handed on is not believed: {why}. Somebody changed it, or it is from before an "
        "upgrade or from a key that was taken away; look into who may edit XComs, and start a new run"
    )
