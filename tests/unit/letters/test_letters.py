"""Dead letters: read back as they were, exported without a loss, and judged before a replay."""

import json
from datetime import UTC, datetime, timedelta
from itertools import count

import msgspec
import pytest

from scoring.console import folded
from scoring.contract.acknowledgement import Position
from scoring.contract.clock import length_text
from scoring.contract.dead_letter import PREFIX, REFERENCE_HEADER, DeadLetter, Reason, own_headers, refer
from scoring.contract.replay import Note, Replayed, note_key
from scoring.kafka import RecordHeaders
from scoring.letters.exporting import export
from scoring.letters.letter import Letter, letter_of
from scoring.letters.originals import Gone, Original
from scoring.letters.replaying import Fate, Judged, Order, Tally, headers_for, judge, prepare, replay
from scoring.letters.telling import list_lines
from scoring.letters.text import Text, as_text, harmless, harmless_json
from scoring.letters.transactions import Prepared
from scoring.reading import Stored

MOMENT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
ORIGIN = Position(topic="small.input", topic_id="in", partition=2, offset=17)
TOLD = DeadLetter(
    reason=Reason.WRONG_TYPE, detail="x", origin=ORIGIN, at=MOMENT, model="small", version="2", sequence=2
)
ORDER = Order(
    model="small",
    input_topic="small.input",
    input_topic_id="in",
    ends=(100, 100, 100, 100),
    maximum_bytes=1_048_576,
    actor="ada",
    why="mended",
)


def stored(
    value: bytes | None = b"v", own: RecordHeaders | None = None, *, offset: int = 5, key: bytes | None = b"k"
) -> Stored:
    return Stored(2, offset, 0, key, value, [*(own or []), *TOLD.headers()])


def letter(own: RecordHeaders | None = None, *, offset: int = 5, value: bytes | None = b"v") -> Letter:
    return letter_of(stored(value, own, offset=offset), "small.dead-letters", "dl")


def original_of(found: Letter) -> Original:
    return Original(key=found.key, value=found.value, headers=found.headers, replays=found.replays)


# --- what stands there --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "own",
    [
        [],
        [("h", b"1"), ("h", b"2"), ("null", None)],
        [(PREFIX + "reason", b"mine"), (REFERENCE_HEADER, b"1")],
        [*TOLD.headers(), ("h", b"1")],
    ],
)
def test_the_records_own_headers_come_back_whatever_they_are_called(own: RecordHeaders) -> None:
    found = letter(own)
    assert (found.key, found.value, found.headers) == (b"k", b"v", own)
    assert found.told == TOLD
    assert found.reference is None


def test_null_and_empty_are_not_the_same() -> None:
    assert letter_of(stored(None, key=None), "t", "i").value is None
    assert letter_of(stored(b"", key=b""), "t", "i").value == b""


def test_a_letter_by_reference_has_nothing_of_the_record() -> None:
    headers: RecordHeaders = [*TOLD.headers(), (REFERENCE_HEADER, b"1")]
    found = letter_of(Stored(2, 5, 0, None, refer(ORIGIN, b"large"), headers), "small.dead-letters", "dl")
    assert found.reference is not None
    assert (found.value, found.headers, found.size_bytes) == (None, [], 5)


@pytest.mark.parametrize("headers", [[], [("h", b"1")], TOLD.headers()[:-1], [*TOLD.headers(), ("h", b"1")]])
def test_what_is_no_dead_letter_is_told(headers: RecordHeaders) -> None:
    with pytest.raises(ValueError, match="not a dead letter"):
        own_headers(headers)


@pytest.mark.parametrize("topic_id", ["dl", "N4w/Iqx2R/+w=="])
def test_a_replayed_record_says_which_dead_letter_it_was(topic_id: str) -> None:
    place = Position(topic="small.dead-letters", topic_id=topic_id, partition=2, offset=5)
    headers = Replayed(letter=place, number=2).headers()
    assert Replayed.from_headers([("h", b"1"), *headers]) == Replayed(letter=place, number=2)
    for wrong in ([], [("baton-replay-of", b"x")], [("baton-replay-of", b"a/b/c/d"), ("baton-replay-number", b"1")]):
        assert Replayed.from_headers(wrong) is None


# --- export -------------------------------------------------------------------------------------------------------


def test_an_export_loses_nothing() -> None:
    own: RecordHeaders = [("a", b"\xff\x00"), ("b", None), ("c", "ä".encode())]
    written: list[bytes] = []
    done = export([letter(own, value=b"\xfe"), letter(value=None)], original_of, written.append)
    assert (done.letters, done.without_record) == (2, 0)
    first, second = (json.loads(line) for line in written)
    assert all(line.endswith(b"\n") for line in written)
    record = first["record"]
    assert msgspec.convert(record["value"], Text).content() == b"\xfe"
    values = [header["value"] and msgspec.convert(header["value"], Text).content() for header in record["headers"]]
    assert values == [b"\xff\x00", None, "ä".encode()]
    assert second["record"]["value"] is None
    assert first["origin"]["offset"] == 17


def test_an_export_says_where_a_record_is_gone() -> None:
    written: list[bytes] = []
    done = export([letter()], lambda _: Gone("it went"), written.append)
    assert (done.letters, done.without_record) == (1, 1)
    assert json.loads(written[0])["gone"] == "it went"


@pytest.mark.parametrize("content", [b"", b"text", "ä\u2028".encode(), b"\xff\xfe", b"base64:", b"\x00"])
def test_bytes_as_text_are_the_same_bytes_again(content: bytes) -> None:
    found = as_text(content)
    assert found is not None
    assert found.content() == content
    assert msgspec.json.decode(msgspec.json.encode(found), type=Text).content() == content


# --- replay -------------------------------------------------------------------------------------------------------


def test_a_letter_that_is_noted_is_not_put_back_again() -> None:
    found = letter()
    assert judge(found, ORDER, set(), original_of).fate is Fate.REPLAY
    assert judge(found, ORDER, {note_key("small", found.place)}, original_of).fate is Fate.ALREADY


def test_what_cannot_be_put_back_is_told() -> None:
    assert judge(letter(), ORDER, set(), lambda _: Gone("it went")).fate is Fate.GONE
    small = msgspec.structs.replace(ORDER, maximum_bytes=200)
    judged = judge(letter(value=b"v" * 100), small, set(), original_of)
    assert judged.fate is Fate.TOO_LARGE
    assert "small.input takes 200" in judged.sentence
    fewer = msgspec.structs.replace(ORDER, ends=(100, 100))
    judged = judge(letter(), fewer, set(), original_of)
    assert judged.fate is Fate.NO_PARTITION
    assert judged.sentence == "it came from partition 2, small.input has 2"


def test_a_record_that_failed_after_three_replays_is_only_put_back_when_asked_for() -> None:
    place = Position(topic="small.dead-letters", topic_id="dl", partition=2, offset=1)
    for number, fate in ((1, Fate.REPLAY), (2, Fate.REPLAY), (3, Fate.TOO_OFTEN), (9, Fate.TOO_OFTEN)):
        found = letter([("h", b"1"), *Replayed(letter=place, number=number).headers()])
        assert judge(found, ORDER, set(), original_of).fate is fate
    found = letter(Replayed(letter=place, number=3).headers())  # type: ignore[arg-type]
    again = msgspec.structs.replace(ORDER, again=True)
    assert judge(found, again, set(), original_of).fate is Fate.REPLAY


def test_the_record_goes_back_as_it_was_with_two_headers_more_and_of_earlier_replays_none() -> None:
    place = Position(topic="small.dead-letters", topic_id="dl", partition=2, offset=1)
    own: RecordHeaders = [("h", b"1"), ("null", None)]
    found = letter([*own, *Replayed(letter=place, number=1).headers()])
    judged = judge(found, ORDER, set(), original_of)
    prepared = prepare(judged, ORDER, MOMENT)
    assert (prepared.topic, prepared.partition, prepared.key, prepared.value) == ("small.input", 2, b"k", b"v")
    assert prepared.headers == [*own, *Replayed(letter=found.place, number=2).headers()]
    assert prepared.note == Note(
        model="small",
        letter=found.place,
        origin=ORIGIN,
        reason=Reason.WRONG_TYPE,
        number=2,
        actor="ada",
        why="mended",
        at=MOMENT,
    )
    assert headers_for(found, original_of(found)) == prepared.headers


class Recorder:
    """Takes batches in place of a broker."""

    def __init__(self) -> None:
        self.batches: list[list[Prepared]] = []

    def put_back(self, batch: list[Prepared]) -> None:
        self.batches.append(list(batch))


def test_letters_go_back_in_batches_and_are_counted_by_what_became_of_them() -> None:
    letters = [letter(offset=offset) for offset in range(1_203)]
    notes = {note_key("small", letters[7].place)}
    recorder, told = Recorder(), list[int]()
    judged = (judge(each, ORDER, notes, original_of) for each in letters)
    done = replay(judged, ORDER, recorder, lambda: MOMENT, lambda s: told.append(s.replayed))  # type: ignore[arg-type]
    assert [len(batch) for batch in recorder.batches] == [499, 500, 203]
    assert told == [499, 999, 1_202]
    assert (done.replayed, done.left) == (1_202, 0)
    assert done.fates == {"replay": {"wrong-type": 1_202}, "already-replayed": {"wrong-type": 1}}


def test_a_batch_has_not_too_many_bytes() -> None:
    recorder, large = Recorder(), b"v" * 2**20
    sizes = count()
    judged = (judge(letter(offset=next(sizes), value=large[:-9000]), ORDER, set(), original_of) for _ in range(40))
    done = replay(judged, ORDER, recorder, lambda: MOMENT, lambda _: None)  # type: ignore[arg-type]
    assert done.replayed == 40
    assert len(recorder.batches) == 2


def test_a_few_examples_of_what_is_left_are_told() -> None:
    tally = Tally()
    for offset in range(10):
        tally.add(Judged(letter=letter(offset=offset), fate=Fate.GONE, sentence="it went"))
    found = tally.summary()
    assert (found.replayed, found.left) == (0, 10)
    assert found.examples == ("2:0: it went", "2:1: it went", "2:2: it went")


# --- what somebody else wrote -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("at", b"2026-03-01T12:30:00"),
        ("at", b"0001-01-01T00:00:00+23:59"),
        ("partition", b"-1"),
        ("offset", b"9" * 30),
        ("offset", b"9" * 5_000),
        ("sequence", b"0"),
        ("model", b"../other"),
        ("reason", b"because"),
        ("detail", b"\xff"),
    ],
)
def test_headers_that_no_worker_writes_make_no_letter(name: str, value: bytes) -> None:
    headers: RecordHeaders = [(each, value if each == PREFIX + name else said) for each, said in TOLD.headers()]
    with pytest.raises(ValueError, match=r"not a dead letter|codec"):
        letter_of(Stored(2, 5, 0, b"k", b"v", headers), "small.dead-letters", "dl")


def test_a_reference_to_another_record_than_the_headers_name_makes_no_letter() -> None:
    other = msgspec.structs.replace(ORIGIN, offset=18)
    headers: RecordHeaders = [*TOLD.headers(), (REFERENCE_HEADER, b"1")]
    with pytest.raises(ValueError, match="names another record"):
        letter_of(Stored(2, 5, 0, None, refer(other, b"large"), headers), "small.dead-letters", "dl")


@pytest.mark.parametrize(
    ("origin", "told"),
    [
        (msgspec.structs.replace(ORIGIN, partition=1), "stands in partition 2"),
        (msgspec.structs.replace(ORIGIN, offset=100), "has not come so far"),
        (msgspec.structs.replace(ORIGIN, offset=99), None),
        (msgspec.structs.replace(ORIGIN, offset=100, topic_id="an earlier one"), None),
    ],
)
def test_a_letter_that_claims_an_origin_that_cannot_be_is_not_put_back(origin: Position, told: str | None) -> None:
    headers: RecordHeaders = [*msgspec.structs.replace(TOLD, origin=origin).headers()]
    found = letter_of(Stored(2, 5, 0, b"k", b"v", headers), "small.dead-letters", "dl")
    judged = judge(found, ORDER, set(), original_of)
    assert judged.fate is (Fate.REPLAY if told is None else Fate.FORGED)
    assert told is None or told in judged.sentence


def test_what_a_terminal_would_obey_is_written_as_escapes() -> None:
    evil = "a\x1b]0;owned\x07\x9b31m\u202eb\r\nc\u2028"
    assert harmless(evil) == "a\\x1b]0;owned\\x07\\x9b31m\\u202eb\\x0d\\x0ac\\u2028"
    document = msgspec.json.format(msgspec.json.encode({"evil": evil}), indent=2).decode()
    shown = harmless_json(document)
    assert json.loads(shown) == {"evil": evil}
    assert all(character == "\n" or harmless(character) == character for character in shown)


def test_lines_are_folded_with_what_follows_indented() -> None:
    parts = folded("  value: " + "word " * 40 + "x" * 100, 80)
    assert len(parts) > 1
    assert all(len(part) <= 80 for part in parts)
    assert all(part.startswith("      ") for part in parts[1:])


def test_a_list_of_letters_fits_a_narrow_terminal_and_says_how_long_ago() -> None:
    now = MOMENT + timedelta(minutes=5, seconds=12)
    shown = list(list_lines([letter(offset=123_456_789), letter()], now, {note_key("small", letter().place)}))
    assert all(len(line) <= 80 for line in shown)
    made = ["2026-03-01T12:30:00Z", "5", "min", "12", "s"]
    assert shown[1].split() == [*made, "2:123456789", "2:17", "2", "no", "wrong-type"]
    assert shown[2] == "    x"
    assert shown[3].split() == [*made, "2:5", "2:17", "2", "yes", "wrong-type"]
    (unknown,) = (line for line in list_lines([letter()], now, None) if "wrong-type" in line)
    assert unknown.split()[-2:] == ["?", "wrong-type"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.85, "850 ms"),
        (3.21, "3.2 s"),
        (312, "5 min 12 s"),
        (7_200, "2 h 0 min"),
        (-90, "-1 min 30 s"),
        (1e6, "11 d 13 h"),
    ],
)
def test_lengths_of_time_are_told_to_two_units(seconds: float, text: str) -> None:
    assert length_text(seconds) == text
