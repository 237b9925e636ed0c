"""Compares the tables with the topics, row for row; it shares no code with the sink.

Topics are read as any read_committed reader would, tables as any SQL client would.
"""

import base64
import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Self

import msgspec
import psycopg
from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient
from sqlalchemy.engine import make_url

from tests.support.arena import Record, end_offsets, read_all
from tests.support.predicted_stream import RUBBISH, PredictedStream

Place = tuple[str, int, int]  # topic id, partition, offset
Row = dict[str, Any]
_PREFIX = "baton-dead-letter-"
_DOCUMENTS = ("headers", "probabilities")
_AS_WRITTEN = ("pass_through", "lookups")
_TIMES = ("event_time", "scored_at", "at", "recorded_at")
_TABLES = ("predictions", "dead_letters", "unreadable_records")


class Verdict(msgspec.Struct, kw_only=True):
    """What the oracle found; ``examples`` names some of what is wrong."""

    records: int
    rows: int
    missing: int
    invented: int
    altered: int
    doubled: int
    latest: int
    latest_wrong: int
    offsets_wrong: int
    examples: list[str]

    @property
    def faultless(self) -> bool:
        """Whether the tables are what the topics are."""
        return self.only_offsets and not self.offsets_wrong

    @property
    def only_offsets(self) -> bool:
        """Whether nothing but offsets is wrong: markers of transactions are stepped over a moment later."""
        return not any((self.missing, self.invented, self.altered, self.doubled, self.latest_wrong))


def judge(stream: PredictedStream, url: str) -> Verdict:
    """Compare everything; asserts first that the topics hold exactly what was committed to them."""
    expected: dict[str, dict[Place, Row]] = {name: {} for name in _TABLES}
    ends: dict[tuple[str, int], int] = {}
    for topic, committed in stream.committed.items():
        records = read_all(stream.bootstrap, topic)
        assert len(records) == committed, f"{topic} holds {len(records)} records, {committed} were committed"
        topic_id = topic_id_of(stream.bootstrap, topic)
        ends |= {(topic_id, number): end for number, end in enumerate(end_offsets(stream.bootstrap, topic))}
        for record in records:
            table, row = _expected(record, topic_id, letters=topic == stream.topics.dead_letters)
            expected[table][topic_id, record.partition, record.offset] = row
    with _Client(url) as client:
        return _compare(client, expected, ends)


def rows_in(url: str) -> int:
    """How many records the tables hold."""
    with _Client(url) as client:
        return sum(client.ask(f"select count(*) from {table}")[0][0] for table in _TABLES)


def is_locked(url: str) -> bool:
    """Whether a client of the database is in the midst of a transaction that keeps other writers waiting."""
    with _Client(url) as client:
        return client.is_locked()


def topic_id_of(bootstrap: str, topic: str) -> str:
    """The topic's id."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 4})
    return str(admin.describe_topics(TopicCollection([topic]))[topic].result(20).topic_id)


def _compare(
    client: "_Client", expected: Mapping[str, Mapping[Place, Row]], ends: Mapping[tuple[str, int], int]
) -> Verdict:
    verdict = Verdict(
        records=sum(map(len, expected.values())),
        rows=0,
        missing=0,
        invented=0,
        altered=0,
        doubled=0,
        latest=0,
        latest_wrong=0,
        offsets_wrong=0,
        examples=[],
    )
    for table, wanted in expected.items():
        found = client.rows(table)
        verdict.rows += len(found)
        places = Counter(_place(row) for row in found)
        verdict.doubled += sum(count - 1 for count in places.values())
        verdict.missing += len(wanted.keys() - places.keys())
        verdict.invented += len(places.keys() - wanted.keys())
        for row in found:
            other = wanted.get(_place(row))
            if other is not None and (wrong := _differences(row, other)):
                verdict.altered += 1
                _note(verdict, f"{table} {_place(row)}: {wrong}")
        for place in sorted(wanted.keys() - places.keys())[:3]:
            _note(verdict, f"{table} lacks {place}")
    _compare_latest(verdict, client.rows("latest_predictions"), expected["predictions"].values())
    for topic_id, number, following in client.ask("select topic_id, topic_partition, next_offset from sink_offsets"):
        if ends.get((topic_id, number)) != following:
            verdict.offsets_wrong += 1
            _note(verdict, f"{topic_id}/{number} is at {following}, the topic ends at {ends.get((topic_id, number))}")
    return verdict


def _compare_latest(verdict: Verdict, found: list[Row], predictions: Iterable[Row]) -> None:
    """The highest input offset; of an input that was scored twice, the one that was scored last, and stands last."""
    wanted: dict[tuple[str, str], Row] = {}
    for row in predictions:
        if row["record_key"] is not None:
            key = (row["model"], row["record_key"])
            if key not in wanted or _newness(row) > _newness(wanted[key]):
                wanted[key] = row
    verdict.latest = len(found)
    places = {(row["model"], row["record_key"]): row for row in found}
    for key in wanted.keys() | places.keys():
        if key not in places or key not in wanted or _differences(places[key], wanted[key]):
            verdict.latest_wrong += 1
            _note(verdict, f"latest of {key}: {places.get(key)} is not {wanted.get(key)}")


def _newness(row: Row) -> tuple[Any, ...]:
    return row["input_offset"], row["scored_at"], row["topic_offset"]


def _note(verdict: Verdict, text: str) -> None:
    if len(verdict.examples) < 10:
        verdict.examples.append(text[:500])


def _place(row: Row) -> Place:
    return row["topic_id"], row["topic_partition"], row["topic_offset"]


def _differences(row: Row, other: Row) -> list[str]:
    """Columns whose values differ; numbers are compared bit by bit."""
    return [
        f"{name}: {row[name]!r} is not {value!r}" for name, value in other.items() if _bits(row[name]) != _bits(value)
    ]


def _bits(value: Any) -> Any:
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, dict):
        return {name: _bits(inner) for name, inner in value.items()}
    return [_bits(inner) for inner in value] if isinstance(value, list) else value


# --- what is expected of a record ---------------------------------------------------------------------------------


def _expected(record: Record, topic_id: str, *, letters: bool) -> tuple[str, Row]:
    own: Row = {
        "topic": record.topic,
        "topic_id": topic_id,
        "topic_partition": record.partition,
        "topic_offset": record.offset,
    }
    if record.value is not None and record.value.startswith(RUBBISH):
        headers = [[name, _text(content)] for name, content in record.headers]
        return "unreadable_records", {**own, "key": record.key, "value": record.value, "headers": headers}
    return ("dead_letters", {**own, **_letter(record)}) if letters else ("predictions", {**own, **_prediction(record)})


def _prediction(record: Record) -> Row:
    document = json.loads(record.value or b"")
    place = document["input"]
    row = {name: document[name] for name in ("model", "version", "sequence", "manifest_digest", "score", "decision")}
    return {
        **row,
        **_key(record.key),
        "headers": [[name, _text(content)] for name, content in record.headers] or None,
        "label": document.get("label"),
        "probabilities": document.get("probabilities"),
        "event_time": datetime.fromisoformat(document["event_time"]),
        "scored_at": datetime.fromisoformat(document["scored_at"]),
        **{f"input_{name}": place[name] for name in ("topic", "topic_id", "partition", "offset")},
        **{name: _as_written(record.value or b"", name) for name in _AS_WRITTEN},
    }


def _as_written(value: bytes, name: str) -> str | None:
    """A document of a prediction, character for character; None of none."""
    found = msgspec.json.decode(value, type=dict[str, msgspec.Raw]).get(name)
    return None if found is None or not json.loads(bytes(found)) else bytes(found).decode()


def _letter(record: Record) -> Row:
    said = {
        name.removeprefix(_PREFIX): content.decode() for name, content in record.headers if name.startswith(_PREFIX)
    }
    own = [[name, _text(content)] for name, content in record.headers if not name.startswith(_PREFIX)]
    return {
        **_key(record.key),
        "value": record.value,
        "headers": own or None,
        "by_reference": False,
        **{name: said[name] for name in ("reason", "detail", "model", "version")},
        "sequence": int(said["sequence"]),
        "at": datetime.fromisoformat(said["at"]),
        "input_topic": said["topic"],
        "input_topic_id": said["topic-id"],
        "input_partition": int(said["partition"]),
        "input_offset": int(said["offset"]),
    }


def _key(key: bytes | None) -> Row:
    text = _text(key)
    if key is None or text is None or len(text.encode()) <= 1_000:
        return {"record_key": text, "whole_key": None}
    return {"record_key": f"sha256:{hashlib.sha256(key).hexdigest()}", "whole_key": key}


def _text(content: bytes | None) -> str | None:
    if content is None:
        return None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = "\0"
    odd = "\0" in text or text.startswith(("base64:", "sha256:"))
    return "base64:" + base64.b64encode(content).decode() if odd else text


# --- what the tables hold -----------------------------------------------------------------------------------------


class _Client:
    """A connection of a driver's own."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self._postgres = parsed.get_backend_name() == "postgresql"
        if self._postgres:
            self._connection: Any = psycopg.connect(parsed.set(drivername="postgresql").render_as_string(False))
        else:
            self._connection = sqlite3.connect(parsed.database or "", timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """All rows that answer a query."""
        return list(self._connection.execute(query).fetchall())

    def is_locked(self) -> bool:
        """Whether another client of the database is in the midst of a transaction."""
        if self._postgres:
            others = "datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
            return bool(
                self.ask(f"select count(*) from pg_stat_activity where {others} and xact_start is not null")[0][0]
            )
        self._connection.execute("pragma busy_timeout = 0")
        try:
            self._connection.execute("begin immediate")
        except sqlite3.OperationalError:
            return True
        self._connection.rollback()
        return False

    def rows(self, table: str) -> list[Row]:
        """All rows of a table, by column."""
        names = [column[0] for column in self._connection.execute(f"select * from {table} limit 0").description]
        asked = ", ".join(f"cast({name} as text)" if name in _AS_WRITTEN else f'"{name}"' for name in names)
        cursor = self._connection.execute(f"select {asked} from {table}")
        return [self._row(dict(zip(names, row, strict=True))) for row in cursor]

    def _row(self, row: Row) -> Row:
        for name in _DOCUMENTS:
            if isinstance(row.get(name), str):
                row[name] = json.loads(row[name])
        for name in _TIMES:
            if isinstance(row.get(name), str):
                row[name] = datetime.fromisoformat(row[name])
        for name in ("decision", "by_reference"):
            if isinstance(row.get(name), int):
                row[name] = bool(row[name])
        return row
