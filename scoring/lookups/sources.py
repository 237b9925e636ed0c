"""Several sources of looked-up values as one: each answers the lookups that it knows."""

from collections.abc import Callable

from scoring.contract.encoder import Column, Columns
from scoring.contract.features import FeatureSchema, TableLookup
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


class Late:
    """A ``LookupSource`` that is made when a lookup of its kind is first met: a worker without one starts sooner.

    Args:
        kind: the lookups that it answers.
        make: makes the source.
    """

    def __init__(self, kind: type[TableLookup], make: Callable[[], LookupSource]) -> None:
        self._kind = kind
        self._make = make
        self._made: LookupSource | None = None

    def resolve(self, schema: FeatureSchema, columns: Columns, rows: int) -> dict[str, Column]:
        """See ``LookupSource``."""
        if self._made is None:
            if not any(isinstance(lookup, self._kind) for lookup in schema.lookups):
                return {}
            self._made = self._make()
        return self._made.resolve(schema, columns, rows)
