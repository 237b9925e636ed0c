"""The topics that a model reads and writes: those that the manifest of its champion names."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from scoring.contract.errors import ConfigurationError
from scoring.contract.manifest import Topics
from scoring.promotion.entry import LedgerEntry
from scoring.registry.port import Registry
from scoring.scorer.bundle import open_bundle


def champion_topics(entries: Sequence[LedgerEntry], registry: Registry) -> Topics | None:
    """The topics by the manifest of the ledger's newest version; None of a model that has no entry.

    Args:
        entries: of one model, in their order.

    Raises:
        BundleRejected: the bundle is damaged, or another one than the ledger names.
        ConfigurationError, Unavailable: there is no such version, or the registry cannot be reached.
    """
    if not entries:
        return None
    head = entries[-1]
    with tempfile.TemporaryDirectory(prefix="baton-topics-") as scratch:
        folder = Path(scratch) / "bundle"
        registry.fetch(head.model, head.version, folder)
        return open_bundle(folder, head.manifest_digest).manifest.topics


def named_topics(text: str) -> Topics:
    """The three topics in ``INPUT,PREDICTIONS,DEAD-LETTERS``.

    Raises:
        ConfigurationError: they are not three names.
    """
    names = [name.strip() for name in text.split(",")]
    fields = [field.name for field in msgspec.structs.fields(Topics)]
    if len(names) != len(fields) or not all(names):
        raise ConfigurationError(f"--topics: {text!r} is not INPUT,PREDICTIONS,DEAD-LETTERS")
    return Topics(**dict(zip(fields, names, strict=True)))
