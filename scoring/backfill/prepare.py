"""Prepare: from what is asked to a plan, by the ledger and by what the bundles say of themselves."""

from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from scoring.backfill import lookahead
from scoring.backfill.asked import Asked, Origin, refused
from scoring.backfill.bundles import Bring, Fetched, bring_by_process, fetch
from scoring.backfill.lookahead import Span
from scoring.backfill.plan import Plan, fitting_s
from scoring.backfill.reigns import Reign, named, reigns
from scoring.backfill.topic import TopicRecords
from scoring.contract.errors import ConfigurationError
from scoring.contract.features import FrozenLookup
from scoring.contract.manifest import Manifest
from scoring.promotion.ledger import Ledger
from scoring.settings import Settings
from scoring.sources.joined import plan as plan_pulls
from scoring.sources.open import Sources


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A plan with what it needs on this host.

    Attributes:
        bundles: by version.
        connections: the URLs that are needed, by name.
        records: about how many there are; None where only reading tells.
        topic: the input topic, where the records come from that; with the options that reach it.
    """

    plan: Plan
    bundles: Mapping[str, Fetched]
    connections: Mapping[str, str]
    records: int | None = None
    topic: str = ""
    kafka: Mapping[str, Any] = {}


def prepare(asked: Asked, settings: Settings, folder: Path, bring: Bring | None = None) -> Prepared:
    """Plan a backfill; nothing is scored or written yet, but for the bundles, into ``folder``.

    Args:
        bring: brings a bundle; None does it as a worker does.

    Raises:
        BackfillRefused: some of the period cannot be scored as asked for; every reason is listed.
        ConfigurationError: a setting is missing; all of them are listed.
        Unavailable: ledger or registry cannot be reached.
    """
    found, reasons = _reigns(asked, settings)
    bundles = fetch(asked, found, bring or bring_by_process(settings), folder)
    snapshots = {version: bundle.snapshot for version, bundle in bundles.items()}
    spans = list(lookahead.spans(found, snapshots, {version: bundle.digest for version, bundle in bundles.items()}))
    if not asked.allow_lookahead:
        reasons += lookahead.reasons(spans, snapshots)
    if reasons:
        raise refused(asked, reasons)
    manifests = {version: bundle.manifest for version, bundle in bundles.items()}
    plan, connections = Plan(asked=asked, spans=tuple(spans)), _connections(asked, manifests.values(), settings)
    if asked.origin is Origin.SOURCES:
        records = _count(spans, manifests, connections)
        chunk_s = asked.chunk_s or fitting_s(records, (asked.end - asked.start).total_seconds())
        plan = msgspec.structs.replace(plan, chunk_s=chunk_s)
        return Prepared(plan=plan, bundles=bundles, connections=connections, records=records)
    kafka, topic = settings.need_kafka(), _topic_of(asked, manifests.values())
    with closing(TopicRecords(kafka, topic)) as reader:
        plan = msgspec.structs.replace(plan, topic_id=reader.identity(), offsets=tuple(reader.parts()))
    return Prepared(plan=plan, bundles=bundles, connections=connections, topic=topic, kafka=kafka)


def _count(spans: Iterable[Span], manifests: Mapping[str, Manifest], connections: Mapping[str, str]) -> int | None:
    """About how many records the sources have; None where only reading tells."""
    rows = 0
    with Sources(connections.__getitem__) as sources:
        for span in spans:
            manifest = manifests[span.version]
            kinds = {field.name: field.type for field in manifest.schema.fields}
            pulls = plan_pulls(manifest.sources, kinds, manifest.schema.event_time, span.start, span.end)
            for source, pull in zip(manifest.sources, pulls, strict=True):
                found = sources.count(pull) if source.join is None else 0
                if found is None:
                    return None
                rows += found
    return rows


def _reigns(asked: Asked, settings: Settings) -> tuple[list[Reign], list[str]]:
    if asked.version is None:
        ledger = Ledger.open(settings.need_ledger_url(), migrating=False)
        return reigns(ledger.entries(asked.model), asked.start, asked.end)
    known = Ledger.open(settings.ledger_url, migrating=False).entries(asked.model) if settings.ledger_url else []
    return [named(known, asked.version, None, asked.start, asked.end)], []


def _topic_of(asked: Asked, manifests: Iterable[Manifest]) -> str:
    """The one input topic of all versions, whose records have their event time in one field."""
    topics = sorted({manifest.topics.input for manifest in manifests})
    fields = sorted({manifest.schema.event_time for manifest in manifests})
    reasons = [f"its versions read several topics: {', '.join(topics)}"] if len(topics) > 1 else []
    reasons += [f"its versions have several event times: {', '.join(fields)}"] if len(fields) > 1 else []
    if reasons:
        raise refused(asked, [f"{reason}; ask for a period that one of them scores" for reason in reasons])
    return topics[0]


def _connections(asked: Asked, manifests: Iterable[Manifest], settings: Settings) -> dict[str, str]:
    found: dict[str, str] = {}
    missing: list[str] = []
    for name in sorted({name for manifest in manifests for name in _names(manifest, asked.origin)}):
        try:
            found[name] = settings.need_connection(name)
        except ConfigurationError as error:
            missing.append(str(error))
    if missing:
        raise ConfigurationError("\n".join(missing))
    return found


def _names(manifest: Manifest, origin: Origin) -> set[str]:
    lookups = [lookup for lookup in manifest.schema.lookups if not isinstance(lookup, FrozenLookup)]
    sources = manifest.sources if origin is Origin.SOURCES else ()
    return {each.connection for each in (*sources, *lookups)} - {""}
