"""Pruning knows the folder as the pipeline really writes it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scoring.promotion.ledger import Ledger
from scoring.promotion.pipeline_folder import What, models_in, pulls_in, runs_in, snapshots_in
from scoring.promotion.prune import Policy, Store, carry_out, plan
from scoring.registry.open import open_registry
from tests.integration.training.conftest import Relay, parcels_in
from tests.support import deliveries
from training import pipeline

APRIL = deliveries.START.replace(month=4)
MAY = deliveries.START.replace(month=5)
POLICY = Policy(keep=1, older_than=timedelta(days=30))


@pytest.fixture
def parcels(tmp_path: Path) -> Relay:
    url = f"sqlite:///{tmp_path / 'parcels.db'}"
    deliveries.fill(url)
    return parcels_in(tmp_path, url)


def store_of(relay: Relay) -> Store:
    settings = relay.settings
    registry = open_registry(settings.need_registry_uri())
    return Store(Ledger.open(settings.need_ledger_url()), registry, settings.need_snapshot_dir())


def test_everything_that_the_pipeline_leaves_is_found_and_a_promoted_snapshot_survives(parcels: Relay) -> None:
    first = parcels.run(parcels.request(deliveries.START, APRIL))
    assert first.promoted is not None
    assert first.promoted.sequence == 1
    refused = parcels.request(deliveries.START + timedelta(days=1), APRIL, "refused")
    pulled = pipeline.pull(parcels.definition, refused, parcels.settings)
    unused = pipeline.snapshot(parcels.definition, refused, parcels.settings, pulled)
    newest = parcels.request(deliveries.START, MAY, "in progress")
    going_on = pipeline.pull(parcels.definition, newest, parcels.settings)
    kept = pipeline.snapshot(parcels.definition, newest, parcels.settings, going_on)
    store, name = store_of(parcels), parcels.definition.name
    assert store.folder is not None
    assert models_in(store.folder) == {name}
    everything = {path for path in store.folder.rglob("*") if path.is_file()}
    known = [*runs_in(store.folder, name), *snapshots_in(store.folder, name), *pulls_in(store.folder, name)]
    covered = [store.folder / part for item in known for part in item.paths]
    assert len(everything) >= 8
    assert all(any(path == part or part in path.parents for part in covered) for path in everything)
    later = datetime.now(UTC) + timedelta(days=60)
    planned = plan([name], store, POLICY, later)
    assert planned.problems == ()
    assert {item.name for item in planned.items if item.what is What.SNAPSHOT} == {unused.sha256}
    # The two older runs, and the candidate that the first one trained, kept to be found again.
    assert len([item for item in planned.items if item.what is What.RUN]) == 3
    assert carry_out(planned, store).problems == ()
    assert Path(first.snapshot.path).exists()
    assert Path(kept.path).exists()
    assert Path(going_on.path).exists()
    assert not Path(unused.path).exists()
    assert plan([name], store, POLICY, later).items == ()


def test_a_run_that_finds_its_snapshot_in_the_store_makes_it_young_again(parcels: Relay) -> None:
    request = parcels.request(deliveries.START, APRIL)
    pulled = pipeline.pull(parcels.definition, request, parcels.settings)
    pipeline.snapshot(parcels.definition, request, parcels.settings, pulled)
    store, name = store_of(parcels), parcels.definition.name
    assert store.folder is not None
    (before,) = snapshots_in(store.folder, name)
    again = pipeline.snapshot(parcels.definition, request, parcels.settings, pulled)
    (after,) = snapshots_in(store.folder, name)
    assert again.reused
    assert after.changed_at > before.changed_at


def test_a_run_whose_folders_were_pruned_is_simply_repeated(parcels: Relay) -> None:
    first = parcels.run(parcels.request(deliveries.START, APRIL))
    parcels.run(parcels.request(deliveries.START, MAY))
    store, name = store_of(parcels), parcels.definition.name
    later = datetime.now(UTC) + timedelta(days=60)
    done = carry_out(plan([name], store, POLICY, later, [What.RUN]), store)
    assert len(done.items) == 3  # a run, and what each of the two had trained, kept to be found again
    assert not Path(first.trained.folder if first.trained else "").exists()
    again = parcels.run(parcels.request(deliveries.START, APRIL))
    assert again.snapshot.sha256 == first.snapshot.sha256
    assert again.trained is not None
