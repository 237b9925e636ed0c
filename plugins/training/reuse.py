"""What was trained is not trained again: the same rows, definition, parameters and code find their candidate.

Kept candidates lie in ``trained/<model>/`` of the pipeline's folder, each under a key over all that a fitted model
depends on. A run has links to the files of one, so that pruning either takes nothing from the other.
"""

import inspect
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

import scoring
import training
from scoring.contract.clock import rfc3339
from scoring.contract.digest import Digest, digest_of
from scoring.registry.files import appearing
from scoring.settings import Settings
from training.definition import ModelDefinition
from training.environment import versions
from training.estimator import Estimator
from training.results import SnapshotRef

_KEPT = "trained"
# Folders of this many digits are what pruning takes for a run's.
_DIGITS = 16


def training_key(
    definition: ModelDefinition, snapshot: SnapshotRef, tables: Mapping[str, bytes], *, refit: bool
) -> Digest:
    """SHA-256 over what a candidate depends on: rows, definition, parameters, frozen tables, libraries and code.

    Args:
        tables: the files of the frozen lookups, by their names.
        refit: it is fitted on the holdout too.
    """
    depends_on = {
        "rows": snapshot.sha256,
        "until": rfc3339(snapshot.end),
        "holdout": repr(definition.holdout),
        "refit": refit,
        "schema": msgspec.to_builtins(definition.schema),
        "label": repr(definition.label),
        "threshold": definition.threshold,
        "tolerance": definition.gates.parity_tolerance,
        "estimator": repr(definition.estimator),
        "estimator_code": sorted(_files_of(definition.estimator)),
        "tables": {name: digest_of(content) for name, content in tables.items()},
        "made_with": versions(),
        "code": _own_code(),
    }
    return digest_of(msgspec.json.encode(depends_on, order="deterministic"))


def find_trained(settings: Settings, model: str, key: Digest, folder: Path) -> bool:
    """Put the kept candidate into the new folder ``folder``; False where none is kept under ``key``."""
    kept = _kept(settings, model, key)
    if not kept.is_dir():
        return False
    with suppress(OSError):
        os.utime(kept)  # pruning spares what is young
    shutil.rmtree(folder, ignore_errors=True)
    try:
        _link_all(kept, folder)
    except FileNotFoundError:  # it was pruned meanwhile
        return False
    return True


def keep_trained(settings: Settings, model: str, key: Digest, folder: Path) -> None:
    """Keep the candidate in ``folder`` under ``key``; where another run was quicker, that one's stays."""
    with suppress(FileExistsError):
        _link_all(folder, _kept(settings, model, key))


def _kept(settings: Settings, model: str, key: Digest) -> Path:
    return settings.need_snapshot_dir() / _KEPT / model / key[:_DIGITS]


def _link_all(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with appearing(target) as staging:
        for path in sorted(source.iterdir()):
            (staging / path.name).hardlink_to(path)


def _files_of(estimator: Estimator) -> Iterator[str]:
    """The digest of each file that the estimator's classes stand in, as long as they are Python's."""
    for part in estimator.parts:
        yield from _files_of(part)
    module, _, attribute = estimator.path.rpartition(".")
    with suppress(ImportError, AttributeError, TypeError, OSError):
        made: Any = getattr(import_module(module), attribute)
        yield digest_of(Path(inspect.getfile(made)).read_bytes())


@cache
def _own_code() -> Digest:
    """Over every Python file of both sides: whatever changes there may change what is trained."""
    folders = [Path(package.__path__[0]) for package in (scoring, training)]
    files = [(str(path.relative_to(folder)), path) for folder in folders for path in sorted(folder.rglob("*.py"))]
    return digest_of(msgspec.json.encode([(name, digest_of(path.read_bytes())) for name, path in files]))
