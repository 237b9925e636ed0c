"""A file as a table of a SQLite database of its own: a definition's source is a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from scoring.contract.clock import from_epoch_s
from scoring.contract.features import FieldType
from scoring.lookups.database import open_engine
from training.rows import missing
from training.scaffold.kinds import Typed

_TYPES: Mapping[FieldType, Any] = {
    FieldType.BOOLEAN: sa.Boolean(),
    FieldType.STRING: sa.Text(),
    FieldType.TIME: sa.DateTime(timezone=True),
}


def url_of(path: Path) -> str:
    """The SQLAlchemy URL of a SQLite file."""
    return f"sqlite:///{path.resolve()}"


def fill(path: Path, table: str, columns: Sequence[Typed]) -> None:
    """Write the columns as a table, each under the name of its field, in place of an older file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    made = sa.Table(table, sa.MetaData(), *(sa.Column(each.name, _type(each)) for each in columns))
    values = [_values(each) for each in columns]
    engine = open_engine(f"sqlite:///{partial}")
    with engine.begin() as connection:
        made.create(connection)
        names = [each.name for each in columns]
        connection.execute(sa.insert(made), [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)])
    engine.dispose()
    partial.replace(path)


def _type(column: Typed) -> Any:
    if column.kind is FieldType.NUMBER:
        return sa.Integer() if _whole(column) else sa.Float()
    return _TYPES[column.kind]


def _whole(column: Typed) -> bool:
    return all(float(value).is_integer() and abs(value) < 2**53 for value in column.there)


def _values(column: Typed) -> list[Any]:
    if column.kind is FieldType.STRING:
        return list(column.values)
    floats = np.asarray(column.values, dtype=np.float64)
    make: Any = {FieldType.BOOLEAN: bool, FieldType.TIME: from_epoch_s}.get(column.kind)
    make = make or (int if _whole(column) else float)
    gone = missing(floats)
    return [None if lacks else make(value) for value, lacks in zip(floats.tolist(), gone.tolist(), strict=True)]
