"""The check of the whole stream, and all that is measured on it, from the topics and the warehouse."""

import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from local.demo import quality
from local.demo.errors import DemoFailed
from local.demo.measure import AROUND_MS, Pause, pause_at_swap, per_second, records_per_s, versions
from local.demo.oracle import Findings, Outcome, dead_letter_outcome, judge, prediction_outcome
from local.demo.quality import Scored
from local.demo.records import Record, read_topic
from local.demo.stage import Stage
from local.demo.summary import Comparison, Facts, Moments, Refusal, Summary, Swap, Version, VersionQuality
from scoring.contract.acknowledgement import Outcome as Acknowledged
from scoring.contract.acknowledgement import unseal_acknowledgement
from scoring.contract.clock import epoch_s, from_epoch_s
from scoring.contract.notice import unseal_notice
from scoring.contract.topics import ACKNOWLEDGEMENTS, NOTICES
from scoring.registry.fetch import fetch_command
from scoring.scorer.bundle import open_bundle
from scoring.scorer.scorer import Scorer, lookup_columns

ZONE = ZoneInfo("America/New_York")
_BATCH = 4096


class CheckFailed(DemoFailed):
    """The stream is not whole, or a prediction is not what its lineage says."""


@dataclass(frozen=True)
class Stream:
    """The three topics as they are, and what the oracle says of them."""

    inputs: Sequence[Record]
    outcomes: Sequence[Outcome]
    findings: Findings

    @property
    def predictions(self) -> list[Outcome]:
        """The outcomes that are predictions."""
        return [outcome for outcome in self.outcomes if not outcome.dead_letter]


def read_stream(stage: Stage, *, sent: int) -> Stream:
    """Read all three topics from beginning to end and judge them.

    Raises:
        Inconclusive, Unreadable: nothing can be said.
    """
    topics = stage.definition.all_topics
    inputs = read_topic(stage.kafka, topics.input)
    outcomes = [
        *map(prediction_outcome, read_topic(stage.kafka, topics.predictions)),
        *map(dead_letter_outcome, read_topic(stage.kafka, topics.dead_letters)),
    ]
    same = {name: name for name in stage.definition.pass_through}
    return Stream(inputs, outcomes, judge(topics.input, inputs, outcomes, sent=sent, pass_through=same))


def score_again(stream: Stream, scorers: Mapping[str, Future[Scorer]]) -> dict[str, dict[str, float]]:
    """Score every prediction's record with each version's bundle and the looked-up values that the prediction holds.

    Returns:
        scores by identity, by version.

    Raises:
        CheckFailed: a prediction is not, bit for bit, what the bundle that it names makes of its record.
    """
    by_identity = {record.header("correlation-id"): record for record in stream.inputs}
    predictions = stream.predictions
    values = [by_identity[outcome.identity].value for outcome in predictions]
    lookups = [outcome.document["lookups"] for outcome in predictions]
    scores = {}
    for version in sorted({outcome.version for outcome in predictions}):
        found = _score(scorers[version].result(), values, lookups)
        scores[version] = {o.identity or "": score for o, score in zip(predictions, found, strict=True)}
    wrong = [o.place for o in predictions if o.document["score"] != scores[o.version][o.identity or ""]]
    if wrong:
        raise CheckFailed(f"{len(wrong)} predictions are not what their version makes of their record: {wrong[:3]}")
    return scores


def summarize(
    stream: Stream, *, refused: Iterable[Refusal], happened: Mapping[str, bool], notice_to_live_ms: int, pause: Pause
) -> Summary:
    """The content of ``summary.json``."""
    found = stream.findings
    return Summary(
        records_in=found.records_in,
        predictions=found.predictions,
        dead_letters=found.dead_letters,
        lost=len(found.lost),
        duplicated=len(found.duplicated),
        versions=tuple(
            Version(version=count.version, sequence=count.sequence, records=count.records)
            for count in versions(stream.outcomes)
        ),
        swap=Swap(sequence=pause.sequence, pause_ms=pause.longest_gap_ms, notice_to_live_ms=notice_to_live_ms),
        refused=tuple(refused),
        quality={
            version: VersionQuality(records=q.records, auc=q.auc, base_rate=q.base_rate)
            for version, q in quality.by_version(_scored(stream.predictions), happened).items()
        },
        records_per_s=round(records_per_s(stream.outcomes), 1),
    )


def gather(
    stage: Stage,
    stream: Stream,
    scores: Mapping[str, Mapping[str, float]],
    *,
    happened: Mapping[str, bool],
    pause: Pause,
    moments: Moments,
    dead_letters: Sequence[tuple[str, str]],
    phases: Sequence[tuple[str, float]],
) -> Facts:
    """What the report shows beside the summary."""
    predictions = stream.predictions
    first, last = (versions(stream.outcomes)[place].version for place in (0, -1))
    by_newest = [outcome for outcome in predictions if outcome.version == last]
    new = quality.quality_of(_scored(by_newest), happened)
    old = quality.quality_of(_scored(by_newest, scores[first]), happened)
    return Facts(
        model=stage.definition.name,
        made_at=datetime.now(UTC),
        moments=moments,
        around_ms=AROUND_MS,
        handover_gap_ms=pause.handover_gap_ms,
        typical_pause_ms=pause.typical_gap_ms,
        per_second=per_second(stream.outcomes),
        daily=quality.by_day(_scored(predictions), happened, ZONE),
        daily_first=quality.by_day(_scored(predictions, scores[first]), happened, ZONE),
        swapped_on=from_epoch_s(min(s.event_s for s in _scored(by_newest))).astimezone(ZONE).date(),
        comparison=Comparison(records=new.labelled, new_auc=new.auc, old_auc=old.auc),
        dead_letters=tuple(dead_letters),
        recomputed=len(predictions),
        phases=tuple(phases),
    )


def notice_ms(stage: Stage, sequence: int) -> int | None:
    """When the notice of ``sequence`` was written, by its record's timestamp; None before that."""
    keyring = stage.settings.need_keyring()
    for record in read_topic(stage.kafka, NOTICES):
        notice = unseal_notice(record.key, record.value, [(k, v or b"") for k, v in record.headers], keyring)
        if (notice.model, notice.sequence) == (stage.definition.name, sequence):
            return record.timestamp_ms
    return None


def live_ms(stage: Stage, sequence: int) -> int | None:
    """When the worker acknowledged that ``sequence`` is live, by that record's timestamp; None before that."""
    keyring = stage.settings.need_keyring()
    for record in read_topic(stage.kafka, ACKNOWLEDGEMENTS):
        said = unseal_acknowledgement(record.key, record.value, [(k, v or b"") for k, v in record.headers], keyring)
        if (said.model, said.sequence, said.outcome) == (stage.definition.name, sequence, Acknowledged.LIVE):
            return record.timestamp_ms
    return None


def swap_pause(stream: Stream, sequence: int, *, since_ms: int) -> Pause:
    """The pause when ``sequence`` took over."""
    return pause_at_swap(stream.outcomes, sequence, since_ms=since_ms)


def _scored(predictions: Iterable[Outcome], scores: Mapping[str, float] | None = None) -> list[Scored]:
    """Predictions with the score that they hold, or with another version's."""
    return [
        Scored(
            key=(outcome.record.key or b"").decode(),
            event_s=epoch_s(datetime.fromisoformat(outcome.document["event_time"])),
            version=outcome.version,
            score=outcome.document["score"] if scores is None else scores[outcome.identity or ""],
        )
        for outcome in predictions
    ]


def fetch(stage: Stage, version: str) -> Scorer:
    """The scorer of a registered version; takes seconds.

    Raises:
        CheckFailed: it cannot be fetched.
    """
    with tempfile.TemporaryDirectory(prefix="baton-demo-") as folder:
        target = Path(folder) / version
        done = subprocess.run(fetch_command(stage.definition.name, version, target), capture_output=True, check=False)
        if done.returncode:
            raise CheckFailed(
                f"version {version} cannot be fetched: {done.stdout.decode()} {done.stderr.decode()[-500:]}"
            )
        return Scorer(open_bundle(target, None))


def _score(
    scorer: Scorer, values: Sequence[bytes | None], lookups: Sequence[Mapping[str, Mapping[str, float | str | None]]]
) -> list[float]:
    found: list[float] = []
    for start in range(0, len(values), _BATCH):
        decoded = scorer.decode(values[start : start + _BATCH])
        if decoded.failures:
            raise CheckFailed(f"a record that has a prediction does not decode: {decoded.failures[0].detail}")
        columns = {**decoded.columns, **lookup_columns(scorer, lookups[start : start + _BATCH])}
        found += np.asarray(scorer.score(columns, len(decoded.rows))).tolist()
    return found
