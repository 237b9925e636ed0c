"""Dead letters and replays in words."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime

from scoring.contract.clock import length_text, rfc3339
from scoring.contract.replay import Note, note_key
from scoring.letters.letter import Letter
from scoring.letters.replaying import MAXIMUM_REPLAYS, Fate, Order, Summary


def list_lines(letters: Sequence[Letter], now: datetime, notes: AbstractSet[bytes] | None) -> Iterator[str]:
    """Two lines for each letter: when and where, and why. Places are PARTITION:OFFSET.

    Args:
        notes: the keys of the notes of those that were put back (``replay.note_key``); None where nobody can tell.
    """
    rows = [_row(letter, now, notes) for letter in letters]
    headings = ("made at (UTC)", "ago", "place", "origin", "version", "back", "reason")
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    yield _in_columns(headings, widths)
    for letter, row in zip(letters, rows, strict=True):
        yield _in_columns(row, widths)
        yield f"    {letter.told.detail}{_replays(letter)}"


def count_lines(counts: Counter[str]) -> Iterator[str]:
    """How many there are in all, and of each reason."""
    yield f"{counts.total():,} dead letters"
    for reason, count in counts.most_common():
        yield f"  {count:>9,}  {reason}"


def is_put_back(letter: Letter, notes: AbstractSet[bytes] | None) -> bool | None:
    """Whether there is a note of a letter; None where nobody can tell."""
    return None if notes is None else note_key(letter.told.model, letter.place) in notes


def _row(letter: Letter, now: datetime, notes: AbstractSet[bytes] | None) -> tuple[str, ...]:
    told, place = letter.told, letter.place
    return (
        rfc3339(told.at.replace(microsecond=0)),
        length_text((now - told.at).total_seconds()),
        f"{place.partition}:{place.offset}",
        f"{told.origin.partition}:{told.origin.offset}",
        told.version,
        {None: "?", True: "yes", False: "no"}[is_put_back(letter, notes)],
        told.reason.value,
    )


def _in_columns(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _replays(letter: Letter) -> str:
    return f" (replayed {letter.replays} times before)" if letter.replays else ""


def letter_lines(letter: Letter, shown: Mapping[str, object], now: datetime) -> Iterator[str]:
    """A letter in lines.

    Args:
        shown: its summary, with ``put_back``, and ``record`` or ``gone`` where its content was asked for.
    """
    told, origin = letter.told, letter.told.origin
    yield f"{told.reason.value}: {told.detail}"
    yield f"  from {origin.topic}, partition {origin.partition}, offset {origin.offset} (topic id {origin.topic_id})"
    when = f"{rfc3339(told.at)}, {length_text((now - told.at).total_seconds())} ago"
    yield f"  refused by {told.model} version {told.version}, sequence {told.sequence}, at {when}"
    yield f"  its value has {letter.size_bytes:,} bytes{', stored by reference' if letter.reference else ''}"
    if letter.replayed is not None:
        before = letter.replayed.letter
        yield f"  replay {letter.replays} of the dead letter {before.partition}:{before.offset}, which failed again"
    yield f"  {_put_back(shown.get('put_back'))}"
    if "gone" in shown:
        yield f"  the record is gone: {shown['gone']}"
    record = shown.get("record")
    if isinstance(record, Mapping):
        yield from _content_lines(record)


def _put_back(note: object) -> str:
    match note:
        case Note():
            return f"it was put back at {rfc3339(note.at)} by {note.actor}: {note.why}"
        case str():
            return note
        case True:
            return "a note in baton.replays holds it back, and no replay wrote that note; find out who did"
        case _:
            return "it was not put back; `baton dead-letters replay` does that"


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
    Fate.NOTHING_THERE: "were asked for and are not there",
    Fate.TOO_LARGE: "are too large for the input topic",
    Fate.FORGED: "claim what no worker writes and are left alone; find out who wrote them",
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
