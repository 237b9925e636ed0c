"""The pipeline: one plain function per step, from the database to a live model. It knows nothing of a scheduler.

::

    pull -> assemble -> snapshot -> validate -> train -> evaluate -> gates -> register -> promote -> announce -> wait

Each step takes the definition, the request, the settings and what the steps before handed on, and returns a small
value that is JSON (``training.results``). Each may be repeated: it finds its earlier result or makes an equal one.
Systems that cannot be reached raise ``Unavailable``, which a caller retries.

This module imports no library for data, training or the registry; each step loads what it needs when it runs.
"""
# ruff: noqa: PLC0415  see the last sentence above

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import ParamSpec, TypeVar

import msgspec
import structlog

from scoring.settings import Settings
from training.definition import ModelDefinition
from training.results import (
    Announced,
    Answered,
    Evaluated,
    Gated,
    Promoted,
    Pulled,
    PulledSource,
    Refused,
    Registered,
    RunRequest,
    SnapshotRef,
    Trained,
    Validated,
    Waited,
)

log = structlog.get_logger(__name__)

Step = ParamSpec("Step")
Result = TypeVar("Result")

CONVERGENCE_LIMIT = timedelta(minutes=5)


def pull_source(definition: ModelDefinition, request: RunRequest, settings: Settings, source: str) -> PulledSource:
    """Read one source's rows of the interval, unless that was done before: for the same source, interval and code.

    Args:
        source: its name; each of the definition's sources is pulled by itself.

    Raises:
        Unavailable: the source cannot be read now.
        ConfigurationError: the connection, the place or a column is unknown.
    """
    from training.gather import pull_source as run

    return run(definition, request, settings, source)


def assemble(
    definition: ModelDefinition, request: RunRequest, settings: Settings, pulled: Sequence[PulledSource]
) -> Pulled:
    """Make records of what was pulled of all sources, and look up, as of each event, what the definition asks for.

    Raises:
        Unavailable: a database that values are looked up in cannot be reached.
        ConfigurationError: a source has two rows of one key, or a lookup's connection, table or column is unknown.
        SnapshotDamaged: what was pulled of a source is not there any more.
    """
    from training.pull import assemble as run

    return run(definition, request, settings, pulled)


def pull(definition: ModelDefinition, request: RunRequest, settings: Settings) -> Pulled:
    """``pull_source`` for all sources, one after the other, and ``assemble``; for callers without a scheduler."""
    from training.pull import pull as run

    return run(definition, request, settings)


def snapshot(definition: ModelDefinition, request: RunRequest, settings: Settings, pulled: Pulled) -> SnapshotRef:
    """Put the pulled rows into the store under the SHA-256 of their content, or find them there."""
    from training.snapshot import snapshot as run

    return run(definition, request, settings, pulled)


def validate(definition: ModelDefinition, request: RunRequest, settings: Settings, snapshot: SnapshotRef) -> Validated:
    """Hold the snapshot against the definition's suite. A suite that fails, or checks nothing, is a verdict."""
    from training.validate import validate as run

    return run(definition, request, settings, snapshot)


def train(
    definition: ModelDefinition,
    request: RunRequest,
    settings: Settings,
    snapshot: SnapshotRef,
    validated: Validated,
) -> Trained | None:
    """Fit on the rows before the holdout and compile; None where the suite refused the data, which trains nothing."""
    from training.train import train as run

    return run(definition, request, settings, snapshot, validated)


def evaluate(
    definition: ModelDefinition,
    request: RunRequest,
    settings: Settings,
    snapshot: SnapshotRef,
    trained: Trained | None,
) -> Evaluated | None:
    """Score the holdout with the compiled model, the estimator and the champion; None where nothing was trained.

    Raises:
        Unavailable: the ledger or the registry cannot be reached.
    """
    from training.evaluate import evaluate as run

    return run(definition, request, settings, snapshot, trained)


def gates(
    definition: ModelDefinition,
    request: RunRequest,
    settings: Settings,
    validated: Validated,
    evaluated: Evaluated | None,
) -> Gated:
    """Run every gate on the evidence; an exception in a gate is its verdict. Never raises for a bad candidate."""
    from training.gates import judge as run

    return run(definition, request, settings, validated, evaluated)


def register(
    definition: ModelDefinition,
    request: RunRequest,
    settings: Settings,
    snapshot: SnapshotRef,
    trained: Trained | None,
    evaluated: Evaluated | None,
    gated: Gated,
) -> Registered:
    """Record the run in the registry; write the bundle of an accepted candidate and register it as a version.

    Raises:
        BundleRejected: the bundle does not reproduce its golden rows.
        Unavailable: the registry cannot be reached.
    """
    from training.register import register as run

    return run(definition, request, settings, snapshot, trained, evaluated, gated)


def promote(
    definition: ModelDefinition,
    request: RunRequest,
    settings: Settings,
    gated: Gated,
    registered: Registered,
    answered: Answered | None = None,
) -> Promoted:
    """Insert the ledger's next entry, which is the decision; a retry finds the entry that it made (protocol A.2, A.3).

    Args:
        answered: what a person said, where the definition asks for an approval; without it nothing is promoted then.

    Raises:
        Unavailable: the ledger or the registry cannot be reached.
    """
    from training.promote import promote as run

    return run(definition, request, settings, gated, registered, answered)


def foresee(
    definition: ModelDefinition, request: RunRequest, settings: Settings, gated: Gated, registered: Registered
) -> Promoted | None:
    """Why the ledger would refuse an accepted candidate now; None where it would not. Nothing is decided.

    Raises:
        Unavailable: the ledger cannot be reached.
    """
    from training.promote import foresee as run

    return run(definition, request, settings, gated, registered)


def record_refusal(settings: Settings, registry_run: str, refused: Refused) -> None:
    """Say in the registry's run of an accepted candidate why it was not promoted after all.

    Raises:
        Unavailable: the registry cannot be reached.
    """
    from training.tracking import record_refusal as run

    run(settings.need_registry_uri(), registry_run, refused)


def announce(
    definition: ModelDefinition, request: RunRequest, settings: Settings, promoted: Promoted
) -> Announced | None:
    """Make alias and notice equal to the ledger's head (protocol A.6); None where nothing was promoted.

    Raises:
        Unavailable: the registry or the broker cannot be reached.
    """
    from training.promote import announce as run

    return run(definition, request, settings, promoted)


def wait(
    definition: ModelDefinition,
    request: RunRequest,
    settings: Settings,
    promoted: Promoted,
    limit: timedelta = CONVERGENCE_LIMIT,
) -> Waited | None:
    """Watch the workers until the promotion has converged or ``limit`` is over; None where nothing was promoted."""
    from training.promote import wait as run

    return run(definition, request, settings, promoted, limit)


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """All results of a run, for callers without a scheduler; None for the steps that a refusal left out."""

    pulled: Pulled
    snapshot: SnapshotRef
    validated: Validated
    trained: Trained | None
    evaluated: Evaluated | None
    gated: Gated
    registered: Registered
    promoted: Promoted | None = None
    announced: Announced | None = None
    waited: Waited | None = None


def run(
    definition: ModelDefinition,
    request: RunRequest,
    settings: Settings,
    *,
    announcing: bool = True,
    limit: timedelta = CONVERGENCE_LIMIT,
) -> Finished:
    """All steps one after the other in this process.

    Args:
        announcing: False ends with the decision: nothing is sent to Kafka, and nothing waited for.
    """
    pulled = _timed("pull", pull, definition, request, settings)
    stored = _timed("snapshot", snapshot, definition, request, settings, pulled)
    validated = _timed("validate", validate, definition, request, settings, stored)
    trained = _timed("train", train, definition, request, settings, stored, validated)
    evaluated = _timed("evaluate", evaluate, definition, request, settings, stored, trained)
    gated = _timed("gates", gates, definition, request, settings, validated, evaluated)
    registered = _timed("register", register, definition, request, settings, stored, trained, evaluated, gated)
    promoted = _timed("promote", promote, definition, request, settings, gated, registered) if gated.accepted else None
    announced = waited = None
    if announcing and promoted is not None:
        announced = _timed("announce", announce, definition, request, settings, promoted)
        waited = _timed("wait", wait, definition, request, settings, promoted, limit)
    return Finished(
        pulled=pulled,
        snapshot=stored,
        validated=validated,
        trained=trained,
        evaluated=evaluated,
        gated=gated,
        registered=registered,
        promoted=promoted,
        announced=announced,
        waited=waited,
    )


def _timed(name: str, step: Callable[Step, Result], *args: Step.args, **kwargs: Step.kwargs) -> Result:
    started = time.monotonic()
    result = step(*args, **kwargs)
    log.info("step.done", step=name, seconds=round(time.monotonic() - started, 2))
    return result
