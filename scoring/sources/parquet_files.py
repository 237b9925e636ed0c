"""Rows of Parquet files: only the columns that are wanted, and only the row groups that can hold the interval."""

from collections.abc import Iterator
from datetime import timedelta, tzinfo
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from scoring.contract.clock import epoch_s
from scoring.contract.encoder import Column, Floats
from scoring.contract.errors import ConfigurationError
from scoring.contract.features import FieldType
from scoring.sources.port import Pull
from scoring.sources.texts import from_text

BATCH_ROWS = 65_536
_ONE_US = 1e6
_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
# Whole numbers besides: numbers, classes as text, 0 and 1, seconds since 1970.
_FORMS = {
    FieldType.NUMBER: (pa.types.is_floating, pa.types.is_decimal),
    FieldType.STRING: (*_TEXTS, pa.types.is_boolean),
    FieldType.BOOLEAN: (pa.types.is_boolean,),
    FieldType.TIME: (*_TEXTS, pa.types.is_date, pa.types.is_timestamp, pa.types.is_floating),
}


def read_parquet(
    pull: Pull, storage: Any, path: str, where: str, zone: tzinfo | None = None
) -> Iterator[dict[str, Column]]:
    """The fields of rows of a file, batch by batch; of those outside the interval some may come as well.

    Args:
        storage: the fsspec file system that has the file.
        where: names source and file in messages.
        zone: of times without one.

    Raises:
        ConfigurationError: it is no Parquet, or a column is not there or of another type.
    """
    columns = dict(pull.source.columns)
    try:
        found = ds.dataset(path, filesystem=storage, format="parquet")
        _check(pull, found.schema, where)
        row = 1
        for batch in found.to_batches(
            columns=sorted(set(columns.values())), filter=_pushed_down(pull, found.schema, zone), batch_size=BATCH_ROWS
        ):
            yield {
                field: _column(batch.column(columns[field]), kind, f"{where}, column {columns[field]!r}", row, zone)
                for field, kind in pull.fields.items()
            }
            row += batch.num_rows
    except pa.ArrowInvalid as error:
        raise ConfigurationError(f"{where}: it cannot be read as Parquet: {error}") from error


def count_parquet(pull: Pull, storage: Any, path: str, where: str, zone: tzinfo | None = None) -> int:
    """How many rows of a file lie in the interval, or right beside it; all where its times are written as text.

    Args:
        storage, where, zone: as ``read_parquet`` takes them.
    """
    found = ds.dataset(path, filesystem=storage, format="parquet")
    _check(pull, found.schema, where)
    return int(found.count_rows(filter=_pushed_down(pull, found.schema, zone)))


def _check(pull: Pull, schema: Any, where: str) -> None:
    """All columns that are not there or cannot be what they are declared to be, at once."""
    wrong = []
    for field, column in pull.source.columns:
        places = schema.get_all_field_indices(column)
        if len(places) != 1:
            wrong.append(f"column {column!r} is {'there twice' if places else 'not there'}")
        elif not _can_be(schema.field(places[0]).type, pull.kinds[field]):
            wrong.append(f"column {column!r} is {schema.field(places[0]).type}, not {pull.kinds[field].value}")
    if wrong:
        raise ConfigurationError(f"{where}: {'; '.join(wrong)}")


def _can_be(stored: Any, kind: FieldType) -> bool:
    stored = stored.value_type if pa.types.is_dictionary(stored) else stored
    return any(is_form(stored) for is_form in (pa.types.is_integer, *_FORMS[kind]))


def _is_text(stored: Any) -> bool:
    return any(is_form(stored) for is_form in _TEXTS)


def _is_naive(stored: Any) -> bool:
    return pa.types.is_date(stored) or (pa.types.is_timestamp(stored) and stored.tz is None)


def _pushed_down(pull: Pull, schema: Any, zone: tzinfo | None) -> Any:
    """What Parquet's statistics can leave out; the bounds are a second wide of the interval, for all units of time.

    Times in a zone that is stated beside the file lie up to a day beside what is written in it.
    """
    column = pull.time_column
    if column is None:
        return None
    stored, moment = schema.field(column).type, ds.field(column)
    beside = timedelta(seconds=1) if zone is None else timedelta(days=1, seconds=1)
    start, end = pull.start - beside, pull.end + beside
    if pa.types.is_timestamp(stored):
        low, high = (
            pa.scalar(bound, pa.timestamp("us", tz="UTC")).cast(pa.timestamp(stored.unit, tz="UTC"), safe=False)
            for bound in (start, end)
        )
        zone = pa.timestamp(stored.unit, tz=stored.tz)
        return (moment >= low.cast(zone)) & (moment <= high.cast(zone))
    if pa.types.is_integer(stored) or pa.types.is_floating(stored):
        return (moment >= int(epoch_s(start))) & (moment <= int(epoch_s(end)))
    return None


def _column(stored: Any, kind: FieldType, what: str, row: int, zone: tzinfo | None) -> Column:
    if pa.types.is_dictionary(stored.type):
        stored = stored.dictionary_decode()
    if kind is FieldType.STRING:
        return [None if value is None else str(value) for value in stored.to_pylist()]
    if kind is FieldType.TIME:
        return _times(stored, what, row, zone)
    return _floats(stored)


def _times(stored: Any, what: str, row: int, zone: tzinfo | None) -> Column:
    """Seconds since 1970; a time without a zone is UTC, as it is in a database, where no other zone is stated."""
    if _is_text(stored.type):
        return from_text(stored.cast(pa.string()), FieldType.TIME, what, row, zone)
    if zone is not None and _is_naive(stored.type):
        written = pc.strftime(stored.cast(pa.timestamp("us"), safe=False), "%Y-%m-%dT%H:%M:%S")
        return from_text(written, FieldType.TIME, what, row, zone)
    if pa.types.is_date(stored.type) or pa.types.is_timestamp(stored.type):
        return _floats(stored.cast(pa.timestamp("us"), safe=False).cast(pa.int64())) / _ONE_US
    return _floats(stored)


def _floats(stored: Any) -> Floats:
    """Infinity is a missing value: no JSON record can carry it."""
    values = pc.cast(stored, pa.int8()) if pa.types.is_boolean(stored.type) else stored
    numbers = np.array(pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
    return np.where(np.isinf(numbers), np.nan, numbers)
