"""``baton promote``: make a registered version the champion."""

import sys
from datetime import datetime

import click

from scoring.console import (
    EXIT_REFUSED,
    Moment,
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
from scoring.promotion.decide import promote, proposal_of, read_back
from scoring.registry.open import open_registry
from scoring.settings import read_settings


@click.command(
    epilog="""Examples:

\b
  baton promote flight_delay 3 --reason "approved in review 118" --wait
  baton promote flight_delay 2 --reason "the fix of its lookup is out" --force
"""
)
@click.argument("model")
@click.argument("version")
@click.option("--reason", required=True, help="Why, for those who read the ledger later.")
@click.option("--effective-from", type=Moment(), help="Event time from which it counts; by default now.")
@click.option("--on", "parent", type=click.IntRange(min=0), help="Only while this sequence is the ledger's head.")
@click.option("--force", is_flag=True, help="Overrule the gates and the ledger's rules; the ledger remembers it.")
@actor_option
@run_id_option
@wait_option
@limit_option
@json_option
def command(
    model: str,
    version: str,
    reason: str,
    effective_from: datetime | None,
    parent: int | None,
    force: bool,  # noqa: FBT001
    actor: str | None,
    run_id: str | None,
    wait: bool,  # noqa: FBT001
    limit_s: float,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Make VERSION of MODEL the champion: read it back from the registry, enter the decision, announce it.

    Refused, unless forced, where a gate did not pass, where the version was rolled back, and where its data is older
    than the champion's. Exit status 1 when refused, or when the workers refuse it or do not follow in time.
    """
    settings = read_settings()
    require_copies(settings)
    ledger, registry = open_ledger(settings), open_registry(settings.need_registry_uri())
    if parent is None:
        head = ledger.head(model)
        parent = head.sequence if head else 0
    manifest, digest = read_back(registry, model, version, None)
    proposal = proposal_of(
        manifest,
        digest,
        version=version,
        parent=parent,
        run_id=run_id or new_run_id(),
        actor=actor or default_actor(),
        reason=reason,
        effective_from=effective_from,
        forced=force,
    )
    entry = promote(ledger, registry, proposal)
    repaired, answer = follow_up(settings, ledger, registry, entry, waiting=wait, limit_s=limit_s)
    echo_decision(entry, repaired, answer, as_json=as_json)
    sys.exit(EXIT_REFUSED if answer and not answer.green else 0)
