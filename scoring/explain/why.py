"""Why a version was live for a record: the ledger's entry, and the swaps around it."""

from collections.abc import Iterator, Sequence

from scoring.contract.acknowledgement import Acknowledgement, Outcome, Position
from scoring.explain.explanation import Swap, Why
from scoring.promotion.entry import LedgerEntry


def why_live(
    place: Position,
    sequence: int,
    version: str,
    digest: str | None,
    entries: Sequence[LedgerEntry] | None,
    acknowledgements: Sequence[Acknowledgement] | None,
) -> Why:
    """Why ``version`` was live when the record at ``place`` was scored.

    Args:
        digest: of the manifest; None where nobody knows.
        entries: of the model; None where the ledger could not be read.
        acknowledgements: of the model; None where they could not be read.
    """
    by_sequence = {entry.sequence: entry for entry in entries or ()}
    entry = by_sequence.get(sequence)
    swaps = sorted(_swaps(place, acknowledgements or ()), key=lambda swap: (swap.offset, swap.sequence))
    swap = next((each for each in reversed(swaps) if each.sequence == sequence and each.records >= 0), None)
    following = next((each for each in swaps if each.sequence > sequence and each.records < 0), None)
    around = [each for each in (swap, following) if each is not None]
    problems = [
        *(_of_entry(entry, sequence, version, digest, max(by_sequence, default=0)) if entries is not None else ()),
        *(_of_swaps(swaps, sequence, place) if acknowledgements is not None else ()),
    ]
    return Why(
        entry=entry,
        replaced_by=by_sequence.get(sequence + 1),
        swap=swap,
        next_swap=following,
        nearest=min(around, key=lambda each: abs(each.records), default=None),
        problems=tuple(problems),
    )


def _swaps(place: Position, acknowledgements: Sequence[Acknowledgement]) -> Iterator[Swap]:
    """The swaps on the record's partition."""
    for each in acknowledgements:
        for position in each.positions if each.outcome is Outcome.LIVE else ():
            if (position.topic_id, position.partition) == (place.topic_id, place.partition):
                yield Swap(
                    sequence=each.sequence,
                    version=each.version,
                    worker=each.worker,
                    at=each.at,
                    partition=position.partition,
                    offset=position.offset,
                    records=place.offset - position.offset,
                )


def _of_entry(entry: LedgerEntry | None, sequence: int, version: str, digest: str | None, newest: int) -> Iterator[str]:
    if entry is None and sequence > newest:
        ends = f"ends at sequence {newest}" if newest else "has no entry of the model"
        yield (
            f"the ledger has no sequence {sequence}, it {ends}: its database was restored from an older copy, or "
            "BATON_LEDGER_URL names another ledger than the one that the worker followed"
        )
    elif entry is None:
        yield f"the ledger has no sequence {sequence}: it is another ledger than the one that the worker followed"
    elif entry.version != version or (digest is not None and entry.manifest_digest != digest):
        yield (
            f"the ledger's sequence {sequence} is version {entry.version} with the manifest {entry.manifest_digest}; "
            f"the record met version {version} with the manifest {digest or 'unknown'}"
        )


def _of_swaps(swaps: Sequence[Swap], sequence: int, place: Position) -> Iterator[str]:
    """A newer sequence was live on the partition before the record, and an older one scored it all the same."""
    newer = [swap for swap in swaps if swap.sequence > sequence and swap.records >= 0]
    if newer:
        yield (
            f"{newer[0].worker} had swapped to sequence {newer[0].sequence} at offset {newer[0].offset} of partition "
            f"{place.partition}, and yet sequence {sequence} met the record"
        )
