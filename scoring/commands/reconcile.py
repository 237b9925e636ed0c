"""``baton reconcile``: make alias and notice equal to the ledger's head."""

import sys
from collections.abc import Sequence

import click

from scoring.console import EXIT_REFUSED, echo_json, json_option, open_ledger, open_notices
from scoring.promotion.repair import Comparison, Repaired, compare, repair_all
from scoring.registry.open import open_registry
from scoring.settings import read_settings


@click.command(
    epilog="""Examples:

\b
  baton reconcile                      # every model that the ledger knows
  baton reconcile flight_delay --check
"""
)
@click.argument("models", nargs=-1)
@click.option("--check", is_flag=True, help="Only compare; exit status 1 when something differs.")
@json_option
def command(models: tuple[str, ...], check: bool, as_json: bool) -> None:  # noqa: FBT001
    """Compare the ledger's head of each of MODELS with its copies, and repair them until they are equal.

    The copies are the registry's alias "champion" and the newest notice on Kafka. A process that was killed between
    the decision and its copies leaves a difference; this, every pipeline run and a scheduled DAG remove it. Safe to
    repeat. Exit status 1 when a model could not be repaired.
    """
    settings = read_settings()
    ledger, registry = open_ledger(settings), open_registry(settings.need_registry_uri())
    board = open_notices(settings, ledger)
    wanted = list(models) or ledger.models()
    if check:
        newest = board.newest()
        compared = [compare(model, ledger, registry, newest) for model in wanted]
        _finish([_compared_line(found) for found in compared], compared, as_json=as_json)
        sys.exit(0 if all(found.equal for found in compared) else EXIT_REFUSED)
    repaired = repair_all(wanted, ledger, registry, board)
    _finish([_repaired_line(done) for done in repaired], repaired, as_json=as_json)
    sys.exit(EXIT_REFUSED if any(done.error for done in repaired) else 0)


def _finish(lines: Sequence[str], documents: Sequence[object], *, as_json: bool) -> None:
    if as_json:
        echo_json(documents)
        return
    for line in lines:
        click.echo(line)
    if not lines:
        click.echo("the ledger has no entry of any model", err=True)


def _compared_line(found: Comparison) -> str:
    if found.sequence is None:
        return f"{found.model}: no entry in the ledger"
    if found.equal:
        return f"{found.model}: alias and notice are at sequence {found.sequence}"
    return (
        f"{found.model}: the ledger is at sequence {found.sequence}; the alias names {found.alias or 'none'}, "
        f"must name {found.wanted or 'none'}; the notice is {found.notice.value}"
    )


def _repaired_line(done: Repaired) -> str:
    if done.error:
        return f"{done.model}: not repaired: {done.error}"
    if done.sequence is None:
        return f"{done.model}: no entry in the ledger"
    if not done.actions:
        return f"{done.model}: alias and notice were at sequence {done.sequence} already"
    actions = ", ".join(f"{action.copy} {action.was or 'none'} -> {action.now or 'none'}" for action in done.actions)
    return f"{done.model}: repaired to sequence {done.sequence}: {actions}"
