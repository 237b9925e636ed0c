"""``baton rollback``: go back to an earlier champion."""

import sys

import click

from scoring.console import (
    EXIT_REFUSED,
    actor_option,
    default_actor,
    echo_decision,
    follow_up,
    json_option,
    limit_option,
    new_run_id,
    open_ledger,
    require_copies,
    run_id_option,
    wait_option,
)
from scoring.promotion.decide import rollback
from scoring.registry.open import open_registry
from scoring.settings import read_settings


@click.command(
    epilog="""Examples:

\b
  baton rollback flight_delay --reason "scores jumped at 14:05" --wait
  baton rollback flight_delay --to 1 --reason "2 and 3 were trained on wrong labels"
"""
)
@click.argument("model")
@click.option("--to", "to_version", help="A version that was champion before; by default the one before the present.")
@click.option("--reason", required=True, help="Why, for those who read the ledger later.")
@click.option("--on", "while_head", type=click.IntRange(min=1), help="Only while this sequence is the ledger's head.")
@actor_option
@run_id_option
@wait_option
@limit_option
@json_option
def command(
    model: str,
    to_version: str | None,
    reason: str,
    while_head: int | None,
    actor: str | None,
    run_id: str | None,
    wait: bool,  # noqa: FBT001
    limit_s: float,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Make an earlier champion of MODEL the champion again, by an entry of the ledger like any other.

    The version that it replaces counts as rolled back: only force promotes it again. Exit status 1 when there is
    nothing to go back to, or when the workers refuse or do not follow in time.
    """
    settings = read_settings()
    require_copies(settings)
    ledger, registry = open_ledger(settings), open_registry(settings.need_registry_uri())
    entry = rollback(
        ledger,
        registry,
        model,
        actor=actor or default_actor(),
        reason=reason,
        run_id=run_id or new_run_id(),
        to_version=to_version,
        while_head=while_head,
    )
    repaired, answer = follow_up(settings, ledger, registry, entry, waiting=wait, limit_s=limit_s)
    echo_decision(entry, repaired, answer, as_json=as_json)
    sys.exit(EXIT_REFUSED if answer and not answer.green else 0)
