"""Decisions made on the page: the code of ``baton promote`` and ``baton rollback``, in the name of the user.

The decision is the ledger's entry. Its copies follow at once where the registry and the broker can be reached; where
they cannot, the DAG ``baton_reconcile`` makes them, and the page says so.
"""

from collections.abc import Callable

import msgspec
import structlog
import tenacity

from baton_airflow.page.again import again_where
from scoring.contract.errors import BatonError, Unavailable
from scoring.promotion import decide
from scoring.promotion.entry import LedgerEntry
from scoring.promotion.ledger import Ledger
from scoring.promotion.notices import KafkaNotices
from scoring.promotion.repair import repair
from scoring.registry.open import open_registry
from scoring.registry.port import Registry
from scoring.settings import Settings

log = structlog.get_logger(__name__)


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a person wants decided.

    Attributes:
        version: the one to promote, or to go back to; empty: the one before the champion.
        head: the ledger's newest sequence that the person saw; a decision made meanwhile is not overruled.
        decision: the form's own name; sent twice, it is decided once.
    """

    model: str
    version: str
    head: int
    reason: str
    actor: str
    decision: str

    @property
    def run_id(self) -> str:
        """Names the decision in the ledger."""
        return f"page-{self.decision}"


class Told(msgspec.Struct, frozen=True):
    """What became of it, for people."""

    sentence: str
    good: bool


Decide = Callable[[Ledger, Registry, Order], LedgerEntry]


def promoting(ledger: Ledger, registry: Registry, order: Order) -> LedgerEntry:
    """Make a registered version the champion. No rule of the ledger is overruled here: that is the command's alone."""
    manifest, digest = decide.read_back(registry, order.model, order.version, None)
    proposal = decide.proposal_of(
        manifest,
        digest,
        version=order.version,
        parent=order.head,
        run_id=order.run_id,
        actor=order.actor,
        reason=order.reason,
    )
    return decide.promote(ledger, registry, proposal)


def rolling_back(ledger: Ledger, registry: Registry, order: Order) -> LedgerEntry:
    """Make an earlier champion the champion again."""
    return decide.rollback(
        ledger,
        registry,
        order.model,
        actor=order.actor,
        reason=order.reason,
        run_id=order.run_id,
        to_version=order.version or None,
        while_head=order.head,
    )


def carry_out(decided: Decide, order: Order, settings: Settings) -> Told:
    """Decide, and tell the workers. Blocks, for half a minute where a system is away."""
    try:
        ledger, registry, entry = tenacity.Retrying(**again_where(_is_away))(_decide_once, decided, order, settings)
    except BatonError as error:
        log.warning("page.refused", model=order.model, version=order.version, actor=order.actor, why=str(error))
        return Told(f"Nothing was decided. {error}", good=False)
    log.info("page.decided", model=entry.model, sequence=entry.sequence, kind=entry.kind.value, actor=entry.actor)
    sentence = f"Decided: {entry.kind.value} of version {entry.version}, entry {entry.sequence} of the ledger."
    return Told(f"{sentence} {_announced(entry.model, ledger, registry, settings)}", good=True)


def _decide_once(decided: Decide, order: Order, settings: Settings) -> tuple[Ledger, Registry, LedgerEntry]:
    """However often it is asked: the ledger answers the same order with the same entry."""
    ledger = Ledger.open(settings.need_ledger_url(), migrating=False)
    registry = open_registry(settings.need_registry_uri())
    return ledger, registry, decided(ledger, registry, order)


def _is_away(error: BaseException) -> bool:
    return isinstance(error, Unavailable)


def _announced(model: str, ledger: Ledger, registry: Registry, settings: Settings) -> str:
    """Make alias and notice; says how that went."""
    try:
        repair(model, ledger, registry, KafkaNotices(settings.need_kafka(), settings.need_keyring(), ledger))
    except BatonError as error:
        return f"The workers have not heard of it yet ({error}). The DAG baton_reconcile tells them every 15 minutes."
    return "The workers were told, and swap within seconds."
