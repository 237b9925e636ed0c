"""``baton promote``: make a registered version the champion."""

from datetime import datetime

import click

from scoring.console import Asked, Moment, carry_out, decision_options, head_option
from scoring.promotion.decide import promote, proposal_of, read_back
from scoring.promotion.entry import LedgerEntry
from scoring.promotion.ledger import Ledger
from scoring.registry.port import Registry


@click.command(
    epilog="""Examples:

\b
  baton promote flight_delay 3 --reason "approved in review 118" --wait
  baton promote flight_delay 2 --reason "the fix of its lookup is out" --force
"""
)
@click.argument("model")
@click.argument("version")
@click.option("--effective-from", type=Moment(), help="Event time from which it counts; by default now.")
@click.option("--force", is_flag=True, help="Overrule the gates and the ledger's rules; the ledger remembers it.")
@head_option
@decision_options
def command(
    model: str, version: str, *, effective_from: datetime | None, force: bool, while_head: int | None, asked: Asked
) -> None:
    """Make VERSION of MODEL the champion: read it back from the registry, enter the decision, announce it.

    Refused, unless forced, where a gate did not pass, where the version was rolled back, and where its data is older
    than the champion's. Exit status 1 when refused, or when the workers refuse it or do not follow in time.
    """

    def decide(ledger: Ledger, registry: Registry) -> LedgerEntry:
        head = ledger.head(model)
        parent = head.sequence if head else 0
        manifest, digest = read_back(registry, model, version, None)
        proposal = proposal_of(
            manifest,
            digest,
            version=version,
            parent=parent if while_head is None else while_head,
            run_id=asked.run_id,
            actor=asked.actor,
            reason=asked.reason,
            effective_from=effective_from,
            forced=force,
        )
        return promote(ledger, registry, proposal)

    carry_out(asked, decide)
