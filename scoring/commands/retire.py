"""``baton retire``: take a model out of service."""

import click

from scoring.console import Asked, carry_out, decision_options, head_option
from scoring.promotion.decide import retire


@click.command(
    epilog="""Examples:

\b
  baton retire flight_delay --reason "the route was given up" --wait
"""
)
@click.argument("model")
@head_option
@decision_options
def command(model: str, *, while_head: int | None, asked: Asked) -> None:
    """Take MODEL out of service, by an entry of the ledger like any other.

    Workers stop taking its records, commit what they have scored, and let go of its topic; the records wait there. A
    promotion or a rollback brings the model back. Exit status 1 when it is not in service, or when the workers do not
    follow in time.
    """
    carry_out(
        asked,
        lambda ledger, _: retire(
            ledger, model, actor=asked.actor, reason=asked.reason, run_id=asked.run_id, while_head=while_head
        ),
    )
