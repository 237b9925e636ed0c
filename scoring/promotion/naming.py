"""The topics that a model reads and writes: those that the manifest of its champion names."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from scoring.contract.errors import BatonError, ConfigurationError
from scoring.contract.manifest import Topics
from scoring.promotion.entry import LedgerEntry
from scoring.promotion.ledger import Ledger
from scoring.registry.open import open_registry
from scoring.registry.port import Registry
from scoring.scorer.bundle import open_bundle
from scoring.settings import Settings


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


def topics_of(settings: Settings, model: str, unsure: Callable[[BatonError], None]) -> Topics:
    """A model's topics: those of its champion's manifest, or by their standard names.

    Args:
        unsure: hears why the champion's could not be had. Nothing else may be at hand when somebody looks for what
            happened.
    """
    standard = Topics.of(model)
    if not settings.ledger_url:
        return standard
    try:
        entries = Ledger.open(settings.need_ledger_url(), migrating=False).entries(model)
        found = champion_topics(entries, open_registry(settings.need_registry_uri())) if entries else None
    except BatonError as error:
        unsure(error)
        return standard
    return found or standard


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
