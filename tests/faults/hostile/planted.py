"""The checks left out, one at a time: a campaign that does not notice would show nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from scoring.contract import envelope, manifest
from scoring.registry import folder as folder_registry
from scoring.scorer import bundle, compiled, trial
from scoring.worker import fetching
from scoring.worker.fetching import Fetching
from tests.support.forge import MODEL


def _nothing(*_: Any, **__: Any) -> None:
    pass


def _signatures() -> None:
    vars(envelope)["_check_signature"] = _nothing


def _announced_digests() -> None:
    opened = bundle.open_bundle

    def opens(folder: Path, _expected: str | None = None) -> bundle.Bundle:
        return opened(folder, None)

    for module in (trial, fetching):
        vars(module)["open_bundle"] = opens


def _digests_of_files() -> None:
    def reads(folder: Path, name: str, *_: Any) -> bytes:
        return (folder / name).read_bytes()

    vars(bundle)["_checked_file"] = reads


def _golden_rows() -> None:
    for module in (trial, fetching):
        vars(module)["check_golden"] = _nothing
    vars(trial)["_compare"] = _nothing


def _rules_for_graphs() -> None:
    vars(compiled)["check_graph"] = _nothing


def _rules_for_manifests() -> None:
    vars(manifest)["manifest_mistakes"] = lambda *_: iter(())


def _keys_that_are_there_twice() -> None:
    vars(envelope)["require_unique_keys"] = _nothing


def _the_largest_batch() -> None:
    tries = trial._try

    def tries_few(folder: Path, digest: str, model: str, _records: int, clock_s: Any) -> None:
        tries(folder, digest, model, 1, clock_s)

    vars(trial)["_try"] = tries_few


def _the_models_name() -> None:
    """The manifest's model is not held against the notice's: in the registry, in the trial, in the worker."""
    vars(folder_registry)["read_manifest"] = _nothing
    opened = bundle.open_bundle

    def opens(folder: Path, digest: str | None = None) -> bundle.Bundle:
        found = opened(folder, digest)
        return bundle.Bundle(found.folder, _renamed(found.manifest), found.digest, found.model, found.golden)

    for module in (trial, fetching):
        vars(module)["open_bundle"] = opens


def _renamed(found: manifest.Manifest) -> manifest.Manifest:
    return msgspec.structs.replace(found, model=MODEL)


def _other_ledgers() -> None:
    is_news = Fetching._is_news

    def believes(self: Fetching, notice: Any) -> bool:
        self._ledger = notice.ledger
        return is_news(self, notice)

    Fetching._is_news = believes  # type: ignore[method-assign]


def _old_sequences() -> None:
    def believes(self: Fetching, _notice: Any) -> bool:
        return True

    vars(fetching)["Fetching"]._is_news = believes


def _trials() -> None:
    """Bundles come straight into the process that scores."""
    init = Fetching.__init__

    def without(self: Fetching, **named: Any) -> None:
        init(self, **{**named, "trial": _nothing})

    Fetching.__init__ = without  # type: ignore[method-assign]


BUGS: dict[str, Callable[[], None]] = {
    "signatures": _signatures,
    "announced digests": _announced_digests,
    "digests of files": _digests_of_files,
    "golden rows": _golden_rows,
    "rules for graphs": _rules_for_graphs,
    "rules for manifests": _rules_for_manifests,
    "keys that are there twice": _keys_that_are_there_twice,
    "the largest batch": _the_largest_batch,
    "the model's name": _the_models_name,
    "other ledgers": _other_ledgers,
    "old sequences": _old_sequences,
    "trials": _trials,
}
# For each, the class that has to show it.
SHOWN_BY = {
    "signatures": "unsigned",
    "announced digests": "wrong digest",
    "digests of files": "swapped parts",
    "golden rows": "golden rows",
    "rules for graphs": "references out of range",
    "rules for manifests": "manifests that lie",
    "keys that are there twice": "absurd JSON",
    "the largest batch": "shapes and values",
    "the model's name": "wrong model",
    "other ledgers": "stale or replayed",
    "old sequences": "stale or replayed",
    "trials": "shapes and values",
}
assert BUGS.keys() == SHOWN_BY.keys()
