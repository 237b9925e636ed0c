"""Dead letters and replays in words."""

from collections.abc import Iterator, Mapping

from scoring.contract.clock import rfc3339
from scoring.letters.letter import Letter
from scoring.letters.replaying import MAXIMUM_REPLAYS, Fate, Order, Summary


def row_of(letter: Letter) -> tuple[str, ...]:
    """When it was made, its place, reason, version, origin, how often it was replayed, and the detail."""
    told, place = letter.told, letter.place
    return (
        rfc3339(told.at),
        f"{place.partition}:{place.offset}",
        told.reason.value,
        told.version,
        f"{told.origin.partition}:{told.origin.offset}",
        str(letter.replays),
        told.detail,
    )


def letter_lines(letter: Letter, shown: Mapping[str, object]) -> Iterator[str]:
    """A letter in lines; ``shown`` is its summary, with ``record`` or ``gone`` where its content was asked for."""
    told, origin = letter.told, letter.told.origin
    yield f"{told.reason.value}: {told.detail}"
    yield f"  from {origin.topic}, partition {origin.partition}, offset {origin.offset} (topic id {origin.topic_id})"
    yield f"  refused by {told.model} version {told.version}, sequence {told.sequence}, at {rfc3339(told.at)}"
    yield f"  its value has {letter.size_bytes:,} bytes{', stored by reference' if letter.reference else ''}"
    if letter.replayed is not None:
        before = letter.replayed.letter
        yield f"  replay {letter.replays} of the dead letter {before.partition}:{before.offset}, which failed again"
    if "gone" in shown:
        yield f"  the record is gone: {shown['gone']}"
    record = shown.get("record")
    if isinstance(record, Mapping):
        yield from _content_lines(record)


def _content_lines(record: Mapping[str, object]) -> Iterator[str]:
    for name in ("key", "value", "reference"):
        if name in record:
            yield f"  {name}: {'null' if record[name] is None else record[name]}"
    headers = record.get("headers")
    for header in headers if isinstance(headers, list) else ():
        yield f"  header {header['name']}: {'null' if header['value'] is None else header['value']}"


_FATES = {
    Fate.ALREADY: "were put back before",
    Fate.TOO_OFTEN: f"were replayed {MAXIMUM_REPLAYS} times and failed each time; --again takes them too",
    Fate.GONE: "are gone",
    Fate.TOO_LARGE: "are too large for the input topic",
    Fate.NO_PARTITION: "came from a partition that the input topic does not have any more",
}


def summary_lines(done: Summary, order: Order, verb: str) -> Iterator[str]:
    """What was, or would be, put back, by reason; and what not, with a few examples."""
    yield f"{done.replayed} records {verb} into {order.input_topic}"
    for reason, count in sorted(done.fates.get(Fate.REPLAY.value, {}).items()):
        yield f"  {reason}: {count}"
    for fate, sentence in _FATES.items():
        count = sum(done.fates.get(fate.value, {}).values())
        if count:
            yield f"{count} {sentence}"
    for line in done.examples:
        yield f"  {line}"
