"""Records on a real broker: dead letters verbatim, large ones, held partitions, lookups, and scoring again."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import numpy as np
import pytest

from scoring.contract.dead_letter import DeadLetter
from scoring.contract.digest import digest_of
from scoring.contract.prediction import decode_prediction
from scoring.contract.progress import Progress
from scoring.contract.topics import INPUT_MAXIMUM_BYTES
from scoring.scorer.bundle import open_bundle
from scoring.scorer.scorer import Scorer, lookup_columns
from tests.support.arena import Record, read_all, wait_until
from tests.support.bundles import MOMENT, score_of
from tests.support.ground import Ground, Warehouse, record
from tests.support.oracle import examine

pytestmark = pytest.mark.integration


@pytest.fixture
def live(ground: Ground) -> Ground:
    ground.promote(1)
    ground.start()
    return ground


def letter_of(ground: Ground, partition: int, offset: int) -> tuple[Record, DeadLetter]:
    for found in ground.letters():
        letter = DeadLetter.from_headers(found.headers)
        if (letter.origin.partition, letter.origin.offset) == (partition, offset):
            return found, letter
    raise AssertionError(f"no dead letter of {partition}/{offset}")


def test_dead_letters_keep_key_value_and_headers_and_say_why(live: Ground) -> None:
    odd: list[tuple[bytes | None, bytes, list[tuple[str, bytes | None]], str]] = [
        (None, b"null", [("h", b"1"), ("h", b"2"), ("null", None), ("correlation-id", b"c")], "null-value"),
        (b"", b"", [], "malformed-json"),
        (b"\xff\xfe\x00", b"\xff", [("", b"\x00\xff")], "malformed-json"),
        (b"[" * 5_000, b"k" * 300, [("baton-dead-letter-reason", b"mine")], "wrong-type"),
        (record(1, x=None), b"k", [], "wrong-type"),
        (record(1, at="2026-03-01T00:00:00"), b"k", [], "wrong-type"),
        (record(1).replace(b'"x":0.1', b'"x":1e999'), b"k", [], "non-finite"),
        (b'{"id":"a","at":"2026-03-01T00:00:00Z"}', b"k", [], "missing-field"),
    ]
    live.feed(40)
    for value, key, headers, _ in odd:
        live.feed_raw(value, key=key, partition=2, headers=headers)
    live.feed(40)
    live.wait_until_done()

    report = examine(live, score_of)
    assert report.faultless, report
    assert (report.predictions, report.dead_letters) == (80, len(odd))
    for place, (value, key, headers, reason) in enumerate(odd):
        found, letter = letter_of(live, 2, 10 + place)
        assert (found.partition, found.key, found.value) == (2, key, value)
        assert found.headers[: len(headers)] == headers
        assert letter.reason.value == reason
        assert (letter.model, letter.version, letter.sequence) == (live.model, "1", 1)
        assert letter.origin.topic_id == live.topic_id(live.topics.input)
        assert abs(datetime.now(UTC) - letter.at) < timedelta(minutes=5)


def test_a_null_key_stays_null(live: Ground) -> None:
    for value in (b"nonsense", record(0)):
        live._produce(value, None, 1, None)  # type: ignore[arg-type]
        live.produced += 1
    live._flush()
    live.wait_until_done()
    assert [found.key for found in live.outcomes()] == [None, None]


def test_a_dead_letter_that_does_not_fit_goes_by_reference_and_does_not_hold_up_its_batch(live: Ground) -> None:
    live.wait_for_state("live")  # a worker does not even start on such a topic
    live.set(live.topics.input, "max.message.bytes", str(4 * INPUT_MAXIMUM_BYTES))
    large = b"{" + b" " * (2 * INPUT_MAXIMUM_BYTES)
    live.feed(40)
    live.lift_size_limit()
    live.feed_raw(large, key=b"large", partition=0)
    live.feed_raw(record(0, id="x" * (2 * INPUT_MAXIMUM_BYTES)), key=b"large", partition=0)  # its prediction is large
    live.feed_raw(record(4), key=b"k" * (2 * INPUT_MAXIMUM_BYTES), partition=0)  # its key alone is
    live.feed(40)
    live.wait_until_done()

    assert len(live.predictions()) == 80
    reasons = []
    for offset, value in ((10, large), (11, None), (12, record(4))):
        found, letter = letter_of(live, 0, offset)
        reference = json.loads(found.value or b"")
        reasons.append(letter.reason.value)
        assert reference["form"] == "reference"
        assert reference["origin"]["offset"] == offset
        assert value is None or reference["sha256"] == digest_of(value)
        assert ("baton-dead-letter-by-reference", b"1") in found.headers
    assert reasons == ["malformed-json", "too-large", "too-large"]


def test_an_input_of_the_largest_size_keeps_its_value_as_a_dead_letter(live: Ground) -> None:
    value = b"{" + b" " * (INPUT_MAXIMUM_BYTES - 1_000)
    live.lift_size_limit()
    live.feed_raw(value, key=b"large", headers=[("h", b"x" * 500)])
    live.feed(4)
    live.wait_until_done()
    (found,) = live.letters()
    assert found.value == value


# --- the sequence never goes back on a partition ------------------------------------------------------------------


def test_a_partition_that_needs_a_newer_sequence_is_held_until_it_is_live(ground: Ground) -> None:
    ground.promote(1)
    ground.feed(40)
    ground.commit(1, 4, sequence=2)
    ground.start()
    ground.wait_for_state("held", sequence=1)
    assert ground.state()["pending"] == 2
    ground.wait_for_status(lambda _: len(ground.outcomes()) == 30)
    ground.feed(40)  # of what the client does not read the heartbeat says how much there is all the same
    ground.wait_for_status(lambda status: 16 in (status.get("lag") or ()))
    ground.wait_for_status(lambda _: len(ground.outcomes()) == 60)
    assert {p["input"]["partition"] for p in ground.predictions()} == {0, 2, 3}

    ground.promote(2)
    ground.wait_for_state("live", sequence=2)
    ground.wait_for_status(lambda _: len(ground.outcomes()) == 76)
    assert [(p["input"]["offset"], p["sequence"]) for p in ground.predictions() if p["input"]["partition"] == 1] == [
        (offset, 2) for offset in range(4, 20)
    ]
    end = (20, Progress(ground.ledger, 2))
    wait_until(lambda: ground.committed()[1] == end, 60, "the partition's offset is not its end")


def test_offsets_of_another_ledger_are_held_and_reported(ground: Ground) -> None:
    ground.promote(1)
    ground.feed(40)
    ours, ground.ledger = ground.ledger, UUID(int=99)
    ground.commit(1, 4, sequence=1)
    ground.ledger = ours
    ground.start()
    ground.wait_for_state("held", sequence=1)
    assert "another ledger" in str(ground.state()["reason"])
    ground.wait_for_status(lambda _: len(ground.outcomes()) == 30)


def test_a_worker_that_refused_what_a_partition_needs_gives_the_topic_to_one_that_can(ground: Ground) -> None:
    ground.promote(1)
    unable = ground.start(0)
    ground.wait_for_state("live", sequence=1, slot=0)
    ground.register(2)
    model = ground.folder / "registry" / ground.model / "2" / "model.onnx"
    good = model.read_bytes()
    model.write_bytes(b"damaged")
    ground.notify(2, 2)
    ground.wait_for_state("refused", slot=0)
    ground.feed(40)
    ground.wait_until_done()
    assert ground.stop(unable) == 0

    model.write_bytes(good)  # for another worker; this one remembers that it refused
    for partition in range(4):
        ground.commit(partition, 10, sequence=2)
    ground.start(0)
    ground.wait_for_log("model.given_up", slot=0)
    ground.wait_for_state("refused", slot=0)
    ground.variables["BATON_CACHE_DIR"] = str(ground.folder / "cache-1")
    ground.start(1)
    ground.feed(40)
    ground.wait_until_done()
    assert {p["sequence"] for p in ground.predictions() if p["input"]["offset"] >= 10} == {2}


# --- lookups ------------------------------------------------------------------------------------------------------


@pytest.fixture
def warehouse(ground: Ground, tmp_path: Path) -> Warehouse:
    made = Warehouse(tmp_path / "warehouse.db")
    made.observe(
        [
            ("red", MOMENT - timedelta(days=1), 1.5),
            ("red", MOMENT - timedelta(hours=1), 2.5),
            ("red", MOMENT + timedelta(days=3), 99.0),
            ("blue", MOMENT - timedelta(hours=1), 3.25),
        ]
    )
    ground.variables["BATON_CONNECTIONS__WAREHOUSE"] = made.url
    return made


def test_looked_up_values_come_from_the_database_and_travel_with_the_prediction(
    ground: Ground, warehouse: Warehouse
) -> None:
    ground.promote_with_weather(1)
    ground.feed(30)
    ground.start()
    ground.wait_until_done()
    winds = {(p["pass_through"]["color"], p["lookups"]["weather"]["wind"]) for p in ground.predictions()}
    assert winds == {("red", 2.5), ("blue", 3.25), ("green", None)}


def test_while_the_database_is_away_records_wait_and_none_is_lost(ground: Ground, warehouse: Warehouse) -> None:
    ground.variables["BATON_MAXIMUM_BATCH_RECORDS"] = "16"
    ground.promote_with_weather(1)
    ground.start()
    ground.feed(40)
    ground.wait_until_done()

    warehouse.go_away()
    started = MOMENT + timedelta(days=1)
    for number in range(40):  # times that no cache knows
        ground.feed_raw(record(number, at=started + timedelta(seconds=number)), partition=number % 4)
    ground.wait_for_log("batch.put_back")
    ground.wait_for_status(lambda status: "looked-up values" in str(status.get("reason")))
    assert len(ground.outcomes()) == 40
    warehouse.come_back()
    ground.wait_until_done()
    offsets = sorted((p["input"]["partition"], p["input"]["offset"]) for p in ground.predictions())
    assert offsets == [(partition, offset) for partition in range(4) for offset in range(20)]
    assert ground.letters() == []


def test_a_bundle_whose_table_is_missing_does_not_go_live_and_the_old_one_scores_on(
    ground: Ground, warehouse: Warehouse
) -> None:
    ground.promote(1)
    ground.start()
    ground.wait_for_state("live", sequence=1)
    warehouse.execute("alter table weather rename to elsewhere")
    ground.promote_with_weather(2)
    ground.wait_for_state("fetching", sequence=1)
    ground.wait_for_status(lambda status: "weather" in str(status.get("reason")))
    ground.feed(40)
    ground.wait_until_done()
    assert {p["sequence"] for p in ground.predictions()} == {1}

    warehouse.execute("alter table elsewhere rename to weather")
    ground.wait_for_state("live", sequence=2, timeout_s=60)


def test_any_prediction_is_scored_again_bit_for_bit(ground: Ground, warehouse: Warehouse) -> None:
    ground.promote_with_weather(1)
    ground.start()
    ground.feed(50)
    ground.feed_raw(record(3, x=0.1 + 0.2, id="ä\u2028"))
    ground.wait_until_done()
    scorer = Scorer(open_bundle(ground.folder / "registry" / ground.model / "1"))
    inputs = {(r.partition, r.offset): r for r in read_all(ground.bootstrap, ground.topics.input)}
    found = [decode_prediction(r.value or b"") for r in read_all(ground.bootstrap, ground.topics.predictions)]
    assert len(found) == 51
    for prediction in found:
        assert prediction.manifest_digest == scorer.bundle.digest
        origin = inputs[prediction.input.partition, prediction.input.offset]
        columns = {**scorer.decode([origin.value]).columns, **lookup_columns(scorer, [prediction.lookups])}
        (score,) = scorer.score(columns, 1).tolist()
        assert msgspec.json.encode(score) == msgspec.json.encode(prediction.score)
        decided = scorer.decide(np.array([score]))
        assert decided is not None
        assert bool(decided[0]) is prediction.decision
