"""Scores the record of a prediction again, and says why where it comes out otherwise."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import cast

import msgspec
import numpy as np

from scoring.contract.clock import epoch_s
from scoring.contract.encoder import Column, Floats
from scoring.contract.errors import BundleRejected
from scoring.contract.features import FieldType, FrozenLookup
from scoring.contract.golden import Value
from scoring.contract.prediction import Prediction
from scoring.explain.explanation import Rescored, Verdict
from scoring.explain.features import same_bits, value_of
from scoring.scorer.compiled import CompiledModel
from scoring.scorer.golden import check_golden
from scoring.scorer.scorer import Scorer, described, lookup_columns

# What has a part in a score.
_LIBRARIES = ("msgspec", "numpy", "onnxruntime", "tzdata")
_MOMENT_S = 0.001


class Columned:
    """The record's columns under one bundle, with everything looked up.

    Attributes:
        columns: of one row; None where the record cannot be decoded, and ``problem`` says why.
    """

    def __init__(self, scorer: Scorer, value: bytes | None, prediction: Prediction) -> None:
        self.columns: dict[str, Column] | None = None
        self.problem: str | None = None
        decoded = scorer.decode([value])
        if decoded.failures:
            failure = decoded.failures[0]
            self.problem = f"the record cannot be decoded: {failure.reason.value}: {failure.detail}"
            return
        try:
            carried = lookup_columns(scorer, [prediction.lookups])
        except BundleRejected as error:
            self.problem = f"what the prediction carries does not fit the bundle: {error}"
            return
        self.columns = {**decoded.columns, **carried, **scorer.frozen(decoded.columns, 1)}


def rescore(scorer: Scorer, columned: Columned, prediction: Prediction) -> Rescored:
    """Score again with the bundle that the prediction names, and compare bit for bit."""
    if scorer.bundle.digest != prediction.manifest_digest:
        return impossible(
            f"this is another bundle: its manifest is {scorer.bundle.digest}, the prediction was made by "
            f"{prediction.manifest_digest}"
        )
    if columned.columns is None:
        return impossible(columned.problem or "the record cannot be decoded")
    columns = columned.columns
    scores = scorer.score(columns, 1)
    decisions = scorer.decide(scores)
    (found,) = described(scorer.manifest.output.classes, scores)
    rescored = Rescored(
        verdict=Verdict.IDENTICAL,
        score=cast("float", found["score"]),
        decision=None if decisions is None else bool(decisions[0]),
        label=cast("str | None", found.get("label")),
        probabilities=cast("Mapping[str, float] | None", found.get("probabilities")),
        kernel=scorer.kernel,
        installed=installed(),
    )
    wrong = tuple(_differences(rescored, prediction))
    strange = tuple(_not_its_record(scorer, columns, prediction))
    if not wrong and not strange:
        return rescored
    causes = (*wrong, *strange, *(_causes(scorer, columns, prediction) if wrong else ()))
    return msgspec.structs.replace(rescored, verdict=Verdict.DIFFERENT, causes=causes)


def impossible(cause: str) -> Rescored:
    """It cannot be scored again, and why."""
    return Rescored(verdict=Verdict.IMPOSSIBLE, causes=(cause,), installed=installed())


@cache
def installed() -> Mapping[str, str]:
    """The versions of the libraries that have a part in a score."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # put there in another way
            found[name] = "unknown"
    return found


def _differences(now: Rescored, then: Prediction) -> Iterator[str]:
    """What is not as the prediction says."""
    if now.score is None or not same_bits(now.score, then.score):
        yield f"the score is {now.score!r}, it was {then.score!r}"
    if now.decision is not then.decision:
        yield f"the decision is {now.decision}, it was {then.decision}"
    if now.label != then.label:
        yield f"the label is {now.label!r}, it was {then.label!r}"
    ours, theirs = now.probabilities or {}, then.probabilities or {}
    changed = [name for name in ours if name not in theirs or not same_bits(ours[name], theirs[name])]
    if changed or ours.keys() != theirs.keys():
        yield f"the probabilities of {', '.join(changed) or 'other classes'} are not what they were"


def _not_its_record(scorer: Scorer, columns: Mapping[str, Column], then: Prediction) -> Iterator[str]:
    """Whether the record in the topic is the one that was scored, as far as the prediction repeats it."""
    schema, types = scorer.schema, scorer.schema.column_types()
    if not _same_moment(columns[schema.event_time][0], then.event_time):
        yield f"the record's event time is another one than the prediction's ({then.event_time.isoformat()})"
    for name in scorer.manifest.pass_through:
        if name in then.pass_through and not _same(types[name], columns[name], then.pass_through[name]):
            yield f"the record's {name} is another one than what the prediction repeats"


def _same(kind: FieldType, column: Column, then: Value) -> bool:
    if kind is FieldType.TIME and isinstance(then, str):
        return _same_moment(column[0], datetime.fromisoformat(then))
    ours = value_of(kind, column)
    if isinstance(ours, float) and isinstance(then, float | int):
        return ours == float(then)
    return ours == then


def _same_moment(seconds: object, then: datetime) -> bool:
    """As near as float64 and a text with microseconds can tell."""
    return isinstance(seconds, float) and abs(seconds - epoch_s(then)) < _MOMENT_S


def _causes(scorer: Scorer, columns: Mapping[str, Column], then: Prediction) -> Iterator[str]:
    """Why a score may come out otherwise."""
    yield from not_carried(scorer, then)
    reference = _by_onnx_runtime(scorer, columns)
    if scorer.kernel != "onnxruntime" and _same_as(scorer, reference, then):
        yield f"ONNX Runtime gives the prediction's score here; the kernel {scorer.kernel!r} does not: please report it"
    yield _golden(scorer)
    then_with, now_with = scorer.manifest.environment, installed()
    for name in sorted(then_with.keys() & now_with.keys()):
        if then_with[name] != now_with[name]:
            yield f"the bundle was made with {name} {then_with[name]}, here is {now_with[name]}"


def not_carried(scorer: Scorer, then: Prediction) -> Iterator[str]:
    """Looked-up values that the prediction should carry, and does not."""
    for lookup in scorer.schema.lookups:
        if isinstance(lookup, FrozenLookup):
            continue
        left_out = [field.name for field in lookup.fields if field.name not in then.lookups.get(lookup.name, {})]
        if left_out:
            yield f"the prediction carries no {', '.join(left_out)} of lookup {lookup.name!r}: taken as missing"


def _golden(scorer: Scorer) -> str:
    try:
        check_golden(scorer)
    except BundleRejected as error:
        return f"the bundle does not score here as it did when it was made ({error}): this machine's libraries differ"
    return (
        "the bundle's golden rows score here as they did: the record or the looked-up values are not those that were "
        "scored, or the prediction was not made by this bundle"
    )


def _by_onnx_runtime(scorer: Scorer, columns: Mapping[str, Column]) -> Floats:
    model = CompiledModel(scorer.bundle.model, scorer.manifest.output, checked=True, kernel=False)
    return model.run(scorer.features(columns, 1))


def _same_as(scorer: Scorer, scores: Floats, then: Prediction) -> bool:
    (found,) = described(scorer.manifest.output.classes, scores)
    score = found["score"]
    return isinstance(score, float) and np.isfinite(score) and same_bits(score, then.score)
