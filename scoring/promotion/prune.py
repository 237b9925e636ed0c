"""Pruning: what no longer has to be kept of old versions, snapshots, runs and pulls, and how it is deleted.

Kept whatever their age: every version that an entry of the ledger names, because an as-of question, a backfill or a
rollback may need it; every version with an alias; every version that another tool registered; every snapshot that the
manifest of a kept version names. Of the rest the newest are kept, and what is younger than the policy says. Where it
cannot be told what is needed, no version and no snapshot of the model is deleted.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec

from scoring.contract.clock import epoch_s
from scoring.contract.errors import BatonError, BundleRejected, ConfigurationError
from scoring.contract.manifest import Manifest
from scoring.promotion.entry import LedgerEntry
from scoring.promotion.ledger import Ledger
from scoring.promotion.pipeline_folder import (
    Item,
    What,
    delete,
    freed_bytes,
    models_in,
    pulls_in,
    runs_in,
    snapshots_in,
)
from scoring.registry.files import read_manifest
from scoring.registry.port import CHAMPION, Registry, VersionInfo

# A run with its retries is over by then; and a policy may spare more, for approvals that may take longer, never less.
FLOOR = timedelta(days=1)


class Unsure(BatonError):
    """It cannot be told what is still needed; the message says what to mend."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept though nothing needs it.

    Attributes:
        keep: so many of each kind and model, the newest.
        older_than: nothing younger is deleted.

    Raises:
        ConfigurationError: it could delete the newest version, whose number MLflow would then give again, or the files
            of a run that is in progress.
    """

    keep: int = 10
    older_than: timedelta = timedelta(days=30)

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise ConfigurationError(f"pruning must keep at least 1 of each kind, not {self.keep}")
        if self.older_than < FLOOR:
            raise ConfigurationError(f"pruning spares what is younger than {FLOOR}; {self.older_than} is too young")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What may go, and what could not be judged.

    Attributes:
        kept: how many stay, by kind.
        frees_bytes: less than the sum of the sizes where files are links to each other.
        problems: sentences; each names what was therefore left alone.
    """

    items: tuple[Item, ...]
    kept: Mapping[What, int]
    frees_bytes: int
    problems: tuple[str, ...] = ()


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """What is gone, and why something was spared after all."""

    items: tuple[Item, ...]
    problems: tuple[str, ...]


class Store(NamedTuple):
    """Where to look; ``folder`` is the pipeline's, None where this host has none."""

    ledger: Ledger
    registry: Registry
    folder: Path | None


class _Found(NamedTuple):
    """What there is of one kind, and what of it may go."""

    kind: What
    all: int
    old: list[Item]


def known_models(store: Store) -> list[str]:
    """Every model that the ledger or the pipeline's folder knows; a registry's other models are nobody's business."""
    return sorted({*store.ledger.models(), *(models_in(store.folder) if store.folder else ())})


def plan(models: Iterable[str], store: Store, policy: Policy, now: datetime, kinds: Iterable[What] = What) -> Plan:
    """Find what may go; changes nothing.

    Raises:
        Unavailable, ConfigurationError: ledger or registry cannot be read.
    """
    wanted = frozenset(kinds)
    items: list[Item] = []
    problems: list[str] = []
    kept: Counter[What] = Counter()
    for model in models:
        try:
            for found in _found(model, store, policy, now, wanted):
                items += found.old
                kept[found.kind] += found.all - len(found.old)
        except Unsure as error:
            problems.append(str(error))
    files = freed_bytes(items, store.folder) if store.folder else 0
    versions = sum(item.size_bytes or 0 for item in items if item.what is What.VERSION)
    return Plan(items=tuple(items), kept=dict(kept), frees_bytes=files + versions, problems=tuple(problems))


def carry_out(planned: Plan, store: Store, progress: Callable[[Item], None] = lambda _: None) -> Pruned:
    """Delete what ``plan`` found, unless something has come to need it meanwhile. Safe to repeat after a kill.

    The ledger is asked again right before each version goes, and a file goes only if it is still as old as it was.
    Versions go first: the snapshot of one that is spared after all is spared with it.

    Raises:
        Unavailable: ledger or registry cannot be reached any more; what is gone is gone.
    """
    gone: list[Item] = []
    problems: list[str] = []
    spared: set[str] = set()
    for item in sorted(planned.items, key=lambda item: item.what is not What.VERSION):
        problem = _delete(item, store, spared)
        if problem is None:
            gone.append(item)
            progress(item)
        else:
            problems.append(problem)
            spared |= {item.snapshot} if item.snapshot else set()
    return Pruned(items=tuple(gone), problems=(*problems, *_decided_upon_after_all(gone, store.ledger)))


def _found(model: str, store: Store, policy: Policy, now: datetime, wanted: frozenset[What]) -> Iterator[_Found]:
    if store.folder is not None and What.RUN in wanted:
        runs = runs_in(store.folder, model)
        yield _Found(What.RUN, len(runs), _old(runs, policy, now, _age))
    if store.folder is not None and What.PULL in wanted:
        pulls = pulls_in(store.folder, model)
        yield _Found(What.PULL, len(pulls), _old(pulls, policy, now, _age))
    snapshots = snapshots_in(store.folder, model) if store.folder is not None and What.SNAPSHOT in wanted else []
    if not snapshots and What.VERSION not in wanted:
        return
    versions = store.registry.versions(model)
    unneeded = _unneeded(model, versions, store, policy, now) if What.VERSION in wanted else []
    kept = [info for info in versions if info.version not in {item.name for item in unneeded}]
    # Read before anything is handed on: where one cannot be read, neither versions nor snapshots go.
    needed = _snapshots_of(model, kept, store) if snapshots else set()
    if What.VERSION in wanted:
        yield _Found(What.VERSION, len(versions), [_described(item, store.registry) for item in unneeded])
    old = [item for item in _old(snapshots, policy, now, _age) if item.name not in needed]
    yield _Found(What.SNAPSHOT, len(snapshots), old)


def _unneeded(model: str, versions: Sequence[VersionInfo], store: Store, policy: Policy, now: datetime) -> list[Item]:
    """The versions that may go.

    Raises:
        Unsure: the ledger does not seem to be the one of this registry.
    """
    entries, aliases = store.ledger.entries(model), store.registry.aliases(model)
    _require_the_right_ledger(model, versions, entries, aliases)
    needed = {entry.version for entry in entries} | set(aliases.values())
    needed |= {info.version for info in versions if info.manifest_digest is None}  # of other tools
    items = [Item(what=What.VERSION, model=model, name=info.version, changed_at=info.created_at) for info in versions]
    return [item for item in _old(items, policy, now, lambda item: int(item.name)) if item.name not in needed]


def _require_the_right_ledger(
    model: str, versions: Sequence[VersionInfo], entries: Sequence[LedgerEntry], aliases: Mapping[str, str]
) -> None:
    """A ledger that was lost and begun anew, or another registry's, does not know what is needed."""
    champion = aliases.get(CHAMPION)
    if champion is not None and champion not in {entry.version for entry in entries}:
        raise Unsure(
            f"{model}: the registry's alias {CHAMPION} names version {champion}, which the ledger does not know; no "
            "version or snapshot of it is pruned: check BATON_LEDGER_URL, then run `baton reconcile`"
        )
    digests = {info.version: info.manifest_digest for info in versions}
    for entry in entries:
        if entry.version not in digests or digests[entry.version] not in {None, entry.manifest_digest}:
            raise Unsure(
                f"{model}: the registry has no version {entry.version} such as sequence {entry.sequence} names; no "
                "version or snapshot of it is pruned: check BATON_LEDGER_URL and BATON_REGISTRY_URI"
            )


def _snapshots_of(model: str, kept: Iterable[VersionInfo], store: Store) -> set[str]:
    """The snapshots that the manifests of the kept versions name.

    Raises:
        Unsure: one cannot be read, so that its snapshot cannot be told from one to delete.
    """
    named = {entry.version for entry in store.ledger.entries(model)}
    needed = set()
    for info in kept:
        try:
            manifest, digest = _manifest(store.registry, model, info.version)
            if info.manifest_digest not in {None, digest}:
                raise BundleRejected(f"its digest is {digest}, {info.manifest_digest} was registered")
        except BatonError as error:
            foreign = isinstance(error, BundleRejected) and info.manifest_digest is None and info.version not in named
            if foreign:  # another tool's model, made from nothing of ours
                continue
            raise Unsure(
                f"{model}: the manifest of version {info.version} cannot be read, so that no version or snapshot of it "
                f"is pruned: {error}"
            ) from error
        needed.add(manifest.snapshot.sha256)
    return needed


def _described(item: Item, registry: Registry) -> Item:
    """A version to delete with its size and snapshot; without them where it holds no bundle that can be read."""
    try:
        manifest, _ = _manifest(registry, item.model, item.name)
    except BatonError:
        return item
    size_bytes = sum(file.size_bytes for file in manifest.files.values())
    return msgspec.structs.replace(item, size_bytes=size_bytes, snapshot=manifest.snapshot.sha256)


def _manifest(registry: Registry, model: str, version: str) -> tuple[Manifest, str]:
    with tempfile.TemporaryDirectory(prefix="baton-prune-") as scratch:
        registry.fetch(model, version, Path(scratch) / "bundle")
        return read_manifest(Path(scratch) / "bundle", model)


def _delete(item: Item, store: Store, spared: set[str]) -> str | None:
    """Delete an item; why it was spared, or None."""
    if item.what is What.VERSION:
        if any(entry.version == item.name for entry in store.ledger.entries(item.model)):
            return f"{item.model}: version {item.name} was decided upon meanwhile and is kept"
        try:
            store.registry.remove(item.model, item.name)
        except ConfigurationError as error:  # an alias points at it by now
            return str(error)
        return None
    if item.what is What.SNAPSHOT and item.name in spared:
        return f"{item.model}: snapshot {item.name} is kept with the version that was made from it"
    return delete(item, store.folder) if store.folder else None


def _decided_upon_after_all(gone: Sequence[Item], ledger: Ledger) -> Iterator[str]:
    """Sentences on versions that somebody decided upon in the very moment in which they were deleted."""
    removed = {(item.model, item.name) for item in gone if item.what is What.VERSION}
    for model in sorted({model for model, _ in removed}):
        for entry in ledger.entries(model):
            if (model, entry.version) in removed:
                yield (
                    f"{model}: version {entry.version} was deleted while sequence {entry.sequence} was decided upon "
                    "it; roll back, and train it again"
                )


def _old(items: Sequence[Item], policy: Policy, now: datetime, key: Callable[[Item], float]) -> list[Item]:
    """Those that are neither among the newest nor young, newest first."""
    newest_first = sorted(items, key=key, reverse=True)
    return [item for item in newest_first[policy.keep :] if now - item.changed_at > policy.older_than]


def _age(item: Item) -> float:
    return epoch_s(item.changed_at)
