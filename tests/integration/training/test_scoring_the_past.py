"""Real models score their past: each record as a worker would have, with the version that was champion then."""

import shutil
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from local import warehouse
from scoring.backfill.asked import asked_for
from scoring.backfill.chunks import Place, job_of
from scoring.backfill.prepare import Prepared, prepare
from scoring.backfill.refusals import BackfillRefused
from scoring.backfill.run import run
from scoring.lookups.sql import SqlLookups
from scoring.promotion.ledger import Ledger
from scoring.registry.open import open_registry
from scoring.scorer.bundle import open_bundle
from scoring.scorer.scorer import Scorer
from tests.faults.backfill.lives import judge, kill_on_its_way, plans, undisturbed
from tests.faults.backfill.nursery import Nursery
from tests.integration.training.conftest import Promoted, Relay, month
from tests.support import deliveries
from tests.support.backfills import rows_of
from training.messages import messages

APRIL = deliveries.START.replace(month=4)
BATCH_RECORDS = 1_000
FLIGHTS_OF_A_QUARTER = 80_000


def prepared(relay: Relay, folder: Path, start: datetime, end: datetime, **more: Any) -> Prepared:
    registry = open_registry(relay.settings.need_registry_uri())

    def bring(model: str, version: str, digest: str | None, target: Path) -> None:
        registry.fetch(model, version, target)
        open_bundle(target, digest)

    asked = asked_for(relay.definition.name, start, end, **more)
    return prepare(asked, relay.settings, folder / f"bundles-{uuid.uuid4().hex}", bring)


def backfilled(ready: Prepared, folder: Path, processes: int = 1) -> list[tuple[Any, ...]]:
    """Key, score, version, label and reason of each record, from files."""
    place = Place(model=ready.plan.asked.model, name="", folder=str(folder))
    store = place.open()
    with store.lock():
        plan = store.begin(ready.plan, "somebody", "run")
        run(job_of(ready, plan, place, "run", folder / "staged"), store, processes, lambda _number, _kept: None)
    return rows_of(place, ["record_key", "score", "version", "label", "reason"])


def streamed(relay: Relay, ready: Prepared) -> list[tuple[Any, ...]]:
    """The same records as messages, micro-batch by micro-batch, each with the version of its time."""
    found: list[tuple[Any, ...]] = []
    lookups = SqlLookups(relay.settings.need_connection)
    for span in ready.plan.spans:
        scorer = Scorer(open_bundle(ready.bundles[span.version].folder, span.manifest_digest))
        sent = list(messages(relay.definition, relay.settings, span.start, span.end))
        for first in range(0, len(sent), BATCH_RECORDS):
            found += _scored(scorer, lookups, sent[first : first + BATCH_RECORDS], span.version)
    lookups.close()
    return found


def _scored(scorer: Scorer, lookups: SqlLookups, sent: list[Any], version: str) -> list[tuple[Any, ...]]:
    decoded = scorer.decode([each.value for each in sent])
    looked_up = lookups.resolve(scorer.schema, decoded.columns, len(decoded.rows))
    scores = scorer.score({**decoded.columns, **looked_up}, len(decoded.rows))
    classes = scorer.manifest.output.classes
    labels = [classes[place] for place in scores.argmax(axis=1)] if classes else [None] * len(scores)
    best = scores.max(axis=1) if classes else scores
    rows = [
        (sent[row].key.decode(), score, version, label, None)
        for row, score, label in zip(decoded.rows, best.tolist(), labels, strict=True)
    ]
    failed = [(sent[each.index].key.decode(), None, version, None, each.reason.value) for each in decoded.failures]
    return rows + failed


def in_order(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=lambda row: row[0])


NOON_OF_MAY_THIRD = month(5) + timedelta(days=2, hours=16, minutes=7)
DAMAGED_UNTIL = month(5) + timedelta(days=7)


@pytest.fixture(scope="module")
def demonstrated(promoted: Promoted, tmp_path_factory: pytest.TempPathFactory) -> Relay:
    """The ledger that the demonstration leaves: version 1 from April on, version 2 from when it took over in May on.

    Its third run is asked for while a week of May is damaged, and is refused.
    """
    folder = tmp_path_factory.mktemp("demonstrated")
    relay = promoted.copy(folder / "relay")
    own = folder / "warehouse.db"
    shutil.copyfile(relay.settings.need_connection("warehouse").removeprefix("sqlite:///"), own)
    relay = Relay(
        relay.definition, relay.settings.model_copy(update={"connections": {"warehouse": f"sqlite:///{own}"}})
    )
    assert relay.run(relay.request(month(1), month(5), "second", effective_from=NOON_OF_MAY_THIRD)).promoted
    warehouse.damage(f"sqlite:///{own}", month(5), DAMAGED_UNTIL)
    assert not relay.run(relay.request(month(1), DAMAGED_UNTIL, "damaged", effective_from=DAMAGED_UNTIL)).gated.accepted
    warehouse.repair(f"sqlite:///{own}")
    return relay


KILLS_OF_A_QUARTER = 5


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("kills", [KILLS_OF_A_QUARTER, pytest.param(50, marks=pytest.mark.faults)])
def test_a_killed_april_to_june_is_what_the_ledger_and_its_bundles_say(
    demonstrated: Relay, kills: int, tmp_path: Path
) -> None:
    relay, folder = demonstrated, tmp_path
    ready = prepared(relay, folder, month(4), month(7), chunk_s=86_400)
    calm = Place(model=ready.plan.asked.model, name="calm", url=f"sqlite:///{folder / 'predictions.db'}")
    job = job_of(ready, ready.plan, calm, "undisturbed", folder / "staged")
    killed = msgspec.structs.replace(job, place=msgspec.structs.replace(calm, name="killed"))
    expected = undisturbed(job)
    with Nursery(folder) as nursery:
        died = kill_on_its_way(nursery, killed, list(plans(kills, kills, 1)), processes=1)
    assert died.total() == kills
    assert judge(rows_of(killed.place), expected) == []
    as_the_ledger_says(relay, rows_of(killed.place, ["record_key", "event_time", "version", "sequence", "lookahead"]))
    names = ["record_key", "score", "version", "label", "reason"]
    assert in_order(rows_of(killed.place, names)) == in_order(streamed(relay, ready))


def as_the_ledger_says(relay: Relay, rows: list[tuple[Any, ...]]) -> None:
    """Each row is of the version that the ledger itself answers for its event time."""
    ledger = Ledger.open(relay.settings.need_ledger_url())
    assert [entry.version for entry in ledger.entries(relay.definition.name)] == ["1", "2"]
    assert len(rows) > FLIGHTS_OF_A_QUARTER
    wrong = [row for row in rows if row[2:] != (("2", 2, False) if row[1] >= NOON_OF_MAY_THIRD else ("1", 1, False))]
    assert wrong == []
    # The ledger itself, of some and of those on both sides of the border; it is asked one by one.
    some = sorted(rows, key=lambda row: abs(row[1] - NOON_OF_MAY_THIRD))[:20] + rows[:: len(rows) // 100]
    answers = [ledger.as_of(relay.definition.name, row[1]) for row in some]
    assert [(answer.version, answer.sequence) for answer in answers if answer] == [row[2:4] for row in some]
    assert {row[2] for row in some[:20]} == {"1", "2"}


def test_what_a_champion_saw_is_refused_and_what_its_pipeline_let_it_count_for_is_not(
    promoted: Promoted, tmp_path: Path
) -> None:
    relay = promoted.copy(tmp_path / "relay")
    for start, end in ((month(1), month(2)), (month(3), month(4)), (month(4) - timedelta(days=1), month(5))):
        with pytest.raises(BackfillRefused, match="saw what it would score"):
            prepared(relay, tmp_path, start, end, version="1")
    assert not prepared(relay, tmp_path, month(4), month(5)).plan.spans[0].lookahead


def test_labels_that_became_known_after_the_events_are_dated_in_the_manifest(parcels: Relay, tmp_path: Path) -> None:
    """Asked for long after: all labels of the interval were there."""
    known_after = parcels.definition.label.known_after
    assert known_after > timedelta(0)
    late = parcels.run(parcels.request(deliveries.START, APRIL, effective_from=APRIL + timedelta(days=20)))
    assert late.promoted
    ready = prepared(parcels, tmp_path, APRIL + timedelta(days=20), APRIL + timedelta(days=25))
    assert ready.bundles["1"].snapshot.known_by == APRIL + known_after
    with pytest.raises(BackfillRefused, match="with labels known by"):
        prepared(parcels, tmp_path, APRIL, APRIL + timedelta(days=2), version="1")


def test_a_regression_on_both_databases_scores_its_past_as_its_messages(parcels: Relay, tmp_path: Path) -> None:
    assert parcels.run(parcels.request(deliveries.START, APRIL)).promoted
    ready = prepared(parcels, tmp_path, APRIL, deliveries.END)
    rows, expected = backfilled(ready, tmp_path / "out"), streamed(parcels, ready)
    assert len(rows) == len(expected) > 1_000
    ours, theirs = (np.array([row[1] for row in in_order(each)], dtype=np.float64) for each in (rows, expected))
    assert [row[0] for row in in_order(rows)] == [row[0] for row in in_order(expected)]
    # A regression that compiles to sums is exact to its tolerance, whatever micro-batch a record is in.
    assert np.nanmax(np.abs(ours - theirs)) < 1e-9


def test_a_model_of_several_classes_scores_its_past_with_labels(outcomes: Relay, tmp_path: Path) -> None:
    assert outcomes.run(outcomes.request(deliveries.START, APRIL)).promoted
    ready = prepared(outcomes, tmp_path, APRIL, deliveries.END)
    rows = backfilled(ready, tmp_path / "out")
    assert in_order(rows) == in_order(streamed(outcomes, ready))
    assert {row[3] for row in rows} <= {*deliveries.OUTCOMES}
