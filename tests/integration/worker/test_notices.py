"""What a worker believes of the notices on a real topic, and what it does with a bundle that must not score."""

import threading
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from scoring.contract.envelope import Keyring, Sealed
from scoring.contract.notice import Kind, Notice, seal_notice
from scoring.contract.topics import NOTICES
from scoring.settings import Settings
from scoring.worker.clients import follower_settings
from scoring.worker.follower import Follower
from tests.support.arena import Record, read_all, wait_until
from tests.support.broker import MakeTopic
from tests.support.bundles import MOMENT, score_of
from tests.support.ground import Ground
from tests.support.oracle import examine

pytestmark = pytest.mark.integration


def sealed(ground: Ground, sequence: int, version: int, keyring: Keyring | None = None) -> Sealed:
    notice = Notice(
        ledger=ground.ledger,
        model=ground.model,
        sequence=sequence,
        kind=Kind.PROMOTE,
        version=str(version),
        manifest_digest=ground.digests[version],
        decided_at=MOMENT,
        effective_from=MOMENT,
    )
    return seal_notice(
        notice, source="test", event_id=str(uuid4()), time=datetime.now(UTC), keyring=keyring or ground.keyring
    )


def newest_notice(ground: Ground) -> Record:
    found = [record for record in read_all(ground.bootstrap, NOTICES) if record.key == ground.model.encode()]
    return found[-1]


def test_a_bundle_that_fails_its_golden_rows_is_refused_and_a_later_good_one_goes_live(ground: Ground) -> None:
    ground.promote(1)
    ground.start()
    ground.feed(200)
    ground.wait_for_state("live", sequence=1)

    ground.register(2, golden_error=1e-9)
    ground.notify(2, 2)
    ground.wait_for_state("refused")
    assert ground.state()["sequence"] == 1
    assert "golden rows differ" in str(ground.state()["reason"])
    wait_until(lambda: len(ground.acknowledgements()) == 2, 60, "the refusal was not published")
    refusal = ground.acknowledgements()[-1]
    assert (refusal["sequence"], refusal["outcome"], refusal["positions"]) == (2, "refused", [])
    assert "golden rows differ" in str(refusal["reason"])

    ground.feed(200)
    ground.wait_until_done()
    ground.promote(3)
    ground.wait_for_state("live", sequence=3)
    ground.feed(200)
    ground.wait_until_done()
    report = examine(ground, score_of)
    assert report.faultless, report
    assert report.versions == {1: 400, 3: 200}


def test_another_bundle_than_the_one_that_was_announced_is_refused(ground: Ground) -> None:
    ground.promote(1)
    ground.start()
    ground.wait_for_state("live", sequence=1)
    ground.register(2)
    ground.digests[2] = "0" * 64
    ground.notify(2, 2)
    ground.wait_for_state("refused")
    assert f"{'0' * 64} was announced" in str(ground.state()["reason"])
    ground.feed(100)
    ground.wait_until_done()
    assert {p["sequence"] for p in ground.predictions()} == {1}


def test_the_refusal_of_the_first_bundle_leaves_the_worker_without_a_model(ground: Ground) -> None:
    ground.register(1, golden_error=1.0)
    ground.notify(1, 1)
    ground.feed(50)
    ground.start()
    ground.wait_for_state("refused")
    assert ground.outcomes() == []
    ground.promote(2)
    ground.wait_until_done()
    assert {p["sequence"] for p in ground.predictions()} == {2}


def test_what_must_not_be_believed_changes_nothing(ground: Ground) -> None:
    ground.promote(2)
    replayed = newest_notice(ground)
    ground.start()
    ground.feed(100)
    ground.wait_for_state("live", sequence=2)

    ground.register(9)
    good = sealed(ground, 9, 9)
    forger = Keyring("k1", {"k1": b"f" * 32})
    stranger = Keyring("k7", {"k7": b"f" * 32})
    key = ground.model.encode()
    ground.send(NOTICES, good.value, key, None)  # unsigned
    forged = sealed(ground, 9, 9, forger)
    ground.send(NOTICES, forged.value, key, [*forged.headers])
    unknown = sealed(ground, 9, 9, stranger)
    ground.send(NOTICES, unknown.value, key, [*unknown.headers])
    ground.send(NOTICES, good.value + b" ", key, [*good.headers])  # altered
    ground.send(NOTICES, good.value, b"other_model", [*good.headers])  # under another key
    ground.send(NOTICES, b"nonsense", key, None)
    ground.send(NOTICES, None, key, None)  # tombstone
    stale = sealed(ground, 1, 9)
    ground.send(NOTICES, stale.value, stale.key, [*stale.headers])
    ground.send(NOTICES, replayed.value, key, replayed.headers)
    ground.notify(9, 9, ledger=UUID(int=99))
    ground.wait_for_log('"reason": "other-ledger"')

    for reason in ("unsigned", "bad-signature", "unknown-key", "wrong-subject", "tombstone"):
        assert f'"reason": "{reason}"' in ground.log_of(0)
    ground.feed(100)
    ground.wait_until_done()
    assert {p["sequence"] for p in ground.predictions()} == {2}
    ground.wait_for_status(lambda status: "adopt-ledger" in str(status["reason"]))
    assert (ground.state()["state"], ground.state()["sequence"]) == ("live", 2)

    ground.promote(3)  # and the worker still listens
    ground.wait_for_state("live", sequence=3)


def test_a_header_whose_name_is_not_utf8_ends_neither_the_following_nor_the_scoring(ground: Ground) -> None:
    from tests.support.raw_headers import produce

    ground.promote(1)
    ground.start()
    ground.feed(100)
    ground.wait_for_state("live", sequence=1)
    produce(ground.bootstrap, NOTICES, 0, b"nonsense", b"\xff\xfe")
    produce(ground.bootstrap, ground.topics.input, 0, b'{"id":"r-00000000","at":"2026-03-01T00:00:00Z","x":1}', b"\xff")
    produce(ground.bootstrap, ground.topics.input, 1, b"malformed", b"\xff")
    ground.produced += 2
    ground.feed(100)
    ground.wait_until_done()
    assert len(ground.predictions()) == 201
    (letter,) = ground.letters()
    assert b'"form":"reference"' in (letter.value or b"")
    ground.promote(2)
    ground.wait_for_state("live", sequence=2)


def test_notices_are_read_also_where_the_first_of_them_are_gone(
    ground: Ground, make_topic: MakeTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = make_topic("notices")
    monkeypatch.setattr("scoring.worker.follower.NOTICES", topic)
    ground.register(1)
    for sequence in (1, 2, 3):
        made = sealed(ground, sequence, 1)
        ground.send(topic, made.value, made.key, [*made.headers])
    admin = AdminClient({"bootstrap.servers": ground.bootstrap, "log_level": 4})
    for gone, expected in ((2, [3]), (3, [])):
        for deleted in admin.delete_records([TopicPartition(topic, 0, gone)]).values():
            deleted.result(20)
        offered: list[int] = []
        caught_up = threading.Event()
        follower = Follower(
            lambda: Consumer(follower_settings(Settings(kafka_bootstrap=ground.bootstrap))),
            ground.keyring,
            lambda notice: offered.append(notice.sequence),  # noqa: B023  # the follower ends within the turn
            lambda: None,
            caught_up.set,
        )
        follower.start()
        assert caught_up.wait(60), "the end of the notices was never reached"
        follower.stop()
        assert offered == expected
