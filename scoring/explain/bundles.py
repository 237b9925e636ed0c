"""The bundles that explanations need: fetched from the registry, verified by their digest, and kept open."""

import tempfile
from collections import OrderedDict
from pathlib import Path

from scoring.registry.port import Registry
from scoring.scorer.bundle import open_bundle
from scoring.scorer.scorer import Scorer

KEPT = 8


class Bundles:
    """Opens bundles. Not for use by several threads at once.

    Args:
        registry: where they are fetched from.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._kept: OrderedDict[tuple[str, str, str | None], Scorer] = OrderedDict()

    def scorer(self, model: str, version: str, digest: str | None) -> Scorer:
        """The scorer of a version.

        Args:
            digest: what the manifest's SHA-256 must be; None where nobody knows.

        Raises:
            BundleRejected: it is damaged, or another one.
            ConfigurationError, Unavailable: there is no such version, or the registry cannot be reached.
        """
        key = (model, version, digest)
        if key not in self._kept:
            self._kept[key] = self._fetched(model, version, digest)
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]

    def _fetched(self, model: str, version: str, digest: str | None) -> Scorer:
        with tempfile.TemporaryDirectory(prefix="baton-explain-") as scratch:
            folder = Path(scratch) / "bundle"
            self._registry.fetch(model, version, folder)
            return Scorer(open_bundle(folder, digest))


class OneBundle:
    """Stands in for ``Bundles`` where somebody names a folder: whatever is asked for, it is that bundle.

    A prediction of another bundle is told from it by the digest.
    """

    def __init__(self, folder: Path) -> None:
        self._scorer = Scorer(open_bundle(folder))

    def scorer(self, model: str, version: str, digest: str | None) -> Scorer:  # noqa: ARG002
        """That bundle."""
        return self._scorer
