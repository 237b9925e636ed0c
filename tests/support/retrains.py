"""Requests for retrains of one model, good and bad, and what became of them."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from scoring.contract.dead_letter import PREFIX
from scoring.contract.envelope import Keyring
from scoring.contract.retrain import RetrainRequest, seal_retrain
from scoring.contract.topics import RETRAINS, RETRAINS_REFUSED
from scoring.kafka import Options, Tail, headers_of
from scoring.produce import Outgoing, deliver
from training.requests import Pending, Requests

BAD_REASONS = {"unsigned", "bad-signature", "wrong-subject", "tombstone"}


class Inbox:
    """Asks for retrains of ``model``, by whatever way, and counts what waits."""

    def __init__(self, kafka: Options, keys: Path, model: str) -> None:
        self.kafka, self.model = kafka, model
        self.keyring = Keyring.from_json(keys.read_bytes())

    def ask(self, count: int, reason: str = "drift", by: str = "ada") -> None:
        """Send so many requests."""
        deliver(self.kafka, RETRAINS, [self._request(reason, by) for _ in range(count)])

    def ask_badly(self, count: int) -> None:
        """Send so many messages that are no valid requests, of five kinds."""
        good = self._request("forged", "mallory")
        kinds = [
            Outgoing(good.key, good.value, []),
            Outgoing(good.key, (good.value or b"") + b" ", good.headers),
            Outgoing(b"another", good.value, good.headers),
            Outgoing(None, b"\xff{", []),
            Outgoing(good.key, None, []),
        ]
        deliver(self.kafka, RETRAINS, [kinds[number % len(kinds)] for number in range(count)])

    def pending(self) -> Pending:
        """What no run has covered."""
        with Requests(self.kafka, self.keyring, self.model) as requests:
            return requests.pending()

    def put_aside(self) -> list[dict[str, str]]:
        """The additional headers of every dead letter, of whatever model."""
        with Tail(self.kafka, {RETRAINS_REFUSED: None}) as tail:
            return [
                {name.removeprefix(PREFIX): (text or b"").decode() for name, text in headers_of(message)}
                for message in tail.to_end()
            ]

    def _request(self, reason: str, by: str) -> Outgoing:
        request = RetrainRequest(model=self.model, reason=reason, by=by)
        now = datetime.now(UTC)
        return Outgoing.of(seal_retrain(request, source="tests", event_id=uuid4().hex, time=now, keyring=self.keyring))
