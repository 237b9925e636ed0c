"""The registry as Baton needs it. The ledger decides which version scores; the registry only keeps them."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Protocol

import msgspec

# Points other people's tools at the champion; nothing in Baton reads it to decide (protocol A.6).
CHAMPION = "champion"
# Every version carries the digest of its bundle's manifest under this tag.
DIGEST_TAG = "baton.manifest_digest"


class VersionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a model.

    Attributes:
        manifest_digest: SHA-256 of the bundle's manifest as it was registered; None for a version of other tools.
    """

    model: str
    version: str
    created_at: datetime
    manifest_digest: str | None
    tags: Mapping[str, str]


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the pipeline, accepted or refused, as a registry that keeps runs tells of it.

    Attributes:
        run_id: the registry's own id of the run; the pipeline's is the tag ``baton.run_id``.
    """

    run_id: str
    started_at: datetime
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


class Registry(Protocol):
    """A store of bundles.

    Every method raises Unavailable when the registry cannot be reached (retry), and ConfigurationError when access is
    refused or the address is wrong.
    """

    def register(self, model: str, folder: Path, tags: Mapping[str, str]) -> str:
        """Keep the bundle in ``folder`` as a new version of ``model``; returns the version.

        A bundle that is registered already (same manifest digest) keeps its version, so that a retry makes no second.

        Raises:
            BundleRejected: there is no bundle of ``model`` in ``folder``.
        """
        ...

    def fetch(self, model: str, version: str, target: Path) -> None:
        """Bring the bundle's own files into the new folder ``target``, which appears complete or not at all.

        A target that is there already is left as it is: another process has fetched the same bundle. Digests are the
        caller's business.

        Raises:
            BundleRejected: the version holds no bundle.
            ConfigurationError: there is no such version.
        """
        ...

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Point ``alias`` at ``version``; the last writer wins."""
        ...

    def remove_alias(self, model: str, alias: str) -> None:
        """Take ``alias`` away; nothing happens where there is none."""
        ...

    def alias(self, model: str, alias: str) -> str | None:
        """The version that ``alias`` points at, or None."""
        ...

    def aliases(self, model: str) -> Mapping[str, str]:
        """Every alias of ``model``, also other people's, with the version that it points at."""
        ...

    def remove(self, model: str, version: str) -> None:
        """Delete a version with its bundle, for ever; its number is not given again as long as a later one exists.

        Nothing happens where there is no such version. What may be deleted is ``scoring.promotion.prune``'s business.

        Raises:
            ConfigurationError: an alias points at it.
        """
        ...

    def versions(self, model: str) -> list[VersionInfo]:
        """All versions of ``model``, oldest first; none of a model that nobody registered."""
        ...
