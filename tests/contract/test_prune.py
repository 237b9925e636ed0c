"""Pruning with a registry in a folder and in MLflow, and with a ledger on SQLite and on PostgreSQL."""

import os
import random
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from scoring.contract.digest import digest_of
from scoring.contract.errors import ConfigurationError, Unavailable
from scoring.contract.manifest import MANIFEST_FILE
from scoring.contract.notice import Kind
from scoring.promotion.ledger import Ledger
from scoring.promotion.pipeline_folder import Item, What
from scoring.promotion.prune import Plan, Policy, Store, carry_out, known_models, plan
from scoring.registry.port import CHAMPION, Registry
from tests.support.bundles import make_bundle
from tests.support.decisions import proposal

pytestmark = pytest.mark.filterwarnings(
    # MLflow's own: deprecated calls, and connections of its SQLite store left to the garbage collector.
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore::ResourceWarning",
)

# Versions carry the registry's clock, so that the present of these tests is later.
LATER = datetime.now(UTC) + timedelta(days=100)
POLICY = Policy(keep=1, older_than=timedelta(days=30))


def snapshot_of(number: int) -> str:
    return digest_of(f"snapshot {number}".encode())


class Ground:
    """A ledger, a registry and a pipeline's folder, all of them real."""

    def __init__(self, ledger: Ledger, registry: Registry, folder: Path) -> None:
        self.folder = folder / "pipeline"
        self.folder.mkdir()
        self.store = Store(ledger, registry, self.folder)
        self._made = folder / "made"
        self.digests: dict[str, str] = {}

    def version(self, number: int, *, snapshot: int | None = None) -> str:
        """Register a version whose manifest names ``snapshot_of(snapshot)``."""
        folder = self._made / str(number)
        make_bundle(folder, number)
        document = msgspec.json.decode((folder / MANIFEST_FILE).read_bytes())
        document["snapshot"]["sha256"] = snapshot_of(number if snapshot is None else snapshot)
        (folder / MANIFEST_FILE).write_bytes(msgspec.json.encode(document))
        version = self.store.registry.register("small", folder, {})
        self.digests[version] = digest_of((folder / MANIFEST_FILE).read_bytes())
        return version

    def decide(self, version: str, kind: Kind = Kind.PROMOTE) -> None:
        head = self.store.ledger.head("small")
        parent = head.sequence if head else 0
        digest = self.digests[version]
        self.store.ledger.decide(proposal(version, parent=parent, digest=digest, kind=kind, forced=True))

    def snapshot(self, number: int, *, age_days: float | None = None, size_bytes: int = 100) -> Path:
        """A snapshot that is old, and the older the smaller its number."""
        path = self.folder / "snapshots" / "small" / f"{snapshot_of(number)}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"p" * size_bytes)
        return aged(path, 200 - number if age_days is None else age_days)

    def run(
        self, number: int, *, age_days: float | None = None, steps: Iterable[str] = ("staged", "candidates")
    ) -> str:
        """What a run left, which is old, and the older the smaller its number."""
        age_days = 200 - number if age_days is None else age_days
        name = digest_of(f"run {number}".encode())[:16]
        for step in steps:
            folder = self.folder / step / "small" / name
            folder.mkdir(parents=True)
            (folder / "file").write_bytes(b"r" * 50)
            aged(folder / "file", age_days)
            aged(folder, age_days)
        return name

    def pull(self, number: int, *, rows: int | None = None, age_days: float | None = None) -> Path:
        """What was pulled, old, and the older the smaller its number; pulls may share their rows."""
        folder, age_days = self.folder / "sources" / "small", 200 - number if age_days is None else age_days
        sha256 = digest_of(f"rows {number if rows is None else rows}".encode())
        record = folder / "pulls" / f"{digest_of(f'pull {number}'.encode())}.json"
        for path, content in ((record, f'{{"sha256":"{sha256}"}}'), (folder / "rows" / f"{sha256}.parquet", "rows")):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            aged(path, age_days)
        return record

    def plan(self, policy: Policy = POLICY, kinds: Iterable[What] = What) -> Plan:
        return plan(["small"], self.store, policy, LATER, kinds)

    def versions(self) -> list[str]:
        return [info.version for info in self.store.registry.versions("small")]


def aged(path: Path, days: float) -> Path:
    moment = (LATER - timedelta(days=days)).timestamp()
    os.utime(path, (moment, moment))
    return path


def names(items: Iterable[Item], what: What) -> set[str]:
    return {item.name for item in items if item.what is what}


@pytest.fixture
def ground(ledger: Ledger, registry: Registry, tmp_path: Path) -> Ground:
    return Ground(ledger, registry, tmp_path)


def test_what_the_ledger_names_stays_with_its_snapshots_and_the_rest_goes(ground: Ground) -> None:
    for number in range(1, 8):
        ground.version(number)
        ground.snapshot(number)
    for version in ("1", "3"):
        ground.decide(version)
    ground.decide("1", Kind.ROLLBACK)
    planned = ground.plan()
    assert known_models(ground.store) == ["small"]
    assert planned.problems == ()
    assert names(planned.items, What.VERSION) == {"2", "4", "5", "6"}
    assert names(planned.items, What.SNAPSHOT) == {snapshot_of(number) for number in (2, 4, 5, 6)}
    done = carry_out(planned, ground.store)
    assert (done.problems, done.items) == ((), planned.items)
    assert ground.versions() == ["1", "3", "7"]
    kept = {path.stem for path in (ground.folder / "snapshots" / "small").iterdir()}
    assert kept == {snapshot_of(number) for number in (1, 3, 7)}
    again = ground.plan()
    assert (again.items, again.problems) == ((), ())


def test_a_version_with_anybodys_alias_stays_and_so_does_its_snapshot(ground: Ground) -> None:
    for number in (1, 2, 3, 4):
        ground.version(number)
        ground.snapshot(number)
    ground.store.registry.set_alias("small", "somebody-elses", "2")
    assert names(ground.plan().items, What.VERSION) == {"1", "3"}
    assert names(ground.plan().items, What.SNAPSHOT) == {snapshot_of(1), snapshot_of(3)}


def test_a_snapshot_that_two_versions_share_stays_while_one_of_them_does(ground: Ground) -> None:
    for number in (1, 2, 3):
        ground.version(number, snapshot=1)
    ground.snapshot(1)
    ground.snapshot(0)
    ground.snapshot(9)
    ground.decide("1")
    planned = ground.plan()
    assert names(planned.items, What.VERSION) == {"2"}
    assert names(planned.items, What.SNAPSHOT) == {snapshot_of(0)}


def test_nothing_young_goes_and_nothing_of_the_newest(ground: Ground) -> None:
    for number in range(1, 5):
        ground.version(number)
    for number in range(10, 16):
        ground.snapshot(number, age_days=number)
        ground.run(number, age_days=number)
    planned = ground.plan(Policy(keep=2, older_than=timedelta(days=12)))
    assert names(planned.items, What.VERSION) == {"1", "2"}
    assert names(planned.items, What.SNAPSHOT) == {snapshot_of(number) for number in (13, 14, 15)}
    assert len(names(planned.items, What.RUN)) == 3
    assert planned.kept == {What.RUN: 3, What.VERSION: 2, What.SNAPSHOT: 3, What.PULL: 0}
    assert ground.plan(Policy(keep=1, older_than=timedelta(days=1_000))).items == ()


def test_what_was_pulled_goes_with_its_rows_unless_a_run_has_used_them_since(ground: Ground) -> None:
    old, shared, sharing, used, newest = (
        ground.pull(1),
        ground.pull(2),
        ground.pull(3, rows=2),
        ground.pull(4),
        ground.pull(5),
    )
    odd = ground.folder / "sources" / "small" / "pulls" / f"{'0' * 64}.json"
    odd.write_text("no record")
    aged(odd, 300)
    planned = ground.plan()
    assert len(names(planned.items, What.PULL)) == 4
    rows = ground.folder / "sources" / "small" / "rows" / f"{digest_of(b'rows 4')}.parquet"
    os.utime(rows)  # as a run does that reuses them
    done = carry_out(planned, ground.store)
    assert done.problems == (f"small: pull {digest_of(b'rows 4')} is in use again and is kept",)
    assert not any(path.exists() for path in (old, shared, sharing, odd))
    assert used.exists()
    assert newest.exists()
    assert {path.stem for path in rows.parent.iterdir()} == {digest_of(b"rows 4"), digest_of(b"rows 5")}


def test_a_run_in_progress_is_spared_with_all_that_its_steps_left(ground: Ground) -> None:
    newest, old, going_on = ground.run(1, age_days=1), ground.run(2), ground.run(3)
    fresh = ground.folder / "bundles" / "small" / going_on / "manifest.json"
    fresh.parent.mkdir(parents=True)
    aged(fresh.parent, 2)
    fresh.write_bytes(b"{}")
    aged(fresh, 2)
    aged(fresh.parent, 200)
    planned = ground.plan()
    assert names(planned.items, What.RUN) == {old}
    assert carry_out(planned, ground.store).problems == ()
    assert {path.name for path in (ground.folder / "staged" / "small").iterdir()} == {newest, going_on}


def test_files_that_are_used_again_between_the_plan_and_its_execution_are_spared(ground: Ground) -> None:
    ground.run(1, age_days=1)
    ground.snapshot(1, age_days=1)
    reused, old = ground.snapshot(2), ground.run(3)
    planned = ground.plan()
    assert {item.name for item in planned.items} == {snapshot_of(2), old}
    os.utime(reused)
    (ground.folder / "staged" / "small" / old / "again").write_bytes(b"")
    done = carry_out(planned, ground.store)
    assert done.items == ()
    assert len(done.problems) == 2
    assert all("in use again and is kept" in problem for problem in done.problems)
    assert reused.exists()


def test_a_version_that_is_decided_upon_between_the_plan_and_its_execution_is_spared_with_its_snapshot(
    ground: Ground,
) -> None:
    for number in (1, 2, 3):
        ground.version(number)
        ground.snapshot(number)
    planned = ground.plan()
    assert names(planned.items, What.VERSION) == {"1", "2"}
    ground.decide("1")
    done = carry_out(planned, ground.store)
    assert names(done.items, What.VERSION) == {"2"}
    assert names(done.items, What.SNAPSHOT) == {snapshot_of(2)}
    assert "small: version 1 was decided upon meanwhile and is kept" in done.problems
    assert "1" in ground.versions()


def test_a_decision_in_the_very_moment_of_the_deletion_is_told(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        ground.version(number)
    remove = ground.store.registry.remove

    def removed(model: str, version: str) -> None:
        ground.decide(version)
        remove(model, version)

    monkeypatch.setattr(ground.store.registry, "remove", removed)
    done = carry_out(ground.plan(), ground.store)
    assert done.problems == (
        "small: version 1 was deleted while sequence 1 was decided upon it; roll back, and train it again",
    )


def test_with_a_ledger_that_knows_nothing_of_the_champion_nothing_goes(ground: Ground) -> None:
    """A ledger that was lost and begun anew names no version at all."""
    for number in (1, 2, 3):
        ground.version(number)
        ground.snapshot(number)
    ground.store.registry.set_alias("small", CHAMPION, "3")
    planned = ground.plan()
    assert planned.items == ()
    (problem,) = planned.problems
    assert "alias champion names version 3, which the ledger does not know" in problem


def test_with_another_registry_than_the_ledgers_nothing_goes(ground: Ground) -> None:
    for number in (1, 2, 3):
        ground.version(number)
        ground.snapshot(number)
    ground.digests["1"] = digest_of(b"of another registry")
    ground.decide("1")
    planned = ground.plan()
    assert planned.items == ()
    assert "the registry has no version 1 such as sequence 1 names" in planned.problems[0]


def test_where_a_kept_manifest_cannot_be_read_no_snapshot_goes_but_old_runs_do(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2, 3):
        ground.version(number)
        ground.snapshot(number)
    ground.decide("1")
    old = [ground.run(1), ground.run(2)]
    fetch = ground.store.registry.fetch

    def broken(model: str, version: str, target: Path) -> None:
        if version == "1":
            raise Unavailable("away")
        fetch(model, version, target)

    assert names(ground.plan().items, What.SNAPSHOT) == {snapshot_of(2)}
    monkeypatch.setattr(ground.store.registry, "fetch", broken)
    planned = ground.plan()
    assert {item.what for item in planned.items} == {What.RUN}
    assert names(planned.items, What.RUN) < set(old)
    assert "the manifest of version 1 cannot be read" in planned.problems[0]


def test_a_manifest_that_is_not_the_registered_one_is_not_believed(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The planted bug: somebody lets a manifest name another snapshot, so that the real one would go."""
    for number in (1, 2):
        ground.version(number)
        ground.snapshot(number)
    ground.decide("1")
    make_bundle(tmp_path / "forged", 1)

    def forged(_model: str, _version: str, target: Path) -> None:
        shutil.copytree(tmp_path / "forged", target)

    monkeypatch.setattr(ground.store.registry, "fetch", forged)
    planned = ground.plan()
    assert planned.items == ()
    assert "was registered" in planned.problems[0]


def test_sizes_are_told_and_a_link_to_a_file_that_stays_frees_nothing(ground: Ground) -> None:
    for number in (1, 2, 3):
        ground.version(number)
    ground.snapshot(9, age_days=1)
    kept = ground.snapshot(1, size_bytes=1_000)
    ground.decide("1")
    ground.snapshot(2, size_bytes=3_000)
    ground.run(1, age_days=1)
    run = ground.run(2, steps=("staged",))
    linked = ground.folder / "staged" / "small" / run / "pulled.parquet"
    linked.hardlink_to(kept)
    aged(linked, 200)
    aged(linked.parent, 200)
    planned = ground.plan()
    sizes = {item.what: item.size_bytes for item in planned.items}
    assert sizes[What.SNAPSHOT] == 3_000
    assert sizes[What.RUN] == 1_050
    version = sizes[What.VERSION]
    assert version is not None
    assert version > 500
    assert planned.frees_bytes == 3_000 + 50 + version


def test_a_killed_attempt_is_finished_by_the_next(ground: Ground) -> None:
    for number in range(1, 6):
        ground.version(number)
        ground.snapshot(number)
        ground.run(number)
    planned = ground.plan()
    assert len(planned.items) == 4 * 3
    for item in random.Random(3).sample(planned.items, 6):
        carry_out(msgspec.structs.replace(planned, items=(item,)), ground.store)
    done = carry_out(planned, ground.store)
    assert done.problems == ()
    assert ground.versions() == ["5"]
    assert ground.plan().items == ()


def test_only_the_kinds_that_were_asked_for_go(ground: Ground) -> None:
    for number in (1, 2, 3):
        ground.version(number)
        ground.snapshot(number)
        ground.run(number)
    for kind in What:
        planned = ground.plan(kinds=[kind])
        assert {item.what for item in planned.items} <= {kind}
    assert ground.plan(kinds=[What.SNAPSHOT]).items == (), "every version stays, so every snapshot is needed"
    assert len(ground.plan(kinds=[What.VERSION]).items) == 2


def test_what_pruning_does_not_know_is_left_alone(ground: Ground) -> None:
    strangers = [
        ground.folder / "snapshots" / "small" / "notes.txt",
        ground.folder / "snapshots" / "small" / f"{'A' * 64}.parquet",
        ground.folder / "staged" / "small" / "by-hand" / "file",
        ground.folder / "staged" / "Not A Model" / ("0" * 16) / "file",
        ground.folder / "README",
    ]
    for path in strangers:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        aged(path, 300)
        aged(path.parent, 300)
    outside = ground.folder.parent / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"x")
    (ground.folder / "staged" / "small" / ("f" * 16)).symlink_to(outside)
    old = [ground.run(number) for number in (1, 2, 3)]
    planned = ground.plan()
    assert len(names(planned.items, What.RUN) & set(old)) == 2
    carry_out(planned, ground.store)
    assert all(path.exists() for path in strangers)
    assert (outside / "file").exists()


def test_what_a_killed_process_left_half_made_goes_when_it_is_old(ground: Ground) -> None:
    ground.run(1, age_days=1)
    left = ground.folder / "candidates" / "small" / ".staging-0123abcd"
    left.mkdir()
    aged(left, 5)
    assert names(ground.plan().items, What.RUN) == set()
    aged(left, 200)
    assert names(ground.plan().items, What.RUN) == {".staging-0123abcd"}
    carry_out(ground.plan(), ground.store)
    assert not left.exists()


def test_without_a_folder_only_versions_go(ground: Ground) -> None:
    for number in (1, 2):
        ground.version(number)
    ground.decide("2")
    alone = ground.store._replace(folder=None)
    assert known_models(alone) == ["small"]
    planned = plan(["small"], alone, POLICY, LATER)
    assert [(item.what, item.name) for item in carry_out(planned, alone).items] == [(What.VERSION, "1")]


@pytest.mark.parametrize(("keep", "days"), [(0, 30), (-1, 30), (1, 0.5), (1, 0), (1, -3)])
def test_a_policy_that_could_delete_the_newest_or_a_run_in_progress_is_none(keep: int, days: float) -> None:
    with pytest.raises(ConfigurationError, match="pruning"):
        Policy(keep=keep, older_than=timedelta(days=days))


def test_a_random_history_is_pruned_without_ever_losing_what_is_needed(ground: Ground) -> None:
    chosen = random.Random(11)
    for number in range(1, 15):
        ground.version(number, snapshot=chosen.randint(1, 8))
        ground.snapshot(number)
        if chosen.random() < 0.3:
            ground.decide(str(number))
    needed = {entry.version for entry in ground.store.ledger.entries("small")}
    assert 2 <= len(needed) <= 12
    done = carry_out(ground.plan(Policy(keep=2)), ground.store)
    assert done.items
    assert done.problems == ()
    assert needed <= set(ground.versions())
    for version in ground.versions():
        target = ground.folder.parent / f"check-{version}"
        ground.store.registry.fetch("small", version, target)
        document = msgspec.json.decode((target / MANIFEST_FILE).read_bytes())
        assert (ground.folder / "snapshots" / "small" / f"{document['snapshot']['sha256']}.parquet").exists()
