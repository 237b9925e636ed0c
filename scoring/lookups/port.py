"""What a worker needs of a source of looked-up values."""

from typing import Protocol

from scoring.contract.encoder import Column, Columns
from scoring.contract.features import FeatureSchema


class LookupSource(Protocol):
    """Resolves the lookups of a schema for the records of a micro-batch."""

    def resolve(self, schema: FeatureSchema, columns: Columns, rows: int) -> dict[str, Column]:
        """The looked-up columns by ``lookup.field``, each of length ``rows``: float64 (missing NaN), or str or None.

        Args:
            columns: the fields of the records by name, as the encoder takes them.

        Raises:
            Unavailable: the source cannot be reached now; nothing was cached, call again.
        """
