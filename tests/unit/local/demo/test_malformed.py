import json

import pytest

from local.demo.malformed import malformed_records
from scoring.contract.features import FeatureSchema, Field, FieldType, Number
from scoring.scorer.decode import Decoder

SCHEMA = FeatureSchema(
    key="flight_id",
    event_time="departure",
    fields=(
        Field(name="flight_id", type=FieldType.STRING, required=True),
        Field(name="carrier", type=FieldType.STRING, required=True),
        Field(name="departure", type=FieldType.TIME, required=True),
        Field(name="distance", type=FieldType.NUMBER),
    ),
    features=(Number(name="distance", of="distance"),),
)
SOUND = json.dumps(
    {"flight_id": "f1", "carrier": "UA", "departure": "2013-05-31T23:59:00Z", "distance": 1400.0}
).encode()


def test_the_record_that_they_are_made_from_decodes() -> None:
    assert Decoder(SCHEMA.fields).decode([SOUND]).failures == []


def test_every_malformed_record_fails_for_a_reason_that_is_named_beforehand() -> None:
    records = malformed_records(SOUND, SCHEMA)
    decoded = Decoder(SCHEMA.fields).decode([record.message.value for record in records])
    assert decoded.rows == []
    reasons = {failure.index: failure.reason.value for failure in decoded.failures}
    assert {record.name: reasons[n] in record.reasons for n, record in enumerate(records)} == {
        record.name: True for record in records
    }


def test_each_has_a_name_and_a_key_of_its_own() -> None:
    records = malformed_records(SOUND, SCHEMA)
    assert len({record.name for record in records}) == len({record.message.key for record in records}) == 12


def test_a_record_without_a_number_cannot_be_damaged() -> None:
    with pytest.raises(ValueError, match="no required field and number"):
        malformed_records(json.dumps({"flight_id": "f1"}).encode(), SCHEMA)
