"""Read: the records of a chunk from the sources that a bundle names, in an order of their own."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scoring.backfill.refusals import BackfillRefused
from scoring.contract.clock import rfc3339
from scoring.contract.encoder import Column, Columns
from scoring.contract.features import FieldType
from scoring.contract.manifest import Manifest
from scoring.sources.joined import assemble, plan
from scoring.sources.port import Pull, Reader
from scoring.sources.staged import zeros_apart

MAXIMUM_ROWS = 500_000
"""Of a chunk: it is in memory as a whole."""


class SourceRecords:
    """Reads the records of the sources of bundles.

    A joined source without a time of its own is read once: what it has is the same for every chunk.

    Args:
        start, end: of the whole backfill.
    """

    def __init__(self, reader: Reader, start: datetime, end: datetime) -> None:
        self._reader = reader
        self._whole = {"start": start, "end": end}
        self._timeless: dict[bytes, dict[str, Column]] = {}

    def read(self, manifest: Manifest, start: datetime, end: datetime) -> dict[str, Column]:
        """The fields of the records with an event in ``[start, end)``, by event time and then by all fields.

        Raises:
            Unavailable: a source cannot be read now.
            ConfigurationError: a connection, table or column is unknown, or of another type.
            BackfillRefused: there are more than fit into one chunk.
        """
        schema = manifest.schema
        kinds = {field.name: field.type for field in schema.fields}
        pulls = plan(manifest.sources, kinds, schema.event_time, start, end)
        columns = assemble(manifest.sources, pulls, [self._read(pull) for pull in pulls])
        rows = len(columns[schema.event_time])
        if rows > MAXIMUM_ROWS:
            raise BackfillRefused(
                f"{manifest.model}: {rows:,} records from {rfc3339(start)} to {rfc3339(end)} are too many for one "
                f"chunk, {MAXIMUM_ROWS:,} fit; ask for shorter ones with --chunk"
            )
        return in_order(columns, kinds, (schema.event_time, schema.key))

    def _read(self, pull: Pull) -> dict[str, Column]:
        if pull.event_time is not None:
            return self._reader.read(pull)
        key = msgspec.json.encode(pull.source, order="deterministic")
        if key not in self._timeless:
            self._timeless[key] = self._reader.read(msgspec.structs.replace(pull, **self._whole))
        return self._timeless[key]


def in_order(columns: Columns, kinds: Mapping[str, FieldType], first: tuple[str, ...]) -> dict[str, Column]:
    """The rows in an order that does not depend on the one that they came in: by ``first``, then by all columns."""
    apart = zeros_apart({name: columns[name] for name in sorted(columns)})
    names = [*dict.fromkeys((*first, *apart))]
    table = pa.table({str(place): _sortable(apart[name], kinds[name]) for place, name in enumerate(names)})
    places = pc.sort_indices(table, [(str(place), "ascending") for place in range(len(names))]).to_numpy()
    if np.array_equal(places, np.arange(len(places))):  # as most sources give them
        return apart
    return {name: _taken(column, places) for name, column in apart.items()}


def _sortable(column: Column, kind: FieldType) -> Any:
    if kind is not FieldType.STRING:
        return pa.array(np.asarray(column, dtype=np.float64))
    try:
        return pa.array(column, pa.binary())
    except UnicodeEncodeError:  # half of a surrogate pair
        texts = [None if text is None else text.encode("utf-8", "surrogatepass") for text in column]
        return pa.array(texts, pa.binary())


def _taken(column: Column, places: Any) -> Column:
    return column[places] if isinstance(column, np.ndarray) else [column[place] for place in places.tolist()]
