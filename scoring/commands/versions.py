"""``baton versions``: the registered versions of a model, and what the ledger says of each."""

import click
import msgspec

from scoring.console import echo_json, echo_table, json_option, open_ledger, standing_of
from scoring.contract.clock import rfc3339
from scoring.promotion.entry import LedgerEntry
from scoring.registry.open import open_registry
from scoring.registry.port import VersionInfo
from scoring.settings import read_settings


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One version.

    Attributes:
        standing: champion, retired, rolled back, superseded (was champion), or candidate (never was).
        sequences: the entries of the ledger that name it.
    """

    version: str
    standing: str
    sequences: tuple[int, ...]
    registered_at: str
    manifest_digest: str | None


@click.command(
    epilog="""Examples:

\b
  baton versions flight_delay
  baton versions flight_delay --json
"""
)
@click.argument("model")
@json_option
def command(model: str, as_json: bool) -> None:  # noqa: FBT001
    """List the versions of MODEL in the registry, with what the ledger says of each."""
    settings = read_settings()
    entries = open_ledger(settings).entries(model)
    versions = open_registry(settings.need_registry_uri()).versions(model)
    listed = [_listed(version, entries) for version in versions]
    if as_json:
        echo_json(listed)
        return
    if not listed:
        click.echo(f"the registry has no version of {model}", err=True)
        return
    rows = [
        (
            found.version,
            found.standing,
            ", ".join(map(str, found.sequences)),
            found.registered_at,
            (found.manifest_digest or "")[:12],
        )
        for found in listed
    ]
    echo_table(("version", "standing", "sequences", "registered at", "manifest"), rows)


def _listed(info: VersionInfo, entries: list[LedgerEntry]) -> Listed:
    own = [entry for entry in entries if entry.version == info.version]
    return Listed(
        version=info.version,
        standing=standing_of(info.version, entries),
        sequences=tuple(entry.sequence for entry in own),
        registered_at=rfc3339(info.created_at),
        manifest_digest=info.manifest_digest,
    )
