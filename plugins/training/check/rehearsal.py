"""The pipeline over a sample, from the pull to the bundle.

There is no scheduler, broker, registry or ledger: folders and databases are temporary, and nothing is promoted.
"""

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from scoring.contract import errors
from scoring.contract.encoder import Column
from scoring.contract.errors import BatonError, BundleRejected
from scoring.contract.verdict import Judgement, Verdict
from scoring.settings import Settings
from training import pipeline
from training.check.findings import Finding, Level, Section
from training.definition import ModelDefinition
from training.errors import TrainingImpossible
from training.pull import column_types
from training.results import Evaluated, Gated, RunRequest, SnapshotRef, Trained, Validated
from training.snapshot import read_snapshot

ACTOR = "baton check"


class Rehearsed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of the steps; None for those that were not reached.

    Attributes:
        columns: of the snapshot.
        stopped: why it did not go on.
        bundle: the candidate's, whatever the gates said.
    """

    snapshot: SnapshotRef | None = None
    columns: dict[str, Column] = {}
    validated: Validated | None = None
    trained: Trained | None = None
    evaluated: Evaluated | None = None
    gated: Gated | None = None
    bundle: Path | None = None
    stopped: Finding | None = None


class Watch:
    """Takes the time of steps, and tells their names before they run.

    Attributes:
        seconds: of the steps so far, by name.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.seconds: dict[str, float] = {}
        self._tell = tell

    def __call__(self, name: str, step: Callable[..., Any], *arguments: Any) -> Any:
        """What the step returns."""
        self._tell(name)
        started = time.monotonic()
        try:
            return step(*arguments)
        finally:
            self.seconds[name] = round(time.monotonic() - started, 3)


def rehearse(
    definition: ModelDefinition, settings: Settings, start: datetime, end: datetime, now: datetime, watch: Watch
) -> Rehearsed:
    """Every step from pull to bundle; what stops one is a finding.

    Args:
        settings: with a folder, a ledger and connections for the rehearsal alone.
        now: labels that become known later do not exist.
    """
    request = RunRequest(model=definition.name, start=start, end=end, run_id=ACTOR, requested_at=now, actor=ACTOR)
    done = Rehearsed()
    try:
        pulled = watch("pull", pipeline.pull, definition, request, settings)
        stored = watch("snapshot", pipeline.snapshot, definition, request, settings, pulled)
        done = Rehearsed(snapshot=stored, columns=read_snapshot(stored, column_types(definition)))
        validated = watch("suite", pipeline.validate, definition, request, settings, stored)
        done = msgspec.structs.replace(done, validated=validated)
        return _fitted(done, definition, request, settings, watch)
    except TrainingImpossible as error:
        return msgspec.structs.replace(done, stopped=_stopped(Section.SPLIT, str(error)))
    except BundleRejected as error:
        return msgspec.structs.replace(done, stopped=_stopped(Section.SCORING, f"the bundle does not score: {error}"))
    except BatonError as error:
        fitting = "fit" in watch.seconds
        where, about = (Section.GATES, "estimator") if fitting else (Section.SOURCE, "source")
        return msgspec.structs.replace(done, stopped=_stopped(where, str(error), about))
    except (ValueError, TypeError, MemoryError) as error:  # the estimator's own words: it does not take these rows
        told = f"the estimator cannot be fitted or compiled: {error}"
        return msgspec.structs.replace(done, stopped=_stopped(Section.GATES, told, "estimator"))


def _fitted(
    done: Rehearsed, definition: ModelDefinition, request: RunRequest, settings: Settings, watch: Watch
) -> Rehearsed:
    """Where the suite refuses the data the rest runs all the same: whoever checks wants to know all of it."""
    from training.bundle import make_bundle  # noqa: PLC0415  it loads what compiles models

    stored, validated = done.snapshot, done.validated
    if stored is None or validated is None:
        return done
    trained = watch("fit", pipeline.train, definition, request, settings, stored, _taken(validated))
    evaluated = watch("evaluate", pipeline.evaluate, definition, request, settings, stored, trained)
    gated = watch("gates", pipeline.gates, definition, request, settings, validated, evaluated)
    folder = settings.need_snapshot_dir() / "bundle"
    watch("bundle", make_bundle, folder, definition, request, stored, trained, evaluated, gated)
    return msgspec.structs.replace(done, trained=trained, evaluated=evaluated, gated=gated, bundle=folder)


def _taken(validated: Validated) -> Validated:
    passed = Verdict(gate="data", judgement=Judgement.PASS, sentence="taken as it is, to see the rest")
    return msgspec.structs.replace(validated, verdict=passed)


def _stopped(section: Section, sentence: str, about: str | None = None) -> Finding:
    shown = errors.sentence(" ".join(sentence.split()))
    return Finding(section=section, level=Level.ERROR, sentence=shown, about=about)
