"""A candidate on disk, between training and its bundle: the compiled model and what the evidence is made from."""

import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

import msgspec
import numpy as np

from scoring.contract.encoder import Floats
from scoring.contract.errors import BatonError
from scoring.contract.features import FeatureSchema, FrozenLookup
from scoring.contract.frozen import file_of
from scoring.contract.manifest import MODEL_FILE, Output
from scoring.registry.files import appearing
from scoring.scorer.compiled import CompiledModel

_FACTS = "candidate.json"
_HOLDOUT = "holdout.npy"
_CURVES = "curves.json"


class CandidateLost(BatonError):
    """The candidate's folder is missing or incomplete; train it again."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """What training found out.

    Attributes:
        schema: with vocabularies.
        estimator: as the definition writes it.
        training_mean: of the targets of the training rows: the trivial baseline's prediction.
        training_shares: of several classes their shares of the training rows, which it predicts instead.
        newest_training_event: of the rows that it was fitted on.
    """

    schema: FeatureSchema
    output: Output
    estimator: str
    training_mean: float
    training_shares: tuple[float, ...] = ()
    newest_training_event: datetime


class Curves(msgspec.Struct, frozen=True, kw_only=True):
    """Lines to draw: too long for what a scheduler carries from step to step.

    Attributes:
        roc: of ``candidate`` and ``baseline``: points (share of false positives, share of true positives).
        classes: of several classes the candidate's curve for each against all others, by its name.
        confusion: of several classes, in their order, rows by the class that came and the most probable one.
        gains: by metric, how much better the candidate is in each of some resamples, sorted.
    """

    roc: Mapping[str, tuple[tuple[float, float], ...]] = {}
    gains: Mapping[str, tuple[float, ...]] = {}
    classes: Mapping[str, tuple[tuple[float, float], ...]] = {}
    confusion: tuple[tuple[int, ...], ...] = ()


def write_candidate(
    folder: Path,
    candidate: Candidate,
    graph: bytes,
    holdout: Floats,
    tables: Mapping[str, bytes] = MappingProxyType({}),
) -> None:
    """Write the candidate's folder in one step, in place of an earlier try of the same run.

    Args:
        holdout: the estimator's own scores of the holdout rows, in the order of the snapshot.
        tables: the files of the frozen lookups, by their names.
    """
    shutil.rmtree(folder, ignore_errors=True)
    with appearing(folder) as staging:
        (staging / _FACTS).write_bytes(msgspec.json.encode(candidate))
        (staging / MODEL_FILE).write_bytes(graph)
        np.save(staging / _HOLDOUT, holdout, allow_pickle=False)
        for name, content in tables.items():
            (staging / name).write_bytes(content)


def read_candidate(folder: Path) -> Candidate:
    """The candidate's facts, or CandidateLost."""
    return msgspec.json.decode(_read(folder / _FACTS), type=Candidate)


def read_graph(folder: Path) -> bytes:
    """The compiled model's file, or CandidateLost."""
    return _read(folder / MODEL_FILE)


def read_tables(folder: Path, schema: FeatureSchema) -> dict[str, bytes]:
    """The files of the frozen lookups by their names, or CandidateLost."""
    names = [file_of(lookup.name) for lookup in schema.lookups if isinstance(lookup, FrozenLookup)]
    return {name: _read(folder / name) for name in names}


def open_compiled(folder: Path, output: Output) -> CompiledModel:
    """The compiled model, ready to run, or CandidateLost."""
    return CompiledModel(read_graph(folder), output)


def read_estimator_scores(folder: Path) -> Floats:
    """The estimator's scores of the holdout rows, or CandidateLost."""
    try:
        scores: Floats = np.load(folder / _HOLDOUT, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise CandidateLost(f"candidate {folder}: cannot read {_HOLDOUT}: {error}; run the step train again") from error
    return scores


def write_curves(folder: Path, curves: Curves) -> None:
    """Keep the curves with the candidate, in place of those of an earlier try."""
    partial = folder / f"{_CURVES}.partial"
    partial.write_bytes(msgspec.json.encode(curves))
    partial.replace(folder / _CURVES)


def read_curves(folder: Path) -> Curves:
    """The candidate's curves, or CandidateLost."""
    return msgspec.json.decode(_read(folder / _CURVES), type=Curves)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CandidateLost(f"candidate {path.parent}: cannot read {path.name}; run the step train again") from error
