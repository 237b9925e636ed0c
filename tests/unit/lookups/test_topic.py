"""A topic in memory: nothing is answered before its end was read; then it is what the topic says now, within bounds."""

import threading
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from confluent_kafka import Consumer, KafkaError, Message

from scoring.contract.asof import found_column, join
from scoring.contract.encoder import Column
from scoring.contract.errors import Unavailable
from scoring.contract.features import FeatureSchema, Field, FieldType, LookupField, Number, TopicLookup
from scoring.contract.lookup import OnOutage
from scoring.lookups.rows import as_rows
from scoring.lookups.sources import Sources
from scoring.lookups.topic import IDLE_S, TopicLookups, TopicTable

KINDS = (FieldType.STRING,)
EOF_ = KafkaError(KafkaError._PARTITION_EOF)


def lookup(**changes: Any) -> TopicLookup:
    values: dict[str, Any] = {
        "name": "price",
        "topic": "prices",
        "connection": "warehouse",
        "table": "prices",
        "match": (("article", "article"),),
        "valid_at": "since",
        "max_age_s": 1_000.0,
        "fields": (LookupField(name="price"), LookupField(name="shop", type=FieldType.STRING)),
    }
    return TopicLookup(**{**values, **changes})


def schema(used: TopicLookup) -> FeatureSchema:
    return FeatureSchema(
        key="id",
        event_time="at",
        fields=(
            Field(name="id", type=FieldType.STRING, required=True),
            Field(name="at", type=FieldType.TIME, required=True),
            Field(name="article", type=FieldType.STRING),
        ),
        lookups=(used,),
        features=(Number(name="price", of=f"{used.name}.price"),),
    )


def row(article: str, since_s: int, price: float | None, *, key: str | None = None, shop: str | None = None) -> Message:
    since = f"1970-01-01T00:{since_s // 60:02}:{since_s % 60:02}Z"
    value = msgspec.json.encode({"article": article, "since": since, "price": price, "shop": shop, "more": [1]})
    return raw(value, key or article)


def raw(value: bytes | None, key: str | None) -> Message:
    return Message(topic="prices", partition=0, offset=0, key=None if key is None else key.encode(), value=value)


def end(partition: int = 0) -> Message:
    return Message(topic="prices", partition=partition, error=EOF_)


def never() -> Consumer:
    raise AssertionError("no client is needed here")


def table(*messages: Message, used: TopicLookup | None = None) -> TopicTable:
    made = TopicTable(used or lookup(), KINDS, never)
    made.expect([0])
    made.take([*messages, end()])
    return made


def records(*asked: tuple[str | None, float]) -> tuple[dict[str, Column], int]:
    return {"article": [article for article, _ in asked], "at": np.array([at for _, at in asked])}, len(asked)


class Filled(TopicLookups):
    """Whose tables hold what they are given, instead of reading a topic."""

    def __init__(self, made: TopicTable) -> None:
        super().__init__(never)
        self._made = made

    def _table(self, lookup: TopicLookup, kinds: tuple[FieldType, ...]) -> TopicTable:
        assert lookup.topic == "prices"
        assert kinds == KINDS
        return self._made


def prices(made: TopicTable, *asked: tuple[str | None, float], used: TopicLookup | None = None) -> list[float]:
    found = Filled(made).resolve(schema(used or lookup()), *records(*asked))
    return [float(price) for price in np.asarray(found["price.price"], dtype=float)]


def test_the_newest_version_before_the_event_counts() -> None:
    made = table(row("a", 10, 1.0), row("a", 20, 2.0), row("b", 15, 3.0))
    np.testing.assert_equal(
        prices(made, ("a", 25.0), ("a", 20.0), ("a", 19.0), ("a", 9.0), ("b", 15.0), ("c", 15.0), (None, 15.0)),
        [2.0, 2.0, 1.0, float("nan"), 3.0, float("nan"), float("nan")],
    )


def test_it_is_the_join_that_trains() -> None:
    rng = np.random.default_rng(5)
    used = lookup(versions=50, max_age_s=200.0, lag_s=5.0, resolution_s=10.0)
    rows = [(str(rng.integers(6)), float(rng.integers(900)), float(rng.random()), "s") for _ in range(200)]
    made = table(*(row(article, int(since), price, shop=shop) for article, since, price, shop in rows), used=used)
    asked = [(str(rng.integers(7)), float(rng.integers(1_000))) for _ in range(300)]
    columns, count = records(*asked)
    expected = join(used, columns, count, "at", as_rows(used, KINDS, rows))
    found = Filled(made).resolve(schema(used), columns, count)
    np.testing.assert_array_equal(found["price.price"], expected["price.price"])
    assert np.isnan(np.asarray(found["price.price"], float)).mean() < 0.9
    assert list(found["price.shop"]) == list(expected["price.shop"])


def test_of_a_key_the_newest_versions_are_kept() -> None:
    made = table(*(row("a", second, float(second)) for second in range(10, 30)), used=lookup(versions=3))
    np.testing.assert_equal(prices(made, ("a", 29.0), ("a", 27.0), ("a", 26.0)), [29.0, 27.0, float("nan")])
    assert made._versions.rows == 3


def test_a_null_value_takes_the_rows_of_its_key_away() -> None:
    made = table(row("a", 10, 1.0, key="1"), row("a", 20, 2.0, key="2"), raw(None, "2"), raw(None, "unknown"))
    assert prices(made, ("a", 30.0)) == [1.0]
    made.take([raw(None, "1")])
    assert np.isnan(prices(made, ("a", 30.0)))
    assert made._versions.rows == 0
    assert made._versions._by_match == {}


def test_what_comes_later_is_seen_at_once() -> None:
    made = table(row("a", 10, 1.0))
    made.take([row("a", 11, 5.0)])
    assert prices(made, ("a", 30.0)) == [5.0]


@pytest.mark.parametrize(
    "value", [b"", b"{", b'{"article":"a"}', b'{"article":1,"since":"1970-01-01T00:00:00Z"}', b"[]"]
)
def test_a_record_that_is_no_row_is_left_out_and_counted(value: bytes) -> None:
    made = table(raw(value, "a"), row("a", 10, 1.0), raw(value, None))
    assert prices(made, ("a", 30.0)) == [1.0]
    assert made.unreadable == 2


def test_nothing_is_answered_before_every_partition_was_read_to_its_end() -> None:
    made = TopicTable(lookup(), KINDS, never)
    for step in ([], [row("a", 10, 1.0)], [end(0)]):
        made.take(step)
        with pytest.raises(Unavailable, match=r"prices.*read to its end"):
            prices(made, ("a", 30.0))
        made.expect([0, 1]) if not step else None
    made.take([end(1)])
    assert prices(made, ("a", 30.0)) == [1.0]
    made.expect([2])  # a partition that was added does not take away what is known
    assert prices(made, ("a", 30.0)) == [1.0]


def test_a_topic_that_does_not_fit_is_refused_and_let_go_of() -> None:
    made = table(*(row(str(n), 10, 1.0) for n in range(5)), used=lookup(maximum_rows=5))
    assert prices(made, ("1", 30.0)) == [1.0]
    made.take([row("5", 10, 1.0)])
    with pytest.raises(Unavailable, match="more than 5 rows; raise maximum_rows"):
        prices(made, ("1", 30.0))
    assert made._versions.rows == 0
    made.take([end()])
    with pytest.raises(Unavailable, match="more than 5 rows"):
        prices(made, ("1", 30.0))


def test_an_outage_has_the_answer_that_the_lookup_states() -> None:
    made = TopicTable(lookup(), KINDS, never)
    used = lookup(on_outage=OnOutage.MISSING)
    found = Filled(made).resolve(schema(used), *records(("a", 30.0), ("b", 30.0)))
    assert np.isnan(np.asarray(found["price.price"], float)).all()
    assert found["price.shop"] == [None, None]
    assert np.isnan(np.asarray(found[found_column("price")], float)).all()


def test_other_errors_of_the_client_change_nothing() -> None:
    made = table(row("a", 10, 1.0))
    made.take([Message(topic="prices", partition=0, error=KafkaError(KafkaError._ALL_BROKERS_DOWN))])
    assert prices(made, ("a", 30.0)) == [1.0]


# --- who reads what -----------------------------------------------------------------------------------------------


class Reads:
    """A consumer that gives what it is told to, and then its end; it counts how many there were."""

    made = 0

    def __init__(self, *messages: Message) -> None:
        self._messages = [*messages, end()]
        Reads.made += 1

    def list_topics(self, topic: str, timeout: float) -> Any:
        assert timeout > 0
        found = type("Found", (), {"error": None, "partitions": {0: None}})
        return type("Topics", (), {"topics": {topic: found}})

    def incremental_assign(self, places: list[Any]) -> None:
        assert [place.partition for place in places] == [0]

    def consume(self, _count: int, wait_s: float) -> list[Message]:
        threading.Event().wait(0.0 if self._messages else wait_s / 20)
        found, self._messages = self._messages, []
        return found

    def close(self) -> None:
        pass


def until(condition: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if condition():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it never came about")


def answered(source: TopicLookups, used: TopicLookup) -> float | None:
    try:
        found = source.resolve(schema(used), *records(("a", 30.0)))
    except Unavailable:
        return None
    return float(np.asarray(found[f"{used.name}.price"], float)[0])


def test_versions_of_a_model_share_what_is_in_memory_and_what_nobody_asks_for_is_let_go_of() -> None:
    Reads.made, now_s = 0, [0.0]
    source = TopicLookups(lambda: Reads(row("a", 10, 1.5)), clock_s=lambda: now_s[0])  # type: ignore[arg-type, return-value]
    try:
        until(lambda: answered(source, lookup()) == 1.5)
        assert answered(Sources(source), lookup(name="cost", lag_s=1.0, max_age_s=50.0)) == 1.5  # type: ignore[arg-type]
        assert Reads.made == 1
        now_s[0] = IDLE_S + 1
        until(lambda: answered(source, lookup(versions=9)) == 1.5)
        assert Reads.made == 2
        assert len(source._tables) == 1
    finally:
        source.close()
