"""What was looked up or trained is not looked up or trained again: the same rows, definition and code find it.

What is kept lies in ``assembled/<model>/`` and ``trained/<model>/`` of the pipeline's folder, each under a key over all
that it depends on. A run has links to the files, so that pruning either takes nothing from the other.
"""

import inspect
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
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
from training.results import PulledSource, RunRequest, SnapshotRef

ASSEMBLED, TRAINED = "assembled", "trained"
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


def assembly_key(definition: ModelDefinition, request: RunRequest, pulled: Iterable[PulledSource]) -> Digest:
    """SHA-256 over what the joined rows depend on: what was pulled, what is looked up and until when, and the code."""
    depends_on = {
        "pulled": [(each.source, each.key, each.sha256) for each in pulled],
        "sources": repr(definition.all_sources),
        "schema": msgspec.to_builtins(definition.schema),
        "fields": repr(definition.fields),
        "label": repr(definition.label),
        "known_by": rfc3339(min(request.labels_known_by, request.end + definition.label.known_after)),
        "code": _own_code(),
    }
    return digest_of(msgspec.json.encode(depends_on, order="deterministic"))


def find_kept(settings: Settings, what: str, model: str, key: Digest, folder: Path) -> bool:
    """Put what is kept under ``key`` into the new folder ``folder``; False where nothing is.

    Args:
        what: ``ASSEMBLED`` or ``TRAINED``.
    """
    kept = _kept(settings, what, model, key)
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


def keep(settings: Settings, what: str, model: str, key: Digest, folder: Path) -> None:
    """Keep what is in ``folder`` under ``key``; where another run was quicker, that one's stays."""
    with suppress(FileExistsError):
        _link_all(folder, _kept(settings, what, model, key))


def _kept(settings: Settings, what: str, model: str, key: Digest) -> Path:
    return settings.need_snapshot_dir() / what / model / key[:_DIGITS]


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
