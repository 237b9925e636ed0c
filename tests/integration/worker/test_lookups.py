"""Lookups of a worker on a real broker: a topic kept in memory, a table frozen into the bundle, stated answers."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scoring.contract.asof import FOREVER_S, Rows
from scoring.contract.dead_letter import DeadLetter
from scoring.contract.features import FieldType, FrozenLookup, LookupField, TableLookup, TopicLookup
from scoring.contract.frozen import encode_table, file_of
from scoring.contract.lookup import OnMiss, OnOutage
from scoring.contract.prediction import decode_prediction
from scoring.scorer.bundle import open_bundle
from scoring.scorer.scorer import Scorer, lookup_columns
from tests.support.arena import read_all
from tests.support.bundles import MOMENT, make_bundle, small_schema
from tests.support.ground import WEATHER, Ground, Warehouse, record

pytestmark = pytest.mark.integration

DAY_S = 86_400.0


def prices(ground: Ground, **changes: Any) -> TopicLookup:
    values: dict[str, Any] = {
        "name": "price",
        "topic": f"{ground.model}.prices",
        "connection": "warehouse",
        "table": "prices",
        "match": (("color", "color"),),
        "valid_at": "since",
        "max_age_s": 30 * DAY_S,
        "fields": (LookupField(name="price"), LookupField(name="shop", type=FieldType.STRING)),
    }
    return TopicLookup(**{**values, **changes})


def tell(ground: Ground, color: str, price: float, hours: float = 0.0, *, at_once: bool = True) -> None:
    since = (MOMENT + timedelta(hours=hours)).isoformat()
    value = json.dumps({"color": color, "since": since, "price": price, "shop": "ä"}).encode()
    ground._producer.produce(f"{ground.model}.prices", value, color.encode())
    if at_once:
        ground._flush()


def promote(ground: Ground, version: int, *lookups: Any, frozen: dict[str, bytes] | None = None) -> None:
    folder = ground.folder / "registry" / ground.model / str(version)
    schema = small_schema(lookups)
    ground.digests[version] = make_bundle(
        folder, version, model=ground.model, topics=ground.topics, schema=schema, frozen=frozen or {}
    )
    ground.notify(version, version)


def found(ground: Ground, name: str, field: str) -> dict[str, set[Any]]:
    """The looked-up values by color."""
    by_color: dict[str, set[Any]] = {}
    for prediction in ground.predictions():
        by_color.setdefault(prediction["pass_through"]["color"], set()).add(prediction["lookups"][name][field])
    return by_color


def test_a_topic_is_read_to_its_end_before_anything_is_scored_and_followed_from_then_on(ground: Ground) -> None:
    ground.create(f"{ground.model}.prices", {"cleanup.policy": "compact"}, partitions=3)
    for step in range(2_000):  # of three keys, so that only the last ones count
        tell(ground, ("red", "green")[step % 2], float(step), hours=-1, at_once=step == 1_999)
    ground.send(f"{ground.model}.prices", b"no row", b"other", None)
    ground.feed(30)
    promote(ground, 1, prices(ground))
    ground.start()
    ground.wait_until_done()
    assert found(ground, "price", "price") == {"red": {1_998.0}, "green": {1_999.0}, "blue": {None}}
    assert found(ground, "price", "shop")["red"] == {"ä"}

    tell(ground, "red", 5.0, hours=-0.5)
    tell(ground, "blue", 6.0, hours=-0.5)
    for number in range(30, 400):  # until the worker has seen them: it follows, it does not wait
        ground.feed_raw(record(number), partition=number % 4)
        if {5.0, 1_998.0} <= found(ground, "price", "price")["red"] and 6.0 in found(ground, "price", "price")["blue"]:
            break
    ground.wait_until_done()
    assert 5.0 in found(ground, "price", "price")["red"]
    assert 6.0 in found(ground, "price", "price")["blue"]
    assert ground.letters() == []


def test_while_a_topic_is_not_there_the_bundle_does_not_go_live(ground: Ground) -> None:
    promote(ground, 1, prices(ground))
    ground.start()
    ground.wait_for_status(lambda status: f"{ground.model}.prices" in str(status.get("reason")))
    ground.feed(8)
    assert ground.outcomes() == []
    ground.create(f"{ground.model}.prices", {"cleanup.policy": "compact"}, partitions=1)
    tell(ground, "red", 1.0, hours=-1)
    ground.wait_for_state("live", sequence=1, timeout_s=60)
    ground.wait_until_done()
    assert len(ground.predictions()) == 8


def test_a_topic_that_does_not_fit_keeps_the_bundle_from_going_live(ground: Ground) -> None:
    ground.create(f"{ground.model}.prices", {"cleanup.policy": "compact"}, partitions=1)
    for place in range(20):
        tell(ground, f"color-{place}", 1.0, hours=-1)
    promote(ground, 1, prices(ground, maximum_rows=10))
    ground.start()
    ground.wait_for_status(lambda status: "more than 10 rows" in str(status.get("reason")))


def test_a_record_without_a_row_becomes_a_dead_letter_where_the_lookup_says_so(ground: Ground) -> None:
    ground.create(f"{ground.model}.prices", {"cleanup.policy": "compact"}, partitions=1)
    tell(ground, "red", 1.0, hours=-1)
    promote(ground, 1, prices(ground, on_miss=OnMiss.DEAD_LETTER))
    ground.start()
    ground.feed(30)
    ground.wait_until_done()
    assert {p["pass_through"]["color"] for p in ground.predictions()} == {"red"}
    assert len(ground.letters()) == 20
    reasons = {DeadLetter.from_headers(letter.headers).reason.value for letter in ground.letters()}
    assert reasons == {"lookup-miss"}


def test_a_frozen_table_needs_nothing_around_it_and_predictions_do_not_repeat_it(ground: Ground) -> None:
    town = FrozenLookup(
        name="town",
        connection="nowhere",
        table="towns",
        match=(("color", "color"),),
        fields=(LookupField(name="size"), LookupField(name="label", type=FieldType.STRING)),
        on_miss=OnMiss.DEAD_LETTER,
    )
    rows = Rows(
        keys=[("red",), ("green",)],
        valid_at=np.full(2, FOREVER_S),
        known_at=None,
        values={"size": np.array([1.0, 2.0]), "label": ["a", None]},
    )
    promote(ground, 1, town, frozen={file_of("town"): encode_table(town, rows)})
    ground.start()
    ground.feed(30)
    ground.wait_until_done()
    assert {p["pass_through"]["color"] for p in ground.predictions()} == {"red", "green"}
    assert all(p.get("lookups", {}) == {} for p in ground.predictions())
    assert {DeadLetter.from_headers(letter.headers).reason.value for letter in ground.letters()} == {"lookup-miss"}

    scorer = Scorer(open_bundle(ground.folder / "registry" / ground.model / "1"))
    inputs = {(r.partition, r.offset): r for r in read_all(ground.bootstrap, ground.topics.input)}
    predictions = [decode_prediction(r.value or b"") for r in read_all(ground.bootstrap, ground.topics.predictions)]
    assert len(predictions) == 20
    for prediction in predictions:
        origin = inputs[prediction.input.partition, prediction.input.offset]
        columns = {**scorer.decode([origin.value]).columns, **lookup_columns(scorer, [prediction.lookups])}
        assert scorer.score(columns, 1).tolist() == [prediction.score]


@pytest.mark.parametrize("answer", [OnOutage.MISSING, OnOutage.DEAD_LETTER])
def test_while_the_database_is_away_records_are_answered_as_the_lookup_says(
    answer: OnOutage, ground: Ground, tmp_path: Path
) -> None:
    warehouse = Warehouse(tmp_path / "warehouse.db")
    warehouse.observe([("red", MOMENT - timedelta(hours=1), 2.5), ("blue", MOMENT - timedelta(hours=1), 3.5)])
    ground.variables["BATON_CONNECTIONS__WAREHOUSE"] = warehouse.url
    changes = {name: getattr(WEATHER, name) for name in WEATHER.__struct_fields__}
    promote(ground, 1, TableLookup(**{**changes, "on_outage": answer, "timeout_s": 3.0}))
    ground.start()
    ground.feed(30)
    ground.wait_until_done()
    assert found(ground, "weather", "wind") == {"red": {2.5}, "blue": {3.5}, "green": {None}}
    warehouse.go_away()
    for number in range(12):  # times that no cache knows
        ground.feed_raw(record(number, at=MOMENT + timedelta(days=1, seconds=number)), partition=number % 4)
    ground.wait_until_done()
    warehouse.come_back()
    reasons = [DeadLetter.from_headers(letter.headers).reason.value for letter in ground.letters()]
    late = [p for p in ground.predictions() if p["event_time"] >= "2026-03-02"]
    if answer is OnOutage.DEAD_LETTER:
        assert (reasons, late) == (["lookup-outage"] * 12, [])
    else:
        assert reasons == []
        assert [p["lookups"]["weather"]["wind"] for p in late] == [None] * 12
