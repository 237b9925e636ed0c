"""The follower: what is believed of the notices, and what is passed on when."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog
from confluent_kafka import KafkaError, Message

from scoring.contract.envelope import Keyring
from scoring.contract.notice import Kind, Notice, seal_notice
from scoring.worker.follower import Follower
from tests.support.simulated_kafka import message

KEYRING = Keyring("k1", {"k1": b"1" * 32})
MOMENT = datetime(2026, 3, 1, tzinfo=UTC)
END = message(None, error=KafkaError(KafkaError._PARTITION_EOF))


def notice(sequence: int, model: str = "small", ledger: int = 7) -> Notice:
    return Notice(
        ledger=UUID(int=ledger),
        model=model,
        sequence=sequence,
        kind=Kind.PROMOTE,
        version=str(sequence),
        manifest_digest="ab" * 32,
        decided_at=MOMENT,
        effective_from=MOMENT,
    )


def sealed(sequence: int, model: str = "small", ledger: int = 7) -> Message:
    made = seal_notice(notice(sequence, model, ledger), source="t", event_id="e", time=MOMENT, keyring=KEYRING)
    return message(made.value, topic="baton.notices", key=made.key, headers=[*made.headers])


def passed_on(*messages: Any, followed: UUID | None = None) -> tuple[list[tuple[str, int]], Follower]:
    offered: list[tuple[str, int]] = []
    take: Callable[[Notice], None] = lambda n: offered.append((n.model, n.sequence))  # noqa: E731
    follower = Follower(lambda: None, KEYRING, take, lambda: followed, lambda: None)  # type: ignore[arg-type,return-value]
    for one in messages:
        follower._take(one)
    return offered, follower


def test_nothing_is_passed_on_before_the_end_was_reached() -> None:
    assert passed_on(sealed(1), sealed(2))[0] == []


def test_after_catching_up_only_the_newest_of_each_model_is_passed_on() -> None:
    messages = [sealed(1), sealed(1, "other"), sealed(3), sealed(2)]
    assert sorted(passed_on(*messages, END)[0]) == [("other", 1), ("small", 3)]


def test_it_says_so_when_everything_was_passed_on() -> None:
    told: list[str] = []
    follower = Follower(
        lambda: None,  # type: ignore[arg-type,return-value]
        KEYRING,
        lambda notice: told.append(f"notice {notice.sequence}"),
        lambda: None,
        lambda: told.append("caught up"),
    )
    for one in (sealed(1), sealed(2), END):
        follower._take(one)
    assert told == ["notice 2", "caught up"]


def test_without_a_ledger_to_follow_the_one_that_wrote_last_counts_whatever_its_sequence() -> None:
    assert passed_on(sealed(40, ledger=1), sealed(1, ledger=2), END)[0] == [("small", 1)]


def test_the_ledger_that_is_followed_counts_although_another_went_further_or_wrote_later() -> None:
    messages = [sealed(40, ledger=1), sealed(2, ledger=2), END]
    assert passed_on(*messages, followed=UUID(int=2))[0] == [("small", 2)]
    assert passed_on(*messages, followed=UUID(int=1))[0] == [("small", 40), ("small", 2)]


def test_after_that_every_notice_is_passed_on_at_once_and_once() -> None:
    assert passed_on(sealed(1), END, sealed(2), END, sealed(4))[0] == [("small", 1), ("small", 2), ("small", 4)]


def test_what_must_not_be_believed_is_counted_and_nothing_else_happens() -> None:
    good = sealed(5)
    bad = [
        message(good.value(), key=good.key()),
        message(good.value(), key=b"other", headers=good.headers()),
        message(b"x" + (good.value() or b""), key=good.key(), headers=good.headers()),
        message(None, key=b"small"),
        message(b"", key=None),
    ]
    offered, follower = passed_on(END, *bad, sealed(6))
    assert offered == [("small", 6)]
    assert dict(follower.rejected) == {"unsigned": 2, "wrong-subject": 1, "bad-signature": 1, "tombstone": 1}


def test_an_error_of_the_reader_is_survived() -> None:
    broken = message(None, error=KafkaError(KafkaError._TRANSPORT))
    assert passed_on(broken, sealed(1), END, broken, sealed(2))[0] == [("small", 1), ("small", 2)]


class Odd:
    """A message that makes the client itself fail."""

    def error(self) -> None:
        return None

    def offset(self) -> int:
        return 3

    def key(self) -> bytes:
        return b"small"

    def value(self) -> bytes:
        raise RuntimeError("surprise")

    def headers(self) -> None:
        return None


def test_whatever_a_message_makes_the_client_raise_the_next_one_is_read() -> None:
    offered, follower = passed_on(END, Odd(), sealed(2))
    assert offered == [("small", 2)]
    assert follower.rejected["malformed"] == 1


def test_a_flood_of_forged_notices_is_counted_in_full_and_logged_ever_more_rarely() -> None:
    forged = message(b"x", key=b"small")
    with structlog.testing.capture_logs() as lines:
        _, follower = passed_on(END, *[forged] * 1_000)
    assert follower.rejected == {"unsigned": 1_000}
    assert [line["count"] for line in lines] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
