"""Promote, announce, wait: the decision in the ledger, its copies, and the workers. The scoring side does all of it."""

from datetime import timedelta

import structlog

from scoring.contract.errors import DecisionRefused
from scoring.contract.notice import Kind
from scoring.promotion import decide
from scoring.promotion.convergence import wait_until_converged
from scoring.promotion.entry import MAXIMUM_TEXT_CHARACTERS, Interval, Proposal
from scoring.promotion.ledger import Ledger
from scoring.promotion.notices import KafkaNotices
from scoring.promotion.observer import Answer
from scoring.promotion.repair import repair
from scoring.registry.open import open_registry
from scoring.settings import Settings
from training.definition import ModelDefinition
from training.refusals import GREEN, Refusal, refusal_of
from training.results import Announced, Answered, Gated, Promoted, Purpose, Registered, RunRequest, Waited
from training.watch import decided_entry, waited_of

log = structlog.get_logger(__name__)


def promote(
    definition: ModelDefinition,
    request: RunRequest,
    settings: Settings,
    gated: Gated,
    registered: Registered,
    answered: Answered | None = None,
) -> Promoted:
    """Enter the decision into the ledger (see ``training.pipeline``)."""
    version, digest = registered.version, registered.manifest_digest
    if not gated.accepted or version is None or digest is None:
        return Promoted(model=definition.name, sequence=None, version=None, refused=gated.sentence, red=gated.red)
    unasked = _not_for_promotion(request) or _unapproved(definition, digest, answered)
    if unasked is not None:
        return _refused(definition, request, version, digest, *unasked)
    proposal = _proposal(definition, request, gated, version, digest, answered)
    try:
        entry = decide.promote(
            Ledger.open(settings.need_ledger_url()), open_registry(settings.need_registry_uri()), proposal
        )
    except DecisionRefused as error:
        return _refused(definition, request, version, digest, refusal_of(error), str(error))
    log.info("promotion.decided", model=entry.model, version=entry.version, sequence=entry.sequence, why=entry.reason)
    return Promoted(
        model=entry.model, sequence=entry.sequence, version=entry.version, manifest_digest=entry.manifest_digest
    )


def foresee(
    definition: ModelDefinition, request: RunRequest, settings: Settings, gated: Gated, registered: Registered
) -> Promoted | None:
    """Why the ledger would refuse the candidate now, whatever a person says (see ``training.pipeline``)."""
    version, digest = registered.version, registered.manifest_digest
    if not gated.accepted or version is None or digest is None:
        return None
    try:
        Ledger.open(settings.need_ledger_url()).foresee(
            _proposal(definition, request, gated, version, digest, answered=None)
        )
    except DecisionRefused as error:
        return _refused(definition, request, version, digest, refusal_of(error), str(error))
    return None


def announce(
    definition: ModelDefinition, request: RunRequest, settings: Settings, promoted: Promoted
) -> Announced | None:
    """Make alias and notice equal to the ledger's head (see ``training.pipeline``)."""
    if promoted.sequence is None:
        return None
    ledger = Ledger.open(settings.need_ledger_url())
    board = KafkaNotices(settings.need_kafka(), settings.need_keyring(), ledger)
    repaired = repair(definition.name, ledger, open_registry(settings.need_registry_uri()), board)
    log.info(
        "promotion.announced",
        model=definition.name,
        run=request.run_id,
        version=repaired.version,
        sequence=repaired.sequence,
        copies=[action.copy for action in repaired.actions],
    )
    return Announced(sequence=repaired.sequence or promoted.sequence, version=repaired.version)


def wait(
    definition: ModelDefinition,
    request: RunRequest,
    settings: Settings,
    promoted: Promoted,
    limit: timedelta,
) -> Waited | None:
    """Watch the workers (see ``training.pipeline``)."""
    if promoted.sequence is None:
        return None

    def progress(answer: Answer) -> None:
        log.info("promotion.waiting", model=definition.name, run=request.run_id, stands=answer.sentence)

    ledger = Ledger.open(settings.need_ledger_url())
    answer = wait_until_converged(
        decided_entry(ledger, definition.name, promoted.sequence),
        ledger=ledger,
        kafka=settings.need_kafka(),
        keyring=settings.need_keyring(),
        input_topic=definition.all_topics.input,
        limit_s=limit.total_seconds(),
        progress=progress,
    )
    return waited_of(answer)


def _not_for_promotion(request: RunRequest) -> tuple[Refusal, str] | None:
    if request.purpose is Purpose.PROMOTION:
        return None
    what = "a backfill" if request.purpose is Purpose.BACKFILL else "a dry run"
    return Refusal.NOT_FOR_PROMOTION, f"{request.model}: {what} never moves the champion; start a run for a promotion"


def _unapproved(definition: ModelDefinition, digest: str, answered: Answered | None) -> tuple[Refusal, str] | None:
    """Why a person's approval is missing, where the definition asks for one."""
    if definition.approval is None:
        return None
    if answered is None:
        return Refusal.NOT_APPROVED, (
            f"{definition.name} is promoted only with a person's approval, and nobody was asked; run its DAG in Airflow"
        )
    if answered.manifest_digest != digest:
        return Refusal.NOT_APPROVED, (
            f"{definition.name}: the answer of {answered.by} was to candidate {answered.manifest_digest[:12]}, but "
            f"this is {digest[:12]}, which nobody was shown; start a new run"
        )
    if answered.approved and answered.by is not None:
        return None
    return (Refusal.UNANSWERED if answered.by is None else Refusal.REJECTED), answered.sentence


def _refused(
    definition: ModelDefinition, request: RunRequest, version: str, digest: str, refusal: Refusal, why: str
) -> Promoted:
    log.info("promotion.refused", model=definition.name, version=version, run=request.run_id, refusal=refusal, why=why)
    return Promoted(
        model=definition.name,
        sequence=None,
        version=version,
        manifest_digest=digest,
        refused=why,
        refusal=refusal,
        red=refusal not in GREEN,
    )


def _proposal(
    definition: ModelDefinition,
    request: RunRequest,
    gated: Gated,
    version: str,
    digest: str,
    answered: Answered | None,
) -> Proposal:
    actor, reason = request.actor, request.reason or gated.sentence
    if definition.approval is not None and answered is not None and answered.by is not None:
        actor, reason = answered.by, f"{answered.sentence}; asked for by {request.actor}: {reason}"
    return Proposal(
        model=definition.name,
        kind=Kind.PROMOTE,
        version=version,
        manifest_digest=digest,
        parent=gated.parent or 0,
        run_id=request.run_id,
        actor=actor,
        reason=reason[:MAXIMUM_TEXT_CHARACTERS],
        interval=Interval(start=request.start, end=request.end),
        evidence=gated.verdicts,
        effective_from=request.effective_from,
        forced=request.force,
    )
