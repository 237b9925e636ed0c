"""The candidates of a model: every run that the registry remembers, what became of it, and why it was refused."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from baton_airflow.page.reading import Kept
from scoring.console import standing_of
from scoring.promotion.entry import LedgerEntry
from scoring.registry.port import RunInfo, VersionInfo

# The tag of a version that names its MLflow run; the module that defines it imports MLflow.
RUN_TAG = "baton.mlflow_run"
_GATE = "baton.gate."
REFUSED, CANDIDATE = "refused", "candidate"


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One candidate.

    Attributes:
        version: None where the gates refused it, so that it was never registered.
        standing: champion, superseded, rolled back, retired, candidate or refused.
        why: why it was refused, or what its run said in the end.
        failed: the gates that did not pass, with their sentences.
        purpose: ``dry_run`` or ``backfill`` where it was never meant to be promoted.
    """

    version: str | None
    standing: str
    at: datetime
    why: str
    failed: tuple[tuple[str, str], ...] = ()
    purpose: str | None = None
    actor: str | None = None
    data: tuple[str, str] | None = None
    refused_by: str | None = None


def candidates_of(kept: Kept, entries: Sequence[LedgerEntry]) -> tuple[Candidate, ...]:
    """All of them, newest first: runs where the registry keeps them, and versions that have none."""
    by_run = {version.tags[RUN_TAG]: version for version in kept.versions if RUN_TAG in version.tags}
    runs = kept.runs or ()
    found = [_of_run(run, by_run.get(run.run_id), entries) for run in runs]
    known = {candidate.version for candidate in found}
    found += [_of_version(version, entries) for version in kept.versions if version.version not in known]
    return tuple(sorted(found, key=lambda candidate: candidate.at, reverse=True))


def promotable(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Those that were registered and never promoted."""
    return tuple(each for each in candidates if each.version is not None and not _decided(each))


def _decided(candidate: Candidate) -> bool:
    return candidate.standing not in {CANDIDATE, REFUSED}


def _of_run(run: RunInfo, version: VersionInfo | None, entries: Sequence[LedgerEntry]) -> Candidate:
    tags = run.tags
    standing = REFUSED if version is None else standing_of(version.version, entries)
    if standing == CANDIDATE and tags.get("baton.outcome") == REFUSED:
        standing = REFUSED  # by a person, or by the ledger's rules
    data = run.params.get("data_start"), run.params.get("data_end")
    return Candidate(
        version=None if version is None else version.version,
        standing=standing,
        at=run.started_at,
        why=tags.get("baton.sentence", ""),
        failed=tuple(_failed(run)),
        purpose=_purpose(tags.get("baton.purpose")),
        actor=tags.get("baton.actor"),
        data=(data[0][:10], data[1][:10]) if data[0] and data[1] else None,
        refused_by=tags.get("baton.refused_by"),
    )


def _of_version(version: VersionInfo, entries: Sequence[LedgerEntry]) -> Candidate:
    return Candidate(
        version=version.version,
        standing=standing_of(version.version, entries),
        at=version.created_at,
        why="",
        purpose=_purpose(version.tags.get("baton.purpose")),
    )


def _failed(run: RunInfo) -> Iterator[tuple[str, str]]:
    for name, text in sorted(run.tags.items()):
        judgement, _, sentence = text.partition(": ")
        if name.startswith(_GATE) and judgement in {"fail", "error"}:
            yield name.removeprefix(_GATE), sentence


def _purpose(purpose: str | None) -> str | None:
    return None if purpose in {None, "promotion"} else purpose
