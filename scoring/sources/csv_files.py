"""Rows of CSV files, typed by the fields that are declared for them. The first line names the columns."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyarrow import csv

from scoring.contract.encoder import Column
from scoring.contract.errors import ConfigurationError
from scoring.contract.source import Files
from scoring.sources.port import Pull
from scoring.sources.texts import from_text

BLOCK_BYTES = 8 * 2**20


def read_csv(pull: Pull, file: Any, files: Files, where: str) -> Iterator[dict[str, Column]]:
    """The fields of all rows of a file, block by block. Messages count rows from 1, without the line of names.

    Args:
        file: open for reading bytes.
        files: how values and times are written.
        where: names source and file in messages.

    Raises:
        ConfigurationError: a column is not there, a line has too few values, or a value is not of its field's type.
    """
    columns, zone = dict(pull.source.columns), files.zone
    row = 1
    for block in _blocks(file, sorted(set(columns.values())), files.delimiter, where):
        yield {
            field: from_text(block.column(columns[field]), kind, f"{where}, column {columns[field]!r}", row, zone)
            for field, kind in pull.fields.items()
        }
        row += block.num_rows


def _blocks(file: Any, wanted: list[str], delimiter: str, where: str) -> Iterator[Any]:
    """Every value stays a text: Arrow is to guess no type."""
    options = csv.ConvertOptions(
        include_columns=wanted,
        column_types=dict.fromkeys(wanted, pa.string()),
        strings_can_be_null=True,
        null_values=[""],
        quoted_strings_can_be_null=False,
    )
    parse = csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    read = csv.ReadOptions(block_size=BLOCK_BYTES)
    try:
        yield from csv.open_csv(file, read_options=read, parse_options=parse, convert_options=options)
    except KeyError as error:
        raise ConfigurationError(f"{where}: {_message(error)}; its first line must name the columns") from error
    except pa.ArrowInvalid as error:
        raise ConfigurationError(f"{where}: it cannot be read as CSV: {_message(error)}") from error


def _message(error: Exception) -> str:
    return str(error.args[0] if error.args else error)
