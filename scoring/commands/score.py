"""``baton score``: score records with a bundle on disk, without Kafka or a registry."""

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from scoring.contract.encoder import Column
from scoring.lookups.sql import SqlLookups
from scoring.scorer.bundle import open_bundle
from scoring.scorer.golden import check_golden
from scoring.scorer.scorer import Scorer, described, lookup_columns
from scoring.settings import read_settings

BATCH_RECORDS = 2048


@click.command(
    epilog="""Examples:

\b
  baton score var/bundles/flight_delay/1 < records.jsonl
  baton score --without-lookups BUNDLE records.jsonl > scores.jsonl
"""
)
@click.argument("bundle", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("records", type=click.File("rb"), default="-")
@click.option("--without-lookups", is_flag=True, help="Treat looked-up values as missing instead of querying for them.")
def command(bundle: Path, records: BinaryIO, *, without_lookups: bool) -> None:
    """Score RECORDS (JSON, one a line) with the BUNDLE in a folder.

    Writes one JSON line per record, in order: the score and the decision, of several classes also the label and the
    probabilities, or the reason why it cannot be scored.
    Exit status 1 when a record could not be scored.
    """
    scorer = Scorer(open_bundle(bundle))
    check_golden(scorer)
    lookups = None if without_lookups else SqlLookups(read_settings().need_connection)
    failed = 0
    while lines := [line.rstrip(b"\r\n") for line in islice(records, BATCH_RECORDS)]:
        for document in _score(scorer, lookups, lines):
            failed += "reason" in document
            click.echo(msgspec.json.encode(document))
    sys.exit(1 if failed else 0)


def _score(scorer: Scorer, lookups: SqlLookups | None, lines: list[bytes]) -> Iterator[dict[str, object]]:
    decoded = scorer.decode(lines)
    found: dict[str, Column] = (
        lookup_columns(scorer, [{}] * len(decoded.rows))
        if lookups is None
        else dict(lookups.resolve(scorer.schema, decoded.columns, len(decoded.rows)))
    )
    scores = scorer.score({**decoded.columns, **found}, len(decoded.rows))
    decisions = scorer.decide(scores)
    documents: dict[int, dict[str, object]] = {
        failure.index: {"reason": failure.reason.value, "detail": failure.detail} for failure in decoded.failures
    }
    decided = [None] * len(decoded.rows) if decisions is None else decisions.tolist()
    for row, score, decision in zip(
        decoded.rows, described(scorer.manifest.output.classes, scores), decided, strict=True
    ):
        documents[row] = {**score, "decision": decision}
    for index in range(len(lines)):
        yield documents[index]
