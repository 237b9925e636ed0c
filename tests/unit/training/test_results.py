from datetime import UTC, datetime

import msgspec
import pytest

from tests.support.training import END, request
from training.results import RunRequest, SnapshotRef, from_json, to_json


def test_a_request_survives_json() -> None:
    asked = request(effective_from=END, reason="because")
    assert from_json(RunRequest, msgspec.json.decode(msgspec.json.encode(to_json(asked)))) == asked


def test_nothing_stays_nothing() -> None:
    assert to_json(None) is None


def test_something_else_is_not_taken_for_a_result() -> None:
    with pytest.raises(msgspec.ValidationError):
        from_json(SnapshotRef, {"path": "x"})


@pytest.mark.parametrize(
    ("effective_from", "known_by"),
    [
        (None, datetime(2024, 4, 3, tzinfo=UTC)),
        (END, END),
        (datetime(2030, 1, 1, tzinfo=UTC), datetime(2024, 4, 3, tzinfo=UTC)),
    ],
    ids=["now", "a replay of the past", "announced for the future"],
)
def test_labels_count_that_were_known_when_the_version_begins_to_count(
    effective_from: datetime | None, known_by: datetime
) -> None:
    assert request(effective_from=effective_from).labels_known_by == known_by
