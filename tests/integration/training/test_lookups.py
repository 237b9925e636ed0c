"""One join, wherever a worker finds the rows: in a table, frozen into the bundle, or in a topic."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from scoring.contract.encoder import Column
from scoring.contract.errors import ConfigurationError
from scoring.contract.features import FrozenLookup, Lookup, TopicLookup
from scoring.contract.frozen import file_of
from scoring.lookups.sql import SqlLookups
from scoring.scorer.bundle import open_bundle
from scoring.scorer.scorer import Scorer
from tests.integration.training.conftest import Relay
from tests.support import deliveries
from training import pipeline
from training.messages import messages
from training.results import BaselineKind

APRIL = deliveries.START.replace(month=4)


def parts_of(lookup: Lookup) -> dict[str, object]:
    return {name: getattr(lookup, name) for name in lookup.__struct_fields__}


def frozen(relay: Relay) -> Relay:
    return relay.changed(lookups=[FrozenLookup(**parts_of(relay.definition.lookups[0]))])  # type: ignore[arg-type]


def same(left: Mapping[str, Column], right: Mapping[str, Column]) -> bool:
    assert left.keys() == right.keys()
    return all(
        np.asarray(column).tobytes() == np.asarray(right[name]).tobytes()
        if isinstance(column, np.ndarray)
        else list(column) == list(right[name])
        for name, column in left.items()
    )


def test_a_frozen_table_is_trained_on_and_scored_with_as_the_table_itself(parcels: Relay) -> None:
    relay = frozen(parcels)
    found = relay.run(relay.request(deliveries.START, APRIL))
    assert found.gated.accepted, found.gated.sentence
    assert found.registered.bundle
    bundle = open_bundle(Path(found.registered.bundle), found.registered.manifest_digest)
    assert file_of("load") in bundle.manifest.files
    assert bundle.golden
    assert all(row.lookups == {} for row in bundle.golden)

    scorer, table = Scorer(bundle), SqlLookups(parcels.settings.need_connection)
    sent = list(messages(relay.definition, relay.settings, APRIL.replace(month=3), APRIL))
    decoded = scorer.decode([message.value for message in sent])
    rows = len(decoded.rows)
    assert rows > 1_000
    expected = table.resolve(parcels.definition.schema, decoded.columns, rows)
    table.close()
    assert same(scorer.frozen(decoded.columns, rows), expected)
    assert np.isfinite(np.asarray(expected["load.queue"], dtype=float)).mean() > 0.9
    scores = scorer.score(decoded.columns, rows)
    assert scores.tobytes() == scorer.score({**decoded.columns, **expected}, rows).tobytes()


def test_the_next_version_is_held_against_a_champion_with_its_own_frozen_table(parcels: Relay) -> None:
    relay = frozen(parcels)
    first = relay.run(relay.request(deliveries.START, APRIL))
    assert first.promoted
    engine = sa.create_engine(parcels.settings.need_connection("parcels"))
    with engine.begin() as connection:
        connection.execute(sa.text("update depot_load set queue = queue + 500 where valid_at >= '2024-04-01'"))
    engine.dispose()
    second = relay.run(relay.request(*relay.definition.interval_ending(deliveries.END)))
    assert second.evaluated
    baseline = second.evaluated.baseline
    assert baseline.kind is BaselineKind.CHAMPION
    assert baseline.error is None
    assert baseline.metrics["rmse"] < 100  # today's table would mislead it by hundreds


def test_a_topic_lookup_is_trained_from_its_table(parcels: Relay) -> None:
    load = parcels.definition.lookups[0]
    relay = parcels.changed(lookups=[TopicLookup(**parts_of(load), topic="loads")])  # type: ignore[arg-type]
    request = relay.request(deliveries.START, APRIL)
    one, other = (
        pipeline.snapshot(
            each.definition, request, each.settings, pipeline.pull(each.definition, request, each.settings)
        )
        for each in (relay, parcels)
    )
    assert one.sha256 == other.sha256
    assert one.rows > 1_000


def test_a_table_that_is_too_large_for_a_bundle_is_told(parcels: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scoring.contract.frozen.MAXIMUM_BYTES", 1_000)
    relay = frozen(parcels)
    with pytest.raises(ConfigurationError, match=r"lookup 'load': its table takes \d+ bytes"):
        pipeline.pull(relay.definition, relay.request(deliveries.START, APRIL), relay.settings)
