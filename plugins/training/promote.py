"""Promote, announce, wait: the decision in the ledger, its copies, and the workers. The scoring side does all of it."""

from datetime import timedelta

import structlog

from scoring.contract.errors import ConfigurationError, DecisionRefused
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
from training.results import Announced, Gated, Promoted, Registered, RunRequest, Waited

log = structlog.get_logger(__name__)


def promote(
    definition: ModelDefinition, request: RunRequest, settings: Settings, gated: Gated, registered: Registered
) -> Promoted:
    """Enter the decision into the ledger (see ``training.pipeline``)."""
    version, digest = registered.version, registered.manifest_digest
    if not gated.accepted or version is None or digest is None:
        return Promoted(model=definition.name, sequence=None, version=None, refused=gated.sentence)
    ledger = Ledger.open(settings.need_ledger_url())
    try:
        entry = decide.promote(
            ledger,
            open_registry(settings.need_registry_uri()),
            _proposal(definition, request, gated, version, digest),
        )
    except DecisionRefused as error:
        log.info("promotion.refused", model=definition.name, version=version, run=request.run_id, why=str(error))
        return Promoted(
            model=definition.name, sequence=None, version=version, manifest_digest=digest, refused=str(error)
        )
    log.info("promotion.decided", model=entry.model, version=entry.version, sequence=entry.sequence, why=entry.reason)
    return Promoted(
        model=entry.model, sequence=entry.sequence, version=entry.version, manifest_digest=entry.manifest_digest
    )


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
    entry = ledger.entry(definition.name, promoted.sequence)
    if entry is None:
        raise ConfigurationError(
            f"{definition.name}: the ledger has no sequence {promoted.sequence}; was it promoted on another ledger?"
        )
    answer = wait_until_converged(
        entry,
        ledger=ledger,
        kafka=settings.need_kafka(),
        keyring=settings.need_keyring(),
        input_topic=definition.all_topics.input,
        limit_s=limit.total_seconds(),
        progress=progress,
    )
    return Waited(state=answer.standing.value, green=answer.green, sentence=answer.sentence)


def _proposal(definition: ModelDefinition, request: RunRequest, gated: Gated, version: str, digest: str) -> Proposal:
    return Proposal(
        model=definition.name,
        kind=Kind.PROMOTE,
        version=version,
        manifest_digest=digest,
        parent=gated.parent or 0,
        run_id=request.run_id,
        actor=request.actor,
        reason=(request.reason or gated.sentence)[:MAXIMUM_TEXT_CHARACTERS],
        interval=Interval(start=request.start, end=request.end),
        evidence=gated.verdicts,
        effective_from=request.effective_from,
        forced=request.force,
    )
