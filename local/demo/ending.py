"""The last two steps: the stream is checked, and what came of it is written and told."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from local.demo import check, quality
from local.demo.check import CheckFailed, Stream
from local.demo.oracle import Outcome
from local.demo.report import render
from local.demo.stage import Stage
from local.demo.story import APRIL, JUNE, Seen
from local.demo.summary import Facts, Moments, Summary
from local.demo.terminal import Terminal
from scoring.scorer.scorer import Scorer

NEW_SEQUENCE = 2


@dataclass(frozen=True)
class Checked:
    """The stream, judged and measured."""

    summary: Summary
    facts: Facts
    complaints: tuple[str, ...]


def check_stream(stage: Stage, seen: Seen, terminal: Terminal) -> Checked:
    """Judge the stream, and measure it.

    Raises:
        DemoFailed: nothing can be said, or a prediction is not what its lineage says.
    """
    with ThreadPoolExecutor() as pool:
        scorers = {version: pool.submit(check.fetch, stage, version) for version in seen.versions}
        stream = check.read_stream(stage, sent=seen.sent)
        return _measure(stage, seen, terminal, stream, scorers)


def _measure(
    stage: Stage, seen: Seen, terminal: Terminal, stream: Stream, scorers: Mapping[str, Future[Scorer]]
) -> Checked:
    found = stream.findings
    terminal.say(
        f"{found.records_in:,} records went in; {found.predictions:,} predictions and {found.dead_letters:,} dead "
        f"letters came out; {len(found.lost):,} lost, {len(found.duplicated):,} doubled, "
        f"{len(found.foreign):,} of no record, {len(found.mixed):,} mixed up, {len(found.disordered):,} out of order"
    )
    scores = check.score_again(stream, scorers)
    terminal.say(f"{found.predictions:,} scores computed again from record and bundle: equal, bit for bit")
    dead_letters = _dead_letters(seen, stream)
    happened = quality.outcomes_of(stage.definition, stage.warehouse_url, APRIL, JUNE)
    pause = check.swap_pause(stream, NEW_SEQUENCE, since_ms=seen.may_ms)
    moments = _moments(stage, seen, stream, swap_ms=pause.at_ms)
    summary = check.summarize(
        stream,
        refused=seen.refused,
        happened=happened,
        notice_to_live_ms=_live_ms(stage) - moments.notice_ms,
        pause=pause,
    )
    facts = check.gather(
        stage,
        stream,
        scores,
        happened=happened,
        pause=pause,
        moments=moments,
        dead_letters=dead_letters,
        phases=terminal.phases,
    )
    return Checked(summary, facts, (*found.complaints(), *_misjudged(seen, stream, dead_letters)))


def write(checked: Checked, folder: Path, terminal: Terminal) -> None:
    """Write ``summary.json`` and ``report.html``.

    Raises:
        CheckFailed: the stream is not whole; both files are written nevertheless.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_bytes(checked.summary.encode())
    (folder / "report.html").write_text(render(checked.summary, checked.facts), encoding="utf-8")
    terminal.say(f"written: {folder / 'summary.json'} and {folder / 'report.html'}")
    if checked.complaints:
        raise CheckFailed("the stream is not whole:\n  " + "\n  ".join(checked.complaints))


def tell(checked: Checked, stage: Stage, folder: Path, terminal: Terminal) -> None:
    """The summary that a person reads at the end."""
    summary, facts, local = checked.summary, checked.facts, stage.local
    by_version = ", ".join(f"{version.records:,} by version {version.version}" for version in summary.versions)
    usual = "" if facts.typical_pause_ms is None else f"; {facts.typical_pause_ms:.0f} ms is usual without one"
    handover = f"{facts.handover_gap_ms} ms from version to version"
    compared = facts.comparison
    rows = [
        ("records in", f"{summary.records_in:,}", "flights of April and May 2013, and a few broken ones"),
        ("predictions", f"{summary.predictions:,}", by_version),
        ("dead letters", f"{summary.dead_letters:,}", "each with its reason, its bytes as they came"),
        ("lost", f"{summary.lost:,}", "records without an outcome"),
        ("doubled", f"{summary.duplicated:,}", "records with more than one"),
        (
            "swap",
            f"{summary.swap.pause_ms} ms",
            f"the longest gap between two outputs within 5 s of it{usual}; {handover}",
        ),
        ("notice to live", f"{summary.swap.notice_to_live_ms / 1000:.1f} s", "fetched, verified, warmed up, swapped"),
        ("quality", _auc(compared.new_auc), f"of version 2; version 1 on the same flights: {_auc(compared.old_auc)}"),
        *(("refused", refusal.gate, refusal.reason) for refusal in summary.refused),
    ]
    line = terminal.plain
    line()
    line("  The model was replaced under the stream, and every record is accounted for.")
    line()
    for name, value, words in rows:
        terminal.columns(name, value, words)
    line()
    line("  Look at it")
    looks = [
        ("the picture", f"{folder / 'report.html'}"),
        ("Airflow", f"{local.airflow_url}   user admin, password in {stage.passwords_file}"),
        ("", "DAG train_flight_delay: two green runs, and a red one whose log says why"),
        ("MLflow", f"{local.mlflow_url}   user admin, password in {local.environment_file}"),
        ("the API", f"{local.api_url}   token: BATON_API_TOKEN in {local.environment_file}"),
        ("the table", f"{local.predictions_url}   predictions, latest_predictions, dead_letters"),
        ("the ledger", f". {local.environment_file}; baton ledger log {stage.definition.name}"),
        ("the stack", "make status, make logs"),
        ("stop it", "make down"),
    ]
    for name, words in looks:
        line(f"    {name:<15}{words}")
    line()
    line("  " + ", ".join(f"{title.split(':')[0].lower()} {seconds:.0f} s" for title, seconds in terminal.phases))
    line(f"  {terminal.elapsed_s:.0f} s in all")


def _dead_letters(seen: Seen, stream: Stream) -> list[tuple[str, str]]:
    """What was wrong with each malformed record, and the reason that its dead letter gives; empty where it has none."""
    told = _reasons(stream.outcomes)
    return [
        (record.name, told.get(f"{seen.malformed_run}-{number:06d}", ""))
        for number, record in enumerate(seen.malformed)
    ]


def _misjudged(seen: Seen, stream: Stream, dead_letters: list[tuple[str, str]]) -> list[str]:
    wrong = [
        f"a record ({name}): its dead letter's reason is {reason or 'missing'}, not {' or '.join(record.reasons)}"
        for record, (name, reason) in zip(seen.malformed, dead_letters, strict=True)
        if reason not in record.reasons
    ]
    surplus = stream.findings.dead_letters - len(seen.malformed)
    return [*wrong, *([f"{surplus} sound records became dead letters"] if surplus > 0 else [])]


def _reasons(outcomes: Sequence[Outcome]) -> Mapping[str, str]:
    return {o.identity or "": str(o.document["reason"]) for o in outcomes if o.dead_letter}


def _moments(stage: Stage, seen: Seen, stream: Stream, *, swap_ms: int) -> Moments:
    noticed = check.notice_ms(stage, NEW_SEQUENCE)
    if noticed is None:
        raise CheckFailed(f"there is no notice of sequence {NEW_SEQUENCE}")
    first = min(outcome.record.timestamp_ms for outcome in stream.outcomes)
    return Moments(
        first_ms=first,
        retrain_ms=seen.retrain_ms,
        damaged_ms=seen.damaged_ms,
        malformed_ms=seen.malformed_ms,
        notice_ms=noticed,
        swap_ms=swap_ms,
    )


def _live_ms(stage: Stage) -> int:
    found = check.live_ms(stage, NEW_SEQUENCE)
    if found is None:
        raise CheckFailed(f"no worker acknowledged sequence {NEW_SEQUENCE}")
    return found


def _auc(value: float | None) -> str:
    return "unknown" if value is None else f"AUC {value:.3f}"
