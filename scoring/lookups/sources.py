"""Several sources of looked-up values as one: each answers the lookups that it knows."""

from scoring.contract.encoder import Column, Columns
from scoring.contract.features import FeatureSchema
from scoring.lookups.port import LookupSource


class Sources:
    """A ``LookupSource`` over others."""

    def __init__(self, *sources: LookupSource) -> None:
        self._sources = sources

    def resolve(self, schema: FeatureSchema, columns: Columns, rows: int) -> dict[str, Column]:
        """The looked-up columns of all of them (see ``LookupSource``)."""
        found: dict[str, Column] = {}
        for source in self._sources if schema.lookups else ():
            found.update(source.resolve(schema, columns, rows))
        return found
