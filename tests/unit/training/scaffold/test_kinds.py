"""Types are guessed from values, however they are written."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from scoring.contract.clock import epoch_s
from scoring.contract.features import FieldType
from training.scaffold.kinds import OF_FILES, OF_TABLES, typed


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("miles", ["1", "2.5", "", "-3e2"], FieldType.NUMBER),
        ("miles", [1, None, 2.5], FieldType.NUMBER),
        ("zip", ["00123", "12345"], FieldType.STRING),
        ("paid", ["true", "False", "NA"], FieldType.BOOLEAN),
        ("paid", [True, None], FieldType.BOOLEAN),
        ("paid", ["0", "1"], FieldType.NUMBER),
        ("zone", ["a", "b", "1"], FieldType.STRING),
        ("placed", ["2025-01-31T10:00:00Z", "2025-02-01T10:00:00+01:00"], FieldType.TIME),
        ("placed", ["2025-01-31 10:00", ""], FieldType.TIME),
        ("placed", ["31.01.2025", "01.02.2025"], FieldType.TIME),
        ("placed", ["01/31/2025 10:00 PM", "02/01/2025 08:15 AM"], FieldType.TIME),
        ("placed_at", ["1738317600", "1738317601"], FieldType.TIME),
        ("placed_at", [1738317600123], FieldType.TIME),
        ("distance", ["1738317600"], FieldType.NUMBER),
        ("nothing", ["", None], FieldType.STRING),
    ],
)
def test_a_column_has_the_type_that_all_its_values_have(name: str, values: list[Any], kind: FieldType) -> None:
    assert typed(name, name, values, UTC).kind is kind


@pytest.mark.parametrize(
    ("name", "value", "zone", "expected"),
    [
        ("at", "2025-01-31T10:00:00+02:00", "UTC", datetime(2025, 1, 31, 8, tzinfo=UTC)),
        ("at", "2025-07-31 10:00:00", "Europe/Berlin", datetime(2025, 7, 31, 8, tzinfo=UTC)),
        ("at", "31.01.2025 10:00", "Europe/Berlin", datetime(2025, 1, 31, 9, tzinfo=UTC)),
        ("at", "1738317600", "Europe/Berlin", datetime(2025, 1, 31, 10, tzinfo=UTC)),
        ("at", "1738317600000", "UTC", datetime(2025, 1, 31, 10, tzinfo=UTC)),
    ],
)
def test_times_are_the_same_moment_however_they_are_written(
    name: str, value: str, zone: str, expected: datetime
) -> None:
    found = typed(name, name, [value], ZoneInfo(zone))
    assert np.asarray(found.values).tolist() == [epoch_s(expected)]


def test_days_and_months_are_told_apart_by_a_value_that_can_only_be_one_of_them() -> None:
    american = typed("day", "day", ["01/02/2025", "01/31/2025"], UTC)
    european = typed("day", "day", ["01/02/2025", "31/01/2025"], UTC)
    assert (american.written, european.written) == ("%m/%d/%Y", "%d/%m/%Y")


def test_a_table_is_read_as_it_is_so_only_what_a_database_reads_counts() -> None:
    assert typed("at", "at", ["31.01.2025"], UTC, forms=OF_TABLES).kind is FieldType.STRING
    assert typed("paid", "paid", ["yes", "no"], UTC, forms=OF_TABLES).kind is FieldType.STRING
    assert typed("at", "at", ["2025-01-31 10:00:00"], UTC, forms=OF_TABLES).kind is FieldType.TIME
    assert typed("at", "at", ["1735689600"], UTC, forms=OF_FILES).kind is FieldType.TIME
    assert typed("paid", "paid", ["true", "false"], UTC, forms=OF_FILES).kind is FieldType.BOOLEAN
    assert typed("paid", "paid", ["yes", "no"], UTC, forms=OF_FILES).kind is FieldType.STRING


def test_missing_values_are_counted_and_no_value_of_their_own() -> None:
    found = typed("zone", "zone", ["a", "", "NA", "b"], UTC)
    assert (found.gone, found.there, found.different) == (0.5, ["a", "b"], 2)
