"""``baton show``: one version of a model, with its evidence and verdicts."""

import sys
from collections.abc import Iterator
from datetime import datetime

import click
import msgspec

from scoring.console import (
    EXIT_REFUSED,
    describe_entry,
    echo_json,
    json_option,
    open_ledger,
    size_text,
    standing_of,
    verdict_lines,
)
from scoring.contract.clock import rfc3339
from scoring.contract.errors import BundleRejected, DecisionRefused
from scoring.contract.manifest import Manifest
from scoring.promotion.decide import read_back
from scoring.promotion.entry import LedgerEntry
from scoring.promotion.rules import Unfounded
from scoring.registry.open import open_registry
from scoring.registry.port import Registry
from scoring.settings import read_settings


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a version.

    Attributes:
        standing: champion, retired, rolled back, superseded, or candidate.
        entries: those of the ledger that name it.
        manifest: None where the bundle must not be believed; ``problem`` says why.
    """

    model: str
    version: str
    standing: str
    registered_at: datetime | None
    entries: tuple[LedgerEntry, ...]
    manifest_digest: str | None
    manifest: Manifest | None
    problem: str | None = None


@click.command(
    epilog="""Examples:

\b
  baton show flight_delay              # the champion
  baton show flight_delay 3
  baton show flight_delay 3 --json
"""
)
@click.argument("model")
@click.argument("version", required=False)
@json_option
def command(model: str, version: str | None, *, as_json: bool) -> None:
    """Show VERSION of MODEL: what decided about it, what it was made from, its metrics and the gates' verdicts.

    Without VERSION the one that the ledger's head names. Exit status 1 when its bundle is damaged, or is not the one
    that the ledger names.
    """
    settings = read_settings()
    entries = open_ledger(settings).entries(model)
    if version is None:
        if not entries:
            raise Unfounded(f"{model} has no entry in the ledger; `baton versions {model}` lists what is registered")
        version = entries[-1].version
    shown = _shown(model, version, entries, open_registry(settings.need_registry_uri()))
    if as_json:
        echo_json(shown)
    else:
        for line in _lines(shown):
            click.echo(line)
    sys.exit(EXIT_REFUSED if shown.problem else 0)


def _shown(model: str, version: str, entries: list[LedgerEntry], registry: Registry) -> Shown:
    own = tuple(entry for entry in entries if entry.version == version)
    known = next((info for info in registry.versions(model) if info.version == version), None)
    manifest, digest, problem = _manifest(registry, model, version, own[-1].manifest_digest if own else None)
    return Shown(
        model=model,
        version=version,
        standing=standing_of(version, entries),
        registered_at=None if known is None else known.created_at,
        entries=own,
        manifest_digest=digest,
        manifest=manifest,
        problem=problem,
    )


def _manifest(
    registry: Registry, model: str, version: str, expected: str | None
) -> tuple[Manifest | None, str | None, str | None]:
    """The manifest and its digest, or what is wrong with the bundle."""
    try:
        manifest, digest = read_back(registry, model, version, expected)
    except (BundleRejected, DecisionRefused) as error:
        return None, expected, str(error)
    return manifest, digest, None


def _lines(shown: Shown) -> Iterator[str]:
    yield f"{shown.model}: version {shown.version}, {shown.standing}"
    for entry in shown.entries:
        yield f"  {describe_entry(entry).removeprefix(f'{shown.model}: ')}"
    if shown.registered_at is not None:
        yield f"  registered at {rfc3339(shown.registered_at)}"
    if shown.problem is not None:
        yield f"  the bundle must not be believed: {shown.problem}"
    yield f"  manifest: {shown.manifest_digest or 'none'}"
    evidence = shown.manifest.verdicts if shown.manifest else shown.entries[-1].evidence if shown.entries else ()
    if shown.manifest is not None:
        yield from _manifest_lines(shown.manifest)
    yield from verdict_lines(evidence)


def _manifest_lines(manifest: Manifest) -> Iterator[str]:
    data, schema = manifest.snapshot, manifest.schema
    refitted = "refitted on the holdout" if data.refitted_on_holdout else "not refitted on the holdout"
    yield f"  estimator: {manifest.estimator}"
    if manifest.output.classes:
        yield f"  classes: {', '.join(manifest.output.classes)}"
    yield f"  features: {len(schema.features)} from {len(schema.fields)} fields and {len(schema.lookups)} lookups"
    yield f"  data: {rfc3339(data.start)} to {rfc3339(data.end)}, snapshot {data.sha256}"
    yield (
        f"  rows: {data.training_rows:,} for training, {data.holdout_rows:,} held out "
        f"from {rfc3339(data.holdout_start)}; {refitted}"
    )
    yield f"  files: {', '.join(f'{name} {size_text(file.size_bytes)}' for name, file in manifest.files.items())}"
    yield f"  made at {rfc3339(manifest.created_at)} by revision {manifest.code_revision or 'unknown'}"
    yield f"  with: {', '.join(f'{name} {number}' for name, number in manifest.environment.items()) or 'unknown'}"
    for name, value in manifest.metrics.items():
        yield f"  metric {name}: {value:.6g}"
