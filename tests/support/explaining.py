"""Evidence for explanations: outcomes as a worker makes them, of bundles made by hand."""

from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

import msgspec
import numpy as np

from scoring.contract.acknowledgement import Acknowledgement, Outcome, Position
from scoring.contract.encoder import Column, Columns
from scoring.contract.features import FeatureSchema
from scoring.contract.prediction import decode_prediction
from scoring.explain.explaining import Evidence
from scoring.explain.judging import Judge, Raw
from scoring.letters.letter import letter_of
from scoring.promotion.entry import LedgerEntry
from scoring.reading import Stored
from scoring.scorer.scorer import Scorer
from scoring.worker.emit import Emitter
from scoring.worker.models import Active
from scoring.worker.scoring_step import outputs_of
from tests.support.bundles import MOMENT
from tests.support.decisions import LEDGER, entry
from tests.support.simulated_kafka import message


class Given:
    """Looked-up values that are what a test says."""

    def __init__(self, values: Mapping[str, float] | None = None) -> None:
        self._values = values or {}

    def resolve(self, schema: FeatureSchema, columns: Columns, rows: int) -> dict[str, Column]:  # noqa: ARG002
        return {name: np.full(rows, value) for name, value in self._values.items()}


def active(scorer: Scorer, sequence: int = 1) -> Active:
    version = str(sequence)
    emitter = Emitter(scorer.manifest, version=version, sequence=sequence, digest=scorer.bundle.digest)
    return Active(scorer.manifest.model, LEDGER, sequence, version, scorer.bundle.digest, MOMENT, scorer, emitter)


def entry_of(scorer: Scorer, sequence: int = 1) -> LedgerEntry:
    """The ledger's entry that promoted a bundle."""
    return msgspec.structs.replace(entry(sequence, str(sequence)), manifest_digest=scorer.bundle.digest)


def evidence(
    scorer: Scorer,
    value: bytes | None,
    *,
    offset: int = 7,
    sequence: int = 1,
    looked_up: Mapping[str, float] | None = None,
    acknowledgements: tuple[Acknowledgement, ...] = (),
) -> Evidence:
    """What is on record of one record after a worker has met it."""
    source = Given(looked_up)
    met = message(value, offset=offset, key=b"k", headers=[("h", b"1")])
    (output,) = outputs_of(active(scorer, sequence), [met], "id", source, MOMENT)
    place = Position(topic="small.input", topic_id="id", partition=0, offset=offset)
    shared = Evidence(
        model="small",
        place=place,
        record=Raw(key=b"k", value=value, headers=[("h", b"1")]),
        scorer=scorer,
        entries=[entry_of(scorer, sequence)],
        acknowledgements=acknowledgements,
    )
    return with_outcome(shared, output.topic, Stored(0, 3, 0, output.key, output.value, output.headers or []), source)


def with_outcome(shared: Evidence, topic: str, stored: Stored, source: Given) -> Evidence:
    if topic.endswith(".predictions"):
        return msgspec.structs.replace(shared, prediction=decode_prediction(stored.value or b""))
    letter = letter_of(stored, topic, "letters")
    assert shared.scorer is not None
    judge = Judge(shared.scorer, version=letter.told.version, sequence=letter.told.sequence, lookups=source)
    return msgspec.structs.replace(shared, letter=letter.told, letter_place=letter.place, then=judge, today=judge)


def swapped(sequence: int, offset: int, *, worker: str = "d/0", partition: int = 0) -> Acknowledgement:
    """A worker says that a sequence is live from an offset on."""
    return Acknowledgement(
        ledger=UUID(int=7),
        model="small",
        sequence=sequence,
        version=str(sequence),
        worker=worker,
        instance="i",
        outcome=Outcome.LIVE,
        noticed_at=MOMENT,
        at=MOMENT + timedelta(minutes=sequence),
        positions=(Position(topic="small.input", topic_id="id", partition=partition, offset=offset),),
    )
