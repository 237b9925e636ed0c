"""Where each field comes from: a field of the same name may have been another column, or brought in another way."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from scoring.contract.source import Source


class Origin(NamedTuple):
    """One place that a field is read from.

    Attributes:
        place: without what else is read there.
        column: of the source.
        through: for a joined field, the origins of what it is joined by, the event time among them.
    """

    place: Source
    column: str
    through: tuple[frozenset["Origin"], ...] = ()


Origins = Mapping[str, frozenset[Origin]]


def origins_of(sources: Iterable[Source], event_time: str) -> Origins:
    """The origins by field; a field of records that several sources hold has several."""
    listed = [*sources]
    found = _gathered((source, ()) for source in listed if source.join is None)
    joined = ((source, _through(source, found, event_time)) for source in listed if source.join is not None)
    return {**found, **_gathered(joined)}


def _through(source: Source, bases: Origins, event_time: str) -> tuple[frozenset[Origin], ...]:
    join = source.join
    if join is None:
        return ()
    fields = [field for _, field in join.match] + ([] if join.valid_at is None else [event_time])
    return tuple(bases.get(field, frozenset()) for field in fields)


def _gathered(sources: Iterable[tuple[Source, tuple[frozenset[Origin], ...]]]) -> dict[str, frozenset[Origin]]:
    found = defaultdict(set)
    for source, through in sources:
        for field, column in source.columns:
            found[field].add(Origin(source.place, column, through))
    return {field: frozenset(each) for field, each in found.items()}


def places_of_records(sources: Iterable[Source]) -> frozenset[Source]:
    """Where the records themselves are."""
    return frozenset(source.place for source in sources if source.join is None)
