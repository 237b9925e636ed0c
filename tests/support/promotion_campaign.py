"""What a campaign of the promotion protocol needs: candidates, and the checks of ledger, copies and topic.

``history`` and ``agreement`` know nothing of how a promotion was started: whoever kills something else (a task of
Airflow, say) holds what is left against them in the same way.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from uuid import UUID

import msgspec

from scoring.contract.digest import digest_of
from scoring.contract.envelope import Keyring
from scoring.contract.errors import EnvelopeRejected
from scoring.contract.manifest import MANIFEST_FILE, decode_manifest
from scoring.contract.notice import Notice, unseal_notice
from scoring.contract.topics import NOTICES
from scoring.promotion.entry import LedgerEntry
from scoring.promotion.ledger import Ledger
from scoring.promotion.notices import NoticeBoard
from scoring.promotion.repair import compare
from scoring.registry.port import Registry
from tests.support.arena import Record, read_all
from tests.support.bundles import make_bundle
from tests.support.decisions import PASSED, interval

AGREE_WITHIN_S = 30.0
_LOOK_EVERY_S = 0.05


def candidate(folder: Path, model: str, number: int, *, months: int = 1) -> str:
    """Write a bundle that passed its gates, made from so many months; returns the manifest's digest."""
    make_bundle(folder, number, model=model)
    path = folder / MANIFEST_FILE
    made = decode_manifest(path.read_bytes())
    data = interval(months)
    snapshot = msgspec.structs.replace(made.snapshot, start=data.start, end=data.end, holdout_start=data.start)
    encoded = msgspec.structs.replace(made, snapshot=snapshot, verdicts=PASSED).encode()
    path.write_bytes(encoded)
    return digest_of(encoded)


def agreement(
    model: str,
    ledger: Ledger,
    registry: Registry,
    board: NoticeBoard,
    live: Callable[[str], Iterable[int]],
    *,
    within_s: float = AGREE_WITHIN_S,
    clock: Callable[[], float] = time.monotonic,
) -> float:
    """Wait until ledger, alias, the topic's head and the workers agree.

    Args:
        live: the sequences that the workers of a model say they are live on.

    Returns:
        seconds until they did; raises AssertionError, with what differs, where they do not within ``within_s``.
    """
    began_s = clock()
    while True:
        head = ledger.head(model)
        assert head is not None, f"{model} has no entry in the ledger"
        said = set(live(model))
        found = compare(model, ledger, registry, board.newest()) if said == {head.sequence} else None
        if found is not None and found.equal:
            return clock() - began_s
        if clock() - began_s > within_s:
            found = found or compare(model, ledger, registry, board.newest())
            raise AssertionError(f"no agreement within {within_s} s: workers on {sorted(said)}, {found}")
        time.sleep(_LOOK_EVERY_S)  # the pace of looking


def history(
    bootstrap: str, ledger: Ledger, keyring: Keyring, models: Iterable[str], *, topic: str = NOTICES
) -> Mapping[str, int]:
    """Hold every record that the topic ever held, also the aborted ones, against the ledger.

    Returns:
        how many ``entries``, ``committed`` and ``aborted`` notices were looked at.

    Raises:
        AssertionError: the sequence is broken, a notice names something that is not in the ledger, or the committed
            notices of a model go back.
    """
    entries = {model: ledger.entries(model) for model in models}
    for model, found in entries.items():
        _check_unbroken(model, found)
    committed = read_all(bootstrap, topic)
    everything = read_all(bootstrap, topic, isolation="read_uncommitted")
    known = {(entry.model, entry.sequence): entry.notice(ledger.identity()) for es in entries.values() for entry in es}
    for record in everything:
        _check_notice(record, known, keyring)
    _check_order(committed, keyring, ledger.identity())
    return {
        "entries": sum(map(len, entries.values())),
        "committed": len(committed),
        "aborted": len(everything) - len(committed),
    }


def _check_unbroken(model: str, entries: list[LedgerEntry]) -> None:
    sequences = [(entry.sequence, entry.parent_sequence) for entry in entries]
    assert sequences == [(number, number - 1) for number in range(1, len(entries) + 1)], f"{model}: {sequences}"
    decided = [(entry.run_id, entry.candidate_id) for entry in entries]
    assert len(decided) == len(set(decided)), f"{model}: a run decided twice"


def _check_notice(record: Record, known: Mapping[tuple[str, int], Notice], keyring: Keyring) -> None:
    notice = _notice(record, keyring)
    expected = known.get((notice.model, notice.sequence))
    assert notice == expected, f"the notice at offset {record.offset} is not in the ledger: {notice}, {expected}"


def _check_order(committed: Iterable[Record], keyring: Keyring, ledger: UUID) -> None:
    """Whatever a fenced publisher committed was at or below what its successor published (protocol A.7)."""
    newest: dict[str, int] = defaultdict(int)
    for record in committed:
        notice = _notice(record, keyring)
        assert notice.ledger == ledger
        assert notice.sequence >= newest[notice.model], f"offset {record.offset} goes back: {notice}"
        newest[notice.model] = notice.sequence


def _notice(record: Record, keyring: Keyring) -> Notice:
    try:
        return unseal_notice(record.key, record.value, record.headers, keyring)
    except EnvelopeRejected as error:
        raise AssertionError(f"the notice at offset {record.offset} must not be believed: {error}") from error
