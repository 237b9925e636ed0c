"""The oracle of the demonstration must see a fault when there is one."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from local.demo.oracle import (
    Findings,
    Inconclusive,
    Outcome,
    dead_letter_outcome,
    judge,
    prediction_outcome,
)
from local.demo.records import Record

TOPIC = "flight_delay.input"


def entered(number: int, *, partition: int = 0, value: bytes | None = None) -> Record:
    content = value if value is not None else json.dumps({"flight_id": f"f{number}", "carrier": f"c{number}"}).encode()
    headers = (("correlation-id", f"id{number}".encode()),)
    return Record(partition, number, 1_000 + number, f"f{number}".encode(), content, headers)


def predicted(source: Record, *, offset: int | None = None, sequence: int = 1) -> Record:
    document = {
        "version": str(sequence),
        "sequence": sequence,
        "score": 0.25,
        "input": {"topic": TOPIC, "topic_id": "T", "partition": source.partition, "offset": source.offset},
        "pass_through": {"carrier": json.loads(source.value or b"")["carrier"]},
    }
    place = source.offset if offset is None else offset
    return replace(source, offset=place, value=json.dumps(document).encode())


def buried(source: Record, *, sequence: int = 1) -> Record:
    told = {
        "reason": "malformed-json",
        "topic": TOPIC,
        "partition": str(source.partition),
        "offset": str(source.offset),
        "version": str(sequence),
        "sequence": str(sequence),
    }
    added = tuple((f"baton-dead-letter-{name}", text.encode()) for name, text in told.items())
    return replace(source, headers=source.headers + added)


def verdict(inputs: Sequence[Record], predictions: Sequence[Record], dead: Sequence[Record] = ()) -> Findings:
    outcomes: list[Outcome] = [*map(prediction_outcome, predictions), *map(dead_letter_outcome, dead)]
    return judge(TOPIC, inputs, outcomes, sent=len(inputs), pass_through={"carrier": "carrier"})


@pytest.fixture
def inputs() -> list[Record]:
    return [entered(number) for number in range(6)]


def test_a_stream_where_every_record_has_its_own_outcome_is_whole(inputs: list[Record]) -> None:
    broken = entered(6, value=b"{nonsense")
    found = verdict([*inputs, broken], [predicted(record) for record in inputs], [buried(broken)])
    assert found.whole
    assert (found.records_in, found.predictions, found.dead_letters) == (7, 6, 1)
    assert found.complaints() == []


def test_a_lost_record_is_named(inputs: list[Record]) -> None:
    found = verdict(inputs, [predicted(record) for record in inputs if record.offset != 3])
    assert found.lost == ("id3",)
    assert not found.whole


def test_a_record_scored_twice_is_named(inputs: list[Record]) -> None:
    found = verdict(inputs, [*map(predicted, inputs), predicted(inputs[5], offset=9)])
    assert found.duplicated == ("id5",)
    assert not found.lost


def test_a_record_that_is_both_scored_and_a_dead_letter_counts_as_doubled(inputs: list[Record]) -> None:
    found = verdict(inputs, [predicted(record) for record in inputs], [buried(inputs[2])])
    assert found.duplicated == ("id2",)


def test_a_loss_that_a_double_hides_in_the_count_is_seen(inputs: list[Record]) -> None:
    scored = [predicted(record) for record in inputs if record.offset != 3]
    found = verdict(inputs, [*scored, predicted(inputs[5], offset=9)])
    assert (found.records_in, found.predictions) == (6, 6)
    assert (found.lost, found.duplicated) == (("id3",), ("id5",))


def test_an_output_under_the_key_of_another_record_is_mixed(inputs: list[Record]) -> None:
    scored = [predicted(record) for record in inputs]
    scored[1] = replace(scored[1], key=b"f4")
    assert "f4" in verdict(inputs, scored).mixed[0]


def test_an_output_that_names_another_record_as_its_input_is_mixed(inputs: list[Record]) -> None:
    scored = [predicted(record) for record in inputs]
    scored[1] = replace(predicted(inputs[2]), key=scored[1].key, headers=scored[1].headers, offset=1)
    found = verdict(inputs, scored)
    assert any("stands at 0/1" in sentence for sentence in found.mixed)
    assert any("carrier is 'c2'" in sentence for sentence in found.mixed)


def test_two_records_whose_outputs_are_exchanged_are_mixed_although_the_counts_agree(inputs: list[Record]) -> None:
    scored = [predicted(record) for record in inputs]
    scored[1], scored[2] = replace(scored[1], value=scored[2].value), replace(scored[2], value=scored[1].value)
    found = verdict(inputs, scored)
    assert not found.lost
    assert not found.duplicated
    assert {sentence.split(":")[0] for sentence in found.mixed} == {"prediction 0/1", "prediction 0/2"}


def test_a_dead_letter_that_changed_the_value_is_mixed() -> None:
    broken = entered(0, value=b"{nonsense")
    found = verdict([broken], [], [replace(buried(broken), value=b"{}")])
    assert "value" in found.mixed[0]


def test_a_null_value_must_stay_null_in_its_dead_letter() -> None:
    tombstone = replace(entered(0), value=None)
    assert verdict([tombstone], [], [buried(tombstone)]).whole
    assert not verdict([tombstone], [], [replace(buried(tombstone), value=b"")]).whole


def test_an_output_of_no_input_record_is_foreign(inputs: list[Record]) -> None:
    stranger = replace(predicted(entered(7)), headers=(("correlation-id", b"stranger"),))
    found = verdict(inputs, [*map(predicted, inputs), stranger])
    assert found.foreign == ("prediction 0/7",)


def test_outputs_that_overtake_each_other_within_a_partition_are_disordered(inputs: list[Record]) -> None:
    scored = [predicted(record, offset=place) for record, place in zip(inputs, (0, 2, 1, 3, 4, 5), strict=True)]
    scored.sort(key=lambda record: record.offset)
    assert "input offset 1 comes after 2" in verdict(inputs, scored).disordered[0]


def test_partitions_may_overtake_each_other() -> None:
    first, second = entered(5, partition=0), entered(2, partition=1)
    assert verdict([first, second], [predicted(first), predicted(second)]).whole


def test_a_sequence_that_goes_back_is_disordered(inputs: list[Record]) -> None:
    scored = [predicted(record, sequence=1 if record.offset in {0, 1, 4} else 2) for record in inputs]
    assert "input 0/4 was scored by sequence 1 after sequence 2" in verdict(inputs, scored).disordered


def test_one_sequence_under_two_versions_is_mixed(inputs: list[Record]) -> None:
    scored = [predicted(record) for record in inputs]
    other = json.loads(scored[3].value or b"") | {"version": "9"}
    scored[3] = replace(scored[3], value=json.dumps(other).encode())
    assert verdict(inputs, scored).mixed == ("sequence 1 is called version 1 and 9",)


def test_nothing_is_proved_when_the_input_is_not_what_was_sent(inputs: list[Record]) -> None:
    with pytest.raises(Inconclusive, match="7 records were sent"):
        judge(TOPIC, inputs, [], sent=7)
    with pytest.raises(Inconclusive, match="identity"):
        judge(TOPIC, [*inputs, replace(inputs[0], offset=6)], [], sent=7)


def test_a_dead_letter_without_its_lineage_is_not_one(inputs: list[Record]) -> None:
    with pytest.raises(ValueError, match="does not tell its"):
        dead_letter_outcome(inputs[0])
