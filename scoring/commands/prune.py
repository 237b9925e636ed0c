"""``baton prune``: delete old versions, snapshots, runs and pulls that nothing needs any more."""

import sys
from datetime import UTC, datetime, timedelta

import click

from scoring.console import EXIT_REFUSED, echo_json, echo_table, json_option, open_ledger, size_text
from scoring.contract.clock import rfc3339
from scoring.promotion.pipeline_folder import Item, What
from scoring.promotion.prune import Plan, Policy, Pruned, Store, carry_out, known_models, plan
from scoring.registry.open import open_registry
from scoring.settings import read_settings

_DEFAULT = Policy()


@click.command(
    epilog="""Examples:

\b
  baton prune --dry-run                # every model that the ledger or the pipeline's folder knows
  baton prune flight_delay --keep 20 --days 90
  baton prune --only run --days 7
"""
)
@click.argument("models", nargs=-1)
@click.option(
    "--keep",
    default=_DEFAULT.keep,
    show_default=True,
    type=click.IntRange(min=1),
    help="So many of each kind and model stay, the newest.",
)
@click.option(
    "--days",
    default=_DEFAULT.older_than.days,
    show_default=True,
    type=click.IntRange(min=1),
    help="What is younger than so many days stays.",
)
@click.option(
    "--only", type=click.Choice([what.value for what in What]), multiple=True, help="Only this kind; may be repeated."
)
@click.option("--dry-run", is_flag=True, help="Only list what would go, with sizes.")
@json_option
def command(
    models: tuple[str, ...], *, keep: int, days: int, only: tuple[str, ...], dry_run: bool, as_json: bool
) -> None:
    """Delete the versions, snapshots, runs and pulls of MODELS that are old and that nothing needs.

    Kept whatever their age: versions that an entry of the ledger or an alias names, or another tool registered, and
    the snapshots that their manifests name. A run's folders (what it put together, its candidate, its bundle) are only
    needed while it runs; what was pulled of a source only saves pulling it again. Snapshots, runs and pulls are those
    below BATON_SNAPSHOT_DIR on this host; without it only versions are pruned. Safe to repeat. Exit status 1 when
    something was left alone because it could not be judged or deleted.
    """
    settings = read_settings()
    store = Store(open_ledger(settings), open_registry(settings.need_registry_uri()), settings.snapshot_dir)
    policy = Policy(keep=keep, older_than=timedelta(days=days))
    kinds = [What(name) for name in only] or list(What)
    planned = plan(models or known_models(store), store, policy, datetime.now(UTC), kinds)
    if dry_run:
        _tell(planned, None, as_json=as_json)
        sys.exit(EXIT_REFUSED if planned.problems else 0)
    pruned = carry_out(planned, store, lambda item: click.echo(f"deleted {_named(item)}", err=True))
    _tell(planned, pruned, as_json=as_json)
    sys.exit(EXIT_REFUSED if planned.problems or pruned.problems else 0)


def _tell(planned: Plan, pruned: Pruned | None, *, as_json: bool) -> None:
    if as_json:
        echo_json({"planned": planned, "pruned": pruned})
        return
    items = planned.items if pruned is None else pruned.items
    rows = [
        (item.model, item.what.value, item.name[:16], rfc3339(item.changed_at)[:10], size_text(item.size_bytes))
        for item in items
    ]
    if rows:
        echo_table(("model", "kind", "name", "changed", "size"), rows)
    for problem in (*planned.problems, *(pruned.problems if pruned else ())):
        click.echo(f"baton: {problem}", err=True)
    kept = ", ".join(f"{count} {what.value}{'' if count == 1 else 's'}" for what, count in planned.kept.items())
    verb = "would go, which frees" if pruned is None else "gone, of at most"
    click.echo(f"{len(items)} {verb} {size_text(planned.frees_bytes)}; kept: {kept or 'nothing'}")


def _named(item: Item) -> str:
    return f"{item.what.value} {item.name} of {item.model}"
