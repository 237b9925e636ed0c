"""The bundles that a backfill scores with: fetched, held against their digests, and tried, as a worker does."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from scoring.backfill.asked import Asked, refused
from scoring.backfill.reigns import Reign
from scoring.contract.clock import rfc3339
from scoring.contract.errors import BundleRejected
from scoring.contract.manifest import Manifest, Snapshot
from scoring.registry.files import read_manifest
from scoring.scorer.trial import TrialLimits
from scoring.settings import Settings
from scoring.worker.fetch_process import FetchProcess


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle on this host.

    Attributes:
        digest: of its manifest.
    """

    folder: Path
    digest: str
    manifest: Manifest

    @property
    def snapshot(self) -> Snapshot:
        """What it was trained on. Of labels that are not dated, all may have been known when it was asked for."""
        found = self.manifest.snapshot
        return msgspec.structs.replace(found, known_by=found.known_by or self.manifest.created_at)


Bring = Callable[[str, str, str | None, Path], None]
"""Brings the bundle of a model's version, whose manifest must have a digest, into a folder; raises BundleRejected."""


def bring_by_process(settings: Settings) -> Bring:
    """Brings bundles as a worker does: fetched by a process that has the registry's client, tried in another."""
    limits = TrialLimits(memory_bytes=settings.trial_memory_bytes, processor_s=settings.trial_processor_s)
    process = FetchProcess(limits=limits)

    def bring(model: str, version: str, digest: str | None, folder: Path) -> None:
        process.fetch(model, version, folder)
        process.try_bundle(model, digest or read_manifest(folder, model)[1], folder)

    return bring


def fetch(asked: Asked, found: Iterable[Reign], bring: Bring, folder: Path) -> dict[str, Fetched]:
    """Bring the bundles of all reigns into ``folder``, by version.

    Raises:
        BackfillRefused: lists every version that the registry does not give back as it was, that fails its trial, or
            whose name stands for several bundles in the ledger.
        Unavailable: the registry cannot be reached.
    """
    reigns = list(found)
    expected: Mapping[str, str | None] = {reign.version: reign.manifest_digest for reign in reigns}
    bundles: dict[str, Fetched] = {}
    reasons = [_another(reign) for reign in reigns if reign.manifest_digest != expected[reign.version]]
    for number, (version, digest) in enumerate(expected.items()):
        target = folder / str(number)
        try:
            bring(asked.model, version, digest, target)
            manifest, found_digest = read_manifest(target, asked.model)
            bundles[version] = Fetched(folder=target, digest=found_digest, manifest=manifest)
        except BundleRejected as error:
            reasons.append(f"version {version}: {error}")
    if reasons:
        raise refused(asked, reasons)
    return bundles


def _another(reign: Reign) -> str:
    """The registry can give one bundle of a name only, and the ledger knows which one counted then."""
    return (
        f"version {reign.version} (sequence {reign.sequence}) was another bundle from {rfc3339(reign.start)} to "
        f"{rfc3339(reign.end)} than the one that has its name later: the registry was made anew since; leave that time "
        "out, or name a version with --version"
    )
