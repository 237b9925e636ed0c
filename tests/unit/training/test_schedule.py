import pytest

from scoring.contract.errors import ConfigurationError
from tests.support.training import definition
from training.schedule import schedule_mistakes


@pytest.mark.parametrize("schedule", [None, "@monthly", "@quarterly", "@weekly", "0 6 * * 1", "0 0 1 */3 *"])
def test_a_schedule_that_airflow_makes_intervals_of_is_no_mistake(schedule: str | None) -> None:
    assert list(schedule_mistakes(schedule)) == []


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        ("0 0 * *", "Exactly 5, 6 or 7 columns"),
        ("61 * * * *", "out of range"),
        ("0 0 30 2 *", "failed to find next date"),
        ("0 0 * * * * *", "more than six fields"),
        ("@once", "columns"),
        ("", "columns"),
        (3600, "it is no text"),
    ],
)
def test_any_other_is_told_with_its_text_the_reason_and_what_to_write(schedule: object, why: str) -> None:
    (sentence,) = schedule_mistakes(schedule)
    assert f"schedule: {schedule!r} cannot be read" in sentence
    assert why in sentence
    assert 'such as "0 6 * * 1"' in sentence


def test_a_definition_with_such_a_schedule_is_refused_with_all_its_other_mistakes() -> None:
    with pytest.raises(ConfigurationError, match=r"(?s)schedule: '0 0 \* \*' cannot be read.*partitions: 0"):
        definition(schedule="0 0 * *", partitions=0)
