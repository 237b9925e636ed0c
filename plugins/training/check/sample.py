"""A sample of the sources as a database of its own, from which the pipeline pulls as it would from the real one."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import sqlalchemy as sa

from scoring.contract.clock import from_epoch_s
from scoring.contract.encoder import Column
from scoring.contract.errors import ConfigurationError
from scoring.contract.features import FieldType
from scoring.contract.source import Source
from scoring.lookups.database import Engines, open_engine, reading, table_of
from scoring.lookups.rows import as_column
from training.check.findings import Finding, Level, Section
from training.check.outline import Outline
from training.definition import ModelDefinition
from training.definition import Source as DefinedSource
from training.validate import Suite, read_suite

CONNECTION = "baton_check_sample"
TABLE = "sample"
_ROW_LIMITS = ("min_value", "max_value", "value")
_SQL_TYPES: Mapping[FieldType, Any] = {
    FieldType.NUMBER: sa.Float(),
    FieldType.BOOLEAN: sa.Float(),
    FieldType.STRING: sa.Text(),
    FieldType.TIME: sa.DateTime(timezone=True),
}


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """A sample.

    Attributes:
        rows: of the source in the interval.
        every: one row of so many was taken.
        definition: the model with the sample as its source, and limits on rows that fit it.
        url: of the sample's database.
        findings: columns that do not hold what they are declared to hold; then nothing was written.
    """

    rows: int
    sampled: int
    every: int
    definition: ModelDefinition
    url: str
    findings: Sequence[Finding] = ()


def take(
    definition: ModelDefinition,
    engines: Engines,
    outline: Outline,
    folder: Path,
    start: datetime,
    end: datetime,
    most: int,
) -> Taken:
    """Copy at most ``most`` rows of ``[start, end)`` of the one table, evenly spread over it; 0 copies all.

    Raises:
        Unavailable: the database cannot be read now.
        ConfigurationError: it refuses the query.
    """
    kinds = definition.source_types
    (source,) = definition.all_sources
    with reading(engines.get(source.connection), f"source {source.title!r}") as connection:
        rows = int(connection.execute(_counting(definition, source, start, end)).scalar_one())
        every = every_of(rows, most)
        found = connection.execute(_sampling(definition, source, start, end, every)).fetchall()
    columns, findings = _typed(outline, kinds, found)
    if findings:
        return Taken(rows=rows, sampled=len(found), every=every, definition=definition, url="", findings=findings)
    return written(definition, folder, columns, rows, every)


def every_of(rows: int, most: int) -> int:
    """One row of how many is taken."""
    return max(1, math.ceil(rows / most)) if most else 1


def written(definition: ModelDefinition, folder: Path, columns: Mapping[str, Column], rows: int, every: int) -> Taken:
    """A sample as a database of its own.

    Args:
        columns: of the sample.
        rows: those that it stands for.
    """
    url = f"sqlite:///{folder / 'sample.db'}"
    _write(url, definition.source_types, columns)
    source = DefinedSource(connection=CONNECTION, table=TABLE)
    changed = msgspec.structs.replace(definition, source=source, sources=())
    if every > 1:
        changed = _relaxed(changed, folder, every)
    sampled = len(columns[definition.key])
    return Taken(rows=rows, sampled=sampled, every=every, definition=changed, url=url)


def _counting(definition: ModelDefinition, source: Source, start: datetime, end: datetime) -> sa.Select[Any]:
    column = dict(source.columns)[definition.event_time]
    table = table_of(source.table, {column: FieldType.TIME})
    return sa.select(sa.func.count()).select_from(table).where(table.c[column] >= start, table.c[column] < end)


def _sampling(
    definition: ModelDefinition, source: Source, start: datetime, end: datetime, every: int
) -> sa.Select[Any]:
    kinds, columns = definition.source_types, dict(source.columns)
    names = {name: columns[name] for name in kinds}
    table = table_of(source.table, {column: kinds[name] for name, column in names.items()})
    moment, key = table.c[names[definition.event_time]], table.c[names[definition.key]]
    place = sa.func.row_number().over(order_by=[moment, key]).label("place")
    chosen = [table.c[column].label(f"c{number}") for number, column in enumerate(names.values())]
    inner = sa.select(*chosen, place).where(moment >= start, moment < end).subquery()
    return sa.select(*list(inner.c)[:-1]).where(inner.c.place % every == every // 2).order_by(inner.c.place)


def _typed(
    outline: Outline, kinds: Mapping[str, FieldType], rows: Sequence[Any]
) -> tuple[dict[str, Column], list[Finding]]:
    """The columns as they are declared, and a finding for each that holds something else."""
    columns: dict[str, Column] = {}
    findings: list[Finding] = []
    for name, values in zip(kinds, zip(*rows, strict=True) if rows else [()] * len(kinds), strict=True):
        try:
            columns[name] = as_column(kinds[name], values)
        except ConfigurationError as error:
            findings.append(_wrong(outline, name, kinds[name], str(error.__cause__)))
    return columns, findings


def _wrong(outline: Outline, name: str, kind: FieldType, cause: str) -> Finding:
    return Finding(
        section=Section.SOURCE,
        level=Level.ERROR,
        about=name,
        sentence=f"{name!r} is declared as {kind.value}, but its column holds something else: {cause}",
        remedy="declare it as what it is, or convert it in a view",
        file=outline.file,
        line=outline.line_of_column(name),
    )


def _write(url: str, kinds: Mapping[str, FieldType], columns: Mapping[str, Column]) -> None:
    table = sa.Table(TABLE, sa.MetaData(), *(sa.Column(name, _SQL_TYPES[kinds[name]]) for name in columns))
    values = [_stored(kinds[name], column) for name, column in columns.items()]
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]
    engine = open_engine(url)
    with engine.begin() as connection:
        table.create(connection)
        if rows:
            connection.execute(sa.insert(table), rows)
    engine.dispose()


def _stored(kind: FieldType, column: Column) -> list[Any]:
    if kind is FieldType.STRING:
        return list(column)
    floats = np.asarray(column, dtype=np.float64)
    numbers = [None if gone else value for value, gone in zip(floats.tolist(), np.isnan(floats).tolist(), strict=True)]
    if kind is FieldType.TIME:
        return [None if value is None else from_epoch_s(value) for value in numbers]
    return numbers


def _relaxed(definition: ModelDefinition, folder: Path, every: int) -> ModelDefinition:
    """Limits that are numbers of rows, divided by what was left out."""
    gates = definition.gates
    fewer = {name: max(1, getattr(gates, name) // every) for name in ("minimum_rows", "slice_rows")}
    changed = msgspec.structs.replace(definition, gates=msgspec.structs.replace(gates, **fewer))
    try:
        suite = read_suite(Path(definition.suite or ""))
    except (OSError, msgspec.MsgspecError):  # the step that reads it says so
        return changed
    path = folder / "suite.json"
    path.write_bytes(msgspec.json.encode(_fewer(suite, every)))
    return msgspec.structs.replace(changed, suite=str(path))


def _fewer(suite: Suite, every: int) -> Suite:
    rules = [
        msgspec.structs.replace(
            rule,
            kwargs={
                name: max(1, value // every) if name in _ROW_LIMITS and isinstance(value, int) else value
                for name, value in rule.kwargs.items()
            },
        )
        if rule.type.startswith("expect_table_row_count")
        else rule
        for rule in suite.expectations
    ]
    return msgspec.structs.replace(suite, expectations=tuple(rules))
