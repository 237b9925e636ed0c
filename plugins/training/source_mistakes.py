"""What is wrong with the sources of a model definition."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from training import sources

if TYPE_CHECKING:
    from training.definition import ModelDefinition


def source_mistakes(definition: "ModelDefinition") -> Iterator[str]:
    """Every mistake, a sentence each."""
    if definition.source is not None and definition.sources:
        yield "source and sources: give one of them; source is the short form for one table"
        return
    if not definition.declared_sources:
        yield "sources: there is none; give source=Source(connection, table) for one table, or a list of sources"
        return
    if definition.sources:
        yield from sources.mistakes(definition.sources, definition.source_types, definition.event_time)
        yield from _joined_late(definition)


def _joined_late(definition: "ModelDefinition") -> Iterator[str]:
    """What is known at the event must be found by what is known at the event."""
    late = {field.name for field in definition.fields if field.known_after_s > 0}
    known = {field.name for field in definition.known_fields}
    for each in definition.sources:
        join = each.place.join
        brought = [field for field in each.brings if field in known]
        for column, field in join.match if join is not None and brought else ():
            if field in late:
                yield (
                    f"source {each.place.title!r}: {brought[0]!r} is known at the event, but is found by {field!r}, "
                    f"which is known later (its column {column!r}); declare {brought[0]!r} with a known_after too"
                )


def columns_read(definition: "ModelDefinition", field: str) -> set[tuple[str, str]]:
    """The columns that a field or the label is read from: pairs of (title of the source, column)."""
    brought = {name for each in definition.declared_sources for name in each.brings}
    return {
        (each.place.title, each.columns.get(field, field))
        for each in definition.declared_sources
        if (field in each.brings if each.place.join is not None else field not in brought)
    }
