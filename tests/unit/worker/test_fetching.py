"""Fetching: which notices count, what is tried again, what is refused, and what a restart brings back."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
import structlog

from scoring.contract.errors import BundleRejected, ConfigurationError, Unavailable
from scoring.contract.heartbeat import State
from scoring.contract.manifest import MODEL_FILE, Topics
from scoring.contract.notice import Kind, Notice
from scoring.scorer import library
from scoring.scorer.scorer import Scorer
from scoring.scorer.trial import try_bundle
from scoring.service.backoff import Backoff
from scoring.worker.cache import Cache
from scoring.worker.fetching import NOTICES_PATIENCE_S, Fetching
from scoring.worker.models import Active, Arrival, Refused, Retired, acknowledgement_of
from tests.support.bundles import make_bundle

LEDGER, OTHER_LEDGER = UUID(int=7), UUID(int=8)
MOMENT = datetime(2026, 3, 1, tzinfo=UTC)


class Ground:
    """A registry in a folder, a cache, and a Fetching that can be restarted."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.digests: dict[tuple[str, int], str] = {}
        self.now_s = 100.0
        self.fetched: list[str] = []
        self.tried: list[str] = []
        self.failures: list[Exception] = []
        self.checks: list[Exception] = []
        self.gate: threading.Event | None = None

    def register(self, sequence: int, *, model: str = "small", golden_error: float = 0.0, reads: str = "") -> None:
        topics = Topics.of(reads or model)
        folder = self.root / "registry" / model / str(sequence)
        self.digests[model, sequence] = make_bundle(
            folder, sequence, model=model, topics=topics, golden_error=golden_error
        )

    def notice(
        self, sequence: int, *, model: str = "small", kind: Kind = Kind.PROMOTE, ledger: UUID = LEDGER
    ) -> Notice:
        if (model, sequence) not in self.digests:
            self.register(sequence, model=model)
        return Notice(
            ledger=ledger,
            model=model,
            sequence=sequence,
            kind=kind,
            version=str(sequence),
            manifest_digest=self.digests[model, sequence],
            decided_at=MOMENT,
            effective_from=MOMENT,
        )

    def fetch(self, model: str, version: str, target: Path) -> None:
        self.fetched.append(version)
        if self.gate is not None:
            assert self.gate.wait(10)
        if self.failures:
            raise self.failures.pop(0)
        shutil.copytree(self.root / "registry" / model / version, target, dirs_exist_ok=True)

    def trial(self, model: str, digest: str, folder: Path) -> None:
        self.tried.append(self.fetched[-1])
        refused = try_bundle(folder, digest, model, 40)
        if refused is not None:
            raise BundleRejected(refused)

    def check(self, scorer: Scorer) -> None:
        assert isinstance(scorer, Scorer)
        if self.checks:
            raise self.checks.pop(0)

    def cache(self) -> Cache:
        return Cache(self.root / "cache", "d/0")

    @contextmanager
    def running(self, *models: str, informed: bool = True) -> Iterator[Fetching]:
        """A fetching thread; ``informed`` where it knows that there are no other notices than those to come."""
        fetching = Fetching(
            models=models or ("small",),
            cache=self.cache(),
            fetch=self.fetch,
            trial=self.trial,
            check=self.check,
            backoff=Backoff(0.001, 0.002),
            clock_s=lambda: self.now_s,
        )
        fetching.start()
        if informed:
            fetching.caught_up()
        try:
            yield fetching
        finally:
            fetching.stop()

    def damage(self, sequence: int, *, model: str = "small") -> None:
        (self.root / "cache" / "bundles" / self.digests[model, sequence] / MODEL_FILE).write_bytes(b"damaged")


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def arrived(fetching: Fetching) -> Arrival:
    return fetching.arrivals.get(timeout=10)


def go_live(fetching: Fetching, notice: Notice) -> Arrival:
    """Offer, take what arrives and settle it, as the loop does."""
    fetching.offer(notice)
    arrival = arrived(fetching)
    fetching.settled(acknowledgement_of(arrival))
    return arrival


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        threading.Event().wait(0.001)


def nothing_arrives(fetching: Fetching, ground: Ground) -> None:
    """Whatever was offered was dropped: a later notice of another model arrives first."""
    fetching.offer(ground.notice(1, model="probe"))
    assert arrived(fetching).model == "probe"
    assert fetching.arrivals.empty()


# --- which notices count ------------------------------------------------------------------------------------------


def test_a_notice_becomes_a_bundle_that_is_ready(ground: Ground) -> None:
    with ground.running() as fetching:
        states = [fetching.phases["small"].state]
        fetching.offer(ground.notice(3))
        active = arrived(fetching)
        states.append(fetching.phases["small"].state)
    assert isinstance(active, Active)
    assert (active.sequence, active.version, active.ledger) == (3, "3", LEDGER)
    assert states == [State.WAITING, State.LIVE]
    assert fetching.phases["small"].pending == 3


def test_the_log_names_what_a_new_version_runs_by(ground: Ground) -> None:
    with structlog.testing.capture_logs() as lines, ground.running() as fetching:
        fetching.offer(ground.notice(3))
        arrived(fetching)
    (line,) = [line for line in lines if line["event"] == "bundle.loaded"]
    by = "onnxruntime" if library.load() is None else "compiled"
    assert (line["model"], line["version"], line["sequence"], line["kernel"]) == ("small", "3", 3, by)


def test_doubled_stale_and_foreign_notices_change_nothing(ground: Ground) -> None:
    with ground.running("small", "probe") as fetching:
        go_live(fetching, ground.notice(3))
        for notice in (
            ground.notice(3),
            ground.notice(2),
            ground.notice(1, kind=Kind.RETIRE),
            ground.notice(9, model="foreign"),
        ):
            fetching.offer(notice)
        nothing_arrives(fetching, ground)
    assert ground.fetched == ["3", "1"]


def test_a_notice_is_not_taken_again_while_it_is_on_its_way(ground: Ground) -> None:
    with ground.running("small", "probe") as fetching:
        fetching.offer(ground.notice(3))
        fetching.offer(ground.notice(3))
        assert arrived(fetching).sequence == 3
        fetching.offer(ground.notice(3))
        nothing_arrives(fetching, ground)


def test_what_is_superseded_while_it_is_tried_is_given_up(ground: Ground) -> None:
    ground.failures = [Unavailable("away")] * 2
    with ground.running() as fetching:
        ground.gate = threading.Event()
        fetching.offer(ground.notice(3))
        until(lambda: ground.fetched == ["3"])
        fetching.offer(ground.notice(4))
        ground.gate.set()
        assert arrived(fetching).sequence == 4
    assert ground.fetched[0] == "3"
    assert set(ground.fetched[1:]) == {"4"}


def test_another_ledgers_notices_are_not_taken_and_do_not_change_the_state(ground: Ground) -> None:
    with ground.running("small", "probe") as fetching:
        go_live(fetching, ground.notice(3))
        fetching.offer(ground.notice(9, ledger=OTHER_LEDGER))
        phase = fetching.phases["small"]
        assert (phase.state, phase.pending) == (State.LIVE, 3)
        assert "adopt-ledger" in (phase.reason or "")
        assert not fetching.refused("small", 3)
        nothing_arrives(fetching, ground)
        assert isinstance(go_live(fetching, ground.notice(4)), Active)
        assert fetching.phases["small"].reason is None


def test_the_first_ledger_counts_even_before_anything_went_live(ground: Ground) -> None:
    with ground.running("small", "other") as fetching:
        fetching.offer(ground.notice(3))
        fetching.offer(ground.notice(5, model="other", ledger=OTHER_LEDGER))
        fetching.settled(acknowledgement_of(arrived(fetching)))
        assert fetching.memory.ledger == LEDGER
        assert fetching.phases["other"].state is State.WAITING


def test_other_ledgers_notices_are_counted(ground: Ground) -> None:
    with ground.running() as fetching:
        go_live(fetching, ground.notice(3))
        for sequence in (9, 10, 11):
            fetching.offer(ground.notice(sequence, ledger=OTHER_LEDGER))
        assert fetching.foreign == 3


# --- trials -------------------------------------------------------------------------------------------------------


def test_a_bundle_is_tried_before_it_enters_the_cache_and_not_again(ground: Ground) -> None:
    with ground.running() as fetching:
        go_live(fetching, ground.notice(3))
        go_live(fetching, ground.notice(4))
        rollback = ground.notice(5, kind=Kind.ROLLBACK)
        fetching.offer(msgspec.structs.replace(rollback, version="3", manifest_digest=ground.digests["small", 3]))
        assert isinstance(arrived(fetching), Active)
    assert (ground.fetched, ground.tried) == (["3", "4"], ["3", "4"])


def test_a_bundle_that_fails_its_trial_never_comes_near_the_process_that_scores(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ground.running() as fetching:
        go_live(fetching, ground.notice(3))
        ground.register(4, golden_error=1e-9)
        monkeypatch.setattr("scoring.worker.fetching.open_bundle", None)
        refused = go_live(fetching, ground.notice(4))
    assert isinstance(refused, Refused)
    assert "golden rows differ" in refused.reason
    assert [path.name for path in (ground.root / "cache" / "bundles").iterdir()] == [ground.digests["small", 3]]


def test_a_trial_that_says_nothing_is_repeated(ground: Ground) -> None:
    trials = [Unavailable("the machine is busy")] * 2
    tried = ground.trial

    def trial(model: str, digest: str, folder: Path) -> None:
        if trials:
            raise trials.pop()
        tried(model, digest, folder)

    with ground.running() as fetching:
        fetching._trial = trial
        fetching.offer(ground.notice(3))
        assert isinstance(arrived(fetching), Active)
    assert ground.fetched == ["3"] * 3


@pytest.mark.parametrize("reason", ["x" * 3_000_000, "a\udcffb", "\ud800" * 5_000])
def test_a_refusal_can_be_told_whatever_its_reason_is(ground: Ground, reason: str) -> None:
    ground.failures = [BundleRejected(reason)]
    with ground.running() as fetching:
        refused = go_live(fetching, ground.notice(3))
        assert isinstance(refused, Refused)
        for told in (refused.reason, fetching.phases["small"].reason):
            assert 1 < len(msgspec.json.encode(told)) < 10_000


# --- what is tried again, and what is refused ---------------------------------------------------------------------


@pytest.mark.parametrize("error", [Unavailable("registry away"), ConfigurationError("no registry is set")])
def test_what_cannot_be_reached_is_tried_again(ground: Ground, error: Exception) -> None:
    ground.failures = [error] * 3
    with ground.running() as fetching:
        fetching.offer(ground.notice(3))
        assert isinstance(arrived(fetching), Active)
    assert ground.fetched == ["3"] * 4


def test_while_it_is_tried_the_reason_is_known(ground: Ground) -> None:
    ground.failures = [Unavailable("the registry is away")] * 10_000
    with ground.running() as fetching:
        fetching.offer(ground.notice(3))
        until(lambda: "the registry is away" in (fetching.phases["small"].reason or ""))
        assert fetching.phases["small"].state is State.FETCHING
        assert fetching.phases["small"].pending == 3


def test_a_model_that_cannot_be_fetched_does_not_hold_the_others_up(ground: Ground) -> None:
    with ground.running("small", "other") as fetching:
        original = ground.fetch

        def fetch(model: str, version: str, target: Path) -> None:
            if model == "small":
                raise Unavailable("away")
            original(model, version, target)

        fetching._fetch = fetch
        fetching.offer(ground.notice(3))
        fetching.offer(ground.notice(1, model="other"))
        assert arrived(fetching).model == "other"


def test_a_retry_waits_for_its_own_turn_whatever_other_models_sequences_are(ground: Ground) -> None:
    with ground.running("small", "other") as fetching:
        fetching._backoff = Backoff(60.0, 60.0)
        ground.failures = [Unavailable("away")] * 4
        fetching.offer(ground.notice(3))
        until(lambda: ground.fetched == ["3"])
        fetching.offer(ground.notice(9, model="other"))  # news: is tried at once, and then waits as well
        until(lambda: fetching.phases["other"].reason == "away")
    assert ground.fetched == ["3", "9"]


def test_topics_that_are_not_as_they_must_be_are_looked_at_again(ground: Ground) -> None:
    ground.checks = [ConfigurationError("topic small.input is not there"), Unavailable("broker away")]
    with ground.running() as fetching:
        fetching.offer(ground.notice(3))
        assert isinstance(arrived(fetching), Active)
    assert ground.fetched == ["3"]  # the bundle was in the cache meanwhile


def test_a_bundle_that_fails_its_golden_rows_is_refused_and_a_newer_one_is_taken(ground: Ground) -> None:
    ground.register(4, golden_error=1e-9)
    with ground.running() as fetching:
        go_live(fetching, ground.notice(3))
        refused = go_live(fetching, ground.notice(4))
        assert isinstance(refused, Refused)
        assert "golden rows differ" in refused.reason
        assert fetching.phases["small"].state is State.REFUSED
        assert fetching.refused("small", 4)
        assert not fetching.refused("small", 5)
        assert isinstance(go_live(fetching, ground.notice(5)), Active)
        assert not fetching.refused("small", 4)


def test_a_refused_sequence_is_not_taken_again(ground: Ground) -> None:
    ground.register(4, golden_error=1e-9)
    with ground.running("small", "probe") as fetching:
        go_live(fetching, ground.notice(4))
        fetching.offer(ground.notice(4))
        nothing_arrives(fetching, ground)
    with ground.running("small", "probe") as fetching:
        fetching.offer(ground.notice(4))
        nothing_arrives(fetching, ground)


def test_a_refusal_is_still_known_after_a_restart(ground: Ground) -> None:
    ground.register(4, golden_error=1e-9)
    with ground.running() as fetching:
        go_live(fetching, ground.notice(2))
        go_live(fetching, ground.notice(4))
    with ground.running() as fetching:
        assert [fetching.refused("small", sequence) for sequence in (1, 2, 3, 4, 5)] == [
            False,
            False,
            True,
            True,
            False,
        ]


def test_another_bundle_than_the_announced_one_is_refused(ground: Ground) -> None:
    ground.register(3)
    ground.digests["small", 3] = "0" * 64
    with ground.running() as fetching:
        fetching.offer(ground.notice(3))
        refused = arrived(fetching)
    assert isinstance(refused, Refused)
    assert "was announced" in refused.reason


def test_a_bundle_of_another_model_is_refused(ground: Ground) -> None:
    ground.register(3)
    shutil.copytree(ground.root / "registry/small/3", ground.root / "registry/other/3")
    ground.digests["other", 3] = ground.digests["small", 3]
    with ground.running("other") as fetching:
        fetching.offer(ground.notice(3, model="other"))
        refused = arrived(fetching)
    assert isinstance(refused, Refused)
    assert "is of model small, not of other" in refused.reason


def test_a_bundle_that_reads_another_models_topic_is_refused(ground: Ground) -> None:
    ground.register(1, model="other", reads="small")
    with ground.running("small", "other") as fetching:
        go_live(fetching, ground.notice(3))
        refused = go_live(fetching, ground.notice(1, model="other"))
    assert isinstance(refused, Refused)
    assert "small.input, which small reads" in refused.reason


def test_whatever_the_registry_raises_is_a_refusal_with_its_name(ground: Ground) -> None:
    ground.failures = [BundleRejected("the registry holds something else"), RuntimeError("surprise")]
    with ground.running() as fetching:
        first = go_live(fetching, ground.notice(3))
        second = go_live(fetching, ground.notice(4))
    assert [arrival.reason for arrival in (first, second) if isinstance(arrival, Refused)] == [
        "the registry holds something else",
        "RuntimeError: surprise",
    ]


def test_a_disk_that_is_full_is_not_the_bundles_fault(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [OSError(28, "No space left on device")] * 2

    def full(**_: object) -> str:
        if failures:
            raise failures.pop()
        return str(ground.root / "cache" / "scratch")

    monkeypatch.setattr("scoring.worker.cache.tempfile.mkdtemp", full)
    with ground.running() as fetching:
        fetching.offer(ground.notice(3))
        assert isinstance(arrived(fetching), Active)


def test_a_memory_that_cannot_be_saved_does_not_stop_the_scoring(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Cache, "remember", full)
    with ground.running() as fetching:
        go_live(fetching, ground.notice(3))
        assert fetching.memory.models["small"].highest == 3


def test_a_retired_model_is_gone_and_can_come_back(ground: Ground) -> None:
    with ground.running() as fetching:
        go_live(fetching, ground.notice(3))
        assert isinstance(go_live(fetching, ground.notice(4, kind=Kind.RETIRE)), Retired)
        assert fetching.phases["small"].state is State.RETIRED
        assert fetching.memory.models["small"].live is None
        assert isinstance(go_live(fetching, ground.notice(5)), Active)


# --- restarts -----------------------------------------------------------------------------------------------------


def test_a_restart_scores_from_the_cache_without_registry_or_notice(ground: Ground) -> None:
    with ground.running() as fetching:
        go_live(fetching, ground.notice(3))
    ground.failures = [Unavailable("gone for ever")] * 100
    with ground.running() as fetching:
        active = arrived(fetching)
    assert isinstance(active, Active)
    assert active.sequence == 3
    assert ground.fetched == ["3"]


def test_a_restart_takes_newer_notices_as_before(ground: Ground) -> None:
    with ground.running() as fetching:
        go_live(fetching, ground.notice(3))
    with ground.running() as fetching:
        assert arrived(fetching).sequence == 3
        fetching.offer(ground.notice(8))
        assert arrived(fetching).sequence == 8


@pytest.mark.parametrize("kind", [Kind.PROMOTE, Kind.ROLLBACK, Kind.RETIRE])
def test_a_restart_does_not_score_with_what_was_replaced_meanwhile(ground: Ground, kind: Kind) -> None:
    with ground.running() as fetching:
        go_live(fetching, ground.notice(3))
    with ground.running("small", "probe", informed=False) as fetching:
        assert fetching.phases["small"].state is State.FETCHING
        fetching.offer(ground.notice(8, kind=kind))
        fetching.caught_up()
        assert arrived(fetching).sequence == 8
        nothing_arrives(fetching, ground)


def test_a_restart_waits_for_the_notices_before_it_scores(ground: Ground) -> None:
    with ground.running() as fetching:
        go_live(fetching, ground.notice(3))
    with ground.running("small", "probe", informed=False) as fetching:
        nothing_arrives(fetching, ground)
        fetching.caught_up()
        assert arrived(fetching).sequence == 3


def test_what_was_live_scores_again_while_the_registry_hangs_over_its_successor(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ground.running() as fetching:
        go_live(fetching, ground.notice(3))
    monkeypatch.setattr("scoring.worker.fetching.RESTORED_PATIENCE_S", 0.05)
    ground.gate = threading.Event()
    with ground.running(informed=False) as fetching:
        fetching.offer(ground.notice(8))
        fetching.caught_up()
        assert arrived(fetching).sequence == 3
        ground.gate.set()
        assert arrived(fetching).sequence == 8


@pytest.mark.parametrize("distress", [OSError(24, "Too many open files"), MemoryError()])
def test_this_hosts_distress_refuses_no_bundle(ground: Ground, distress: Exception) -> None:
    ground.failures = [distress]
    with ground.running() as fetching:
        fetching.offer(ground.notice(3))
        assert isinstance(arrived(fetching), Active)
    assert ground.fetched == ["3", "3"]


def test_what_was_live_scores_again_when_its_successor_cannot_be_fetched_now(ground: Ground) -> None:
    with ground.running() as fetching:
        go_live(fetching, ground.notice(3))
    ground.failures = [Unavailable("away")] * 3
    with ground.running(informed=False) as fetching:
        fetching.offer(ground.notice(8))
        fetching.caught_up()
        assert [arrived(fetching).sequence for _ in range(2)] == [3, 8]


def test_notices_that_cannot_be_read_do_not_keep_a_restarted_worker_from_scoring_for_ever(ground: Ground) -> None:
    with ground.running() as fetching:
        go_live(fetching, ground.notice(3))
    with ground.running("small", "probe", informed=False) as fetching:
        ground.now_s += NOTICES_PATIENCE_S
        fetching.offer(ground.notice(1, model="probe"))
        assert {arrived(fetching).model for _ in range(2)} == {"small", "probe"}


def test_nothing_at_or_below_what_was_live_is_taken_after_a_restart(ground: Ground) -> None:
    with ground.running() as fetching:
        go_live(fetching, ground.notice(3))
    with ground.running("small", "probe") as fetching:
        arrived(fetching)
        fetching.offer(ground.notice(3))
        fetching.offer(ground.notice(2))
        nothing_arrives(fetching, ground)


def test_a_damaged_cache_is_not_served_but_fetched_again(ground: Ground) -> None:
    with ground.running() as fetching:
        go_live(fetching, ground.notice(3))
    ground.damage(3)
    with ground.running() as fetching:
        active = arrived(fetching)
    assert isinstance(active, Active)
    assert ground.fetched == ["3", "3"]


def test_a_damaged_cache_without_a_registry_keeps_the_worker_waiting(ground: Ground) -> None:
    with ground.running() as fetching:
        go_live(fetching, ground.notice(3))
    ground.damage(3)
    ground.failures = [Unavailable("away")] * 100_000
    with ground.running() as fetching:
        fetching.offer(ground.notice(3))
        until(lambda: fetching.phases["small"].state is State.FETCHING)
        until(lambda: len(ground.fetched) > 3)
        assert fetching.arrivals.empty()


def test_a_copy_that_is_damaged_while_the_worker_runs_does_not_condemn_the_sequence(ground: Ground) -> None:
    with ground.running() as fetching:
        go_live(fetching, ground.notice(3))
        shutil.copytree(ground.root / "registry/small/3", ground.root / "registry/small/5")
        ground.digests["small", 5] = ground.digests["small", 3]
        ground.damage(3)
        assert isinstance(go_live(fetching, ground.notice(5)), Active)


def test_a_broker_that_cannot_say_at_the_start_only_delays_what_was_live(ground: Ground) -> None:
    with ground.running() as fetching:
        go_live(fetching, ground.notice(3))
    ground.checks = [Unavailable("broker away"), Unavailable("broker away")]
    with ground.running() as fetching:
        assert isinstance(arrived(fetching), Active)
    assert ground.fetched == ["3"]


def test_what_was_live_comes_back_although_a_newer_sequence_was_refused_meanwhile(ground: Ground) -> None:
    with ground.running() as fetching:
        go_live(fetching, ground.notice(3))
    ground.register(4, golden_error=1.0)
    ground.checks = [Unavailable("broker away")] * 2
    with ground.running() as fetching:
        ground.gate = threading.Event()
        fetching.offer(ground.notice(4))
        ground.gate.set()
        arrivals = sorted((arrived(fetching), arrived(fetching)), key=lambda arrival: arrival.sequence)
    assert [(type(arrival), arrival.sequence) for arrival in arrivals] == [(Active, 3), (Refused, 4)]


def test_what_was_live_scores_on_when_its_successor_of_the_meantime_is_refused(ground: Ground) -> None:
    with ground.running() as fetching:
        go_live(fetching, ground.notice(3))
    ground.register(4, golden_error=1.0)
    with ground.running(informed=False) as fetching:
        fetching.offer(ground.notice(4))
        fetching.caught_up()
        arrivals = [arrived(fetching), arrived(fetching)]
    assert [(type(arrival), arrival.sequence) for arrival in arrivals] == [(Active, 3), (Refused, 4)]


def test_an_odd_failure_of_a_cached_bundle_does_not_keep_the_worker_from_starting(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ground.running() as fetching:
        go_live(fetching, ground.notice(3))
    failures = [RuntimeError("another version of a library")]

    def check(scorer: Scorer) -> None:
        if failures:
            raise failures.pop()
        ground.check(scorer)

    monkeypatch.setattr("scoring.worker.fetching.check_golden", check)
    with ground.running() as fetching:
        assert isinstance(arrived(fetching), Active)


def test_a_retired_model_says_so_again_after_a_restart(ground: Ground) -> None:
    with ground.running() as fetching:
        go_live(fetching, ground.notice(3))
        go_live(fetching, ground.notice(4, kind=Kind.RETIRE))
    with ground.running() as fetching:
        assert fetching.arrivals.empty()
        assert isinstance(go_live(fetching, ground.notice(4, kind=Kind.RETIRE)), Retired)


def test_models_that_are_no_longer_served_are_not_brought_back(ground: Ground) -> None:
    with ground.running() as fetching:
        go_live(fetching, ground.notice(3))
    with ground.running("other") as fetching:
        assert fetching.arrivals.empty()


def test_what_a_killed_predecessor_was_fetching_is_swept_away(ground: Ground) -> None:
    left = ground.cache().scratch()
    (left / "half").write_text("x")
    with ground.running():
        assert not left.exists()
    assert list((ground.root / "cache" / "bundles").iterdir()) == []


def test_stopping_does_not_wait_for_a_retry(ground: Ground) -> None:
    ground.failures = [Unavailable("away")] * 10
    with ground.running() as fetching:
        fetching._backoff = Backoff(60.0, 60.0)
        fetching.offer(ground.notice(3))
        until(lambda: bool(ground.fetched))
        started = time.monotonic()
    assert time.monotonic() - started < 5
