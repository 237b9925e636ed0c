"""``baton rollback``: go back to an earlier champion."""

import click

from scoring.console import Asked, carry_out, decision_options, head_option
from scoring.promotion.decide import rollback


@click.command(
    epilog="""Examples:

\b
  baton rollback flight_delay --reason "scores jumped at 14:05" --wait
  baton rollback flight_delay --to 1 --reason "2 and 3 were trained on wrong labels"
"""
)
@click.argument("model")
@click.option("--to", "to_version", help="A version that was champion before; by default the one before the present.")
@head_option
@decision_options
def command(model: str, *, to_version: str | None, while_head: int | None, asked: Asked) -> None:
    """Make an earlier champion of MODEL the champion again, by an entry of the ledger like any other.

    The version that it replaces counts as rolled back: only force promotes it again. Exit status 1 when there is
    nothing to go back to, or when the workers refuse or do not follow in time.
    """
    carry_out(
        asked,
        lambda ledger, registry: rollback(
            ledger,
            registry,
            model,
            actor=asked.actor,
            reason=asked.reason,
            run_id=asked.run_id,
            to_version=to_version,
            while_head=while_head,
        ),
    )
