"""The fetching thread: from a notice to a bundle that is ready to score, beside the one that scores.

Fetch into the cache, check every digest, build the scorer, check the golden rows, warm up; then hand it to the hot
thread. *Fetching isn't refused* (protocol A.9): what cannot be reached is tried again with back-off, what is wrong is
refused once and for all.
"""

import shutil
import threading
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from uuid import UUID

import msgspec
import structlog

from scoring.contract.acknowledgement import Outcome
from scoring.contract.errors import BundleRejected, ConfigurationError, Unavailable
from scoring.contract.heartbeat import State
from scoring.contract.manifest import Topics
from scoring.contract.notice import Kind, Notice
from scoring.scorer.bundle import open_bundle
from scoring.scorer.golden import check_golden
from scoring.scorer.scorer import Scorer
from scoring.worker.cache import Cache, LiveVersion, Memory, Remembered
from scoring.worker.emit import Emitter
from scoring.worker.models import Active, Arrival, Pending, Refused, Retired
from scoring.worker.policy import Backoff

WARM_UP_RUNS = 3
log = structlog.get_logger()

Fetch = Callable[[str, str, Path], None]
CheckTopics = Callable[[Topics], None]


class Phase(msgspec.Struct, frozen=True):
    """What this worker is doing about the newest sequence that it knows of a model."""

    state: State
    pending: int | None = None
    reason: str | None = None


class _Work(msgspec.Struct, frozen=True):
    notice: Notice
    noticed_at: datetime
    attempt: int = 0


class Fetching:
    """Runs the fetching thread.

    Args:
        fetch: brings a model version's bundle into a folder; raises Unavailable or BundleRejected.
        check_topics: raises ConfigurationError or Unavailable where the model's topics are not as they must be.
    """

    def __init__(
        self,
        *,
        models: Collection[str],
        cache: Cache,
        fetch: Fetch,
        check_topics: CheckTopics,
        backoff: Backoff | None = None,
    ) -> None:
        self._models = frozenset(models)
        self._cache = cache
        self._fetch = fetch
        self._check_topics = check_topics
        self._backoff = backoff or Backoff()
        self._memory = cache.recall()
        self._loaded: dict[str, int] = {}
        self._wanted: dict[str, _Work] = {}
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="fetching", daemon=True)
        self.arrivals: SimpleQueue[Arrival] = SimpleQueue()
        self.phases: dict[str, Phase] = {model: Phase(State.WAITING) for model in sorted(self._models)}

    def start(self) -> None:
        """Bring back what was live before the restart, then start the thread."""
        self._restore()
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join()

    @property
    def memory(self) -> Memory:
        """What is remembered now."""
        return self._memory

    def offer(self, notice: Notice) -> None:
        """A believable notice. Late, doubled and other models' notices are harmless (protocol A.7)."""
        if notice.model not in self._models:
            return
        with self._changed:
            if not self._is_news(notice):
                return
            self._wanted[notice.model] = _Work(notice, datetime.now(UTC))
            self._changed.notify_all()

    def settled(self, pending: Pending) -> None:
        """The acknowledgement was committed: from now on nothing at or below this sequence is taken (protocol A.7)."""
        with self._changed:
            before = self._memory.models.get(pending.model, Remembered())
            live = _live_after(before.live, pending)
            remembered = Remembered(highest=max(before.highest, pending.sequence), live=live)
            self._memory = self._memory.with_model(pending.model, remembered, pending.ledger)
            self._cache.remember(self._memory)

    def _is_news(self, notice: Notice) -> bool:
        if self._memory.ledger not in {None, notice.ledger}:
            reason = f"notices are of another ledger ({notice.ledger}); if that is right, run: baton adopt-ledger"
            self.phases[notice.model] = Phase(State.REFUSED, notice.sequence, reason)
            log.error("notice.rejected", reason="other-ledger", model=notice.model, ledger=str(notice.ledger))
            return False
        wanted = self._wanted.get(notice.model)
        if wanted is not None and wanted.notice.sequence >= notice.sequence:
            return False
        if notice.sequence <= self._loaded.get(notice.model, 0):
            return False
        remembered = self._memory.models.get(notice.model, Remembered())
        # The sequence that was live here may be fetched again when its cached bundle was lost, but nothing older.
        lost = remembered.live is not None and notice.sequence == remembered.live.sequence
        return notice.sequence > remembered.highest or lost

    def _restore(self) -> None:
        for model, remembered in self._memory.models.items():
            live, ledger = remembered.live, self._memory.ledger
            if model not in self._models or live is None or ledger is None:
                continue
            try:
                active = self._activate(model, ledger, live, datetime.now(UTC))
            except (BundleRejected, Unavailable, ConfigurationError) as error:
                log.warning("cache.unusable", model=model, sequence=live.sequence, error=str(error))
                continue
            self._arrive(model, live.sequence, active)

    def _run(self) -> None:
        while (work := self._next()) is not None:
            notice = work.notice
            self.phases[notice.model] = Phase(State.FETCHING, notice.sequence, f"attempt {work.attempt + 1}")
            try:
                self._arrive(notice.model, notice.sequence, self._prepare(work))
            except (Unavailable, ConfigurationError) as error:
                self._retry_later(work, error)
            except BundleRejected as error:
                self._refuse(work, str(error))
            except Exception as error:  # whatever a bundle makes a library raise is a reason to refuse it
                log.exception("bundle.unexpected", model=notice.model, sequence=notice.sequence)
                self._refuse(work, f"{type(error).__name__}: {error}")

    def _next(self) -> _Work | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._wanted)
            if self._stopped:
                return None
            model = next(iter(self._wanted))
            return self._wanted[model]

    def _prepare(self, work: _Work) -> Arrival:
        notice = work.notice
        if notice.kind is Kind.RETIRE:
            return Retired(notice, work.noticed_at)
        live = LiveVersion(sequence=notice.sequence, version=notice.version, digest=notice.manifest_digest)
        if self._cache.bundle(live.digest) is None:
            self._fetch_bundle(notice)
        try:
            return self._activate(notice.model, notice.ledger, live, work.noticed_at)
        except BundleRejected:
            self._cache.discard(live.digest)
            raise

    def _fetch_bundle(self, notice: Notice) -> None:
        scratch = self._cache.scratch()
        try:
            self._fetch(notice.model, notice.version, scratch)
            open_bundle(scratch, notice.manifest_digest)
            self._cache.keep(scratch, notice.manifest_digest)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _activate(self, model: str, ledger: UUID, live: LiveVersion, noticed_at: datetime) -> Active:
        folder = self._cache.bundle(live.digest)
        if folder is None:
            raise Unavailable(f"bundle {live.digest} of {model} is not in the cache")
        bundle = open_bundle(folder, live.digest)
        if bundle.manifest.model != model:
            raise BundleRejected(f"bundle {live.digest} is of model {bundle.manifest.model}, not of {model}")
        scorer = Scorer(bundle)
        for _ in range(WARM_UP_RUNS):
            check_golden(scorer)
        self._check_topics(bundle.manifest.topics)
        emitter = Emitter(bundle.manifest, version=live.version, sequence=live.sequence, digest=live.digest)
        return Active(model, ledger, live.sequence, live.version, live.digest, noticed_at, scorer, emitter)

    def _arrive(self, model: str, sequence: int, arrival: Arrival) -> None:
        with self._changed:
            wanted = self._wanted.get(model)
            if wanted is not None and wanted.notice.sequence <= sequence:
                del self._wanted[model]
            self._loaded[model] = sequence
            state = State.RETIRED if isinstance(arrival, Retired) else State.LIVE
            self.phases[model] = Phase(state, sequence)
        self.arrivals.put(arrival)

    def _refuse(self, work: _Work, reason: str) -> None:
        notice = work.notice
        log.error("bundle.refused", model=notice.model, sequence=notice.sequence, reason=reason)
        self._arrive(notice.model, notice.sequence, Refused(notice, work.noticed_at, reason))
        self.phases[notice.model] = Phase(State.REFUSED, notice.sequence, reason)

    def _retry_later(self, work: _Work, error: Exception) -> None:
        notice, attempt = work.notice, work.attempt + 1
        wait_s = self._backoff.wait_s(attempt)
        self.phases[notice.model] = Phase(State.FETCHING, notice.sequence, str(error))
        log.warning("bundle.unavailable", model=notice.model, sequence=notice.sequence, wait_s=wait_s, error=str(error))
        with self._changed:
            if self._wanted.get(notice.model) is work:
                # Behind the others: one model that cannot be fetched does not hold the others up.
                del self._wanted[notice.model]
                self._wanted[notice.model] = msgspec.structs.replace(work, attempt=attempt)
            self._changed.wait_for(lambda: self._stopped or self._newer(notice), timeout=wait_s)

    def _newer(self, notice: Notice) -> bool:
        return any(
            (work.notice.model != notice.model and work.attempt == 0) or work.notice.sequence > notice.sequence
            for work in self._wanted.values()
        )


def _live_after(before: LiveVersion | None, settled: Pending) -> LiveVersion | None:
    if settled.outcome is Outcome.REFUSED:
        return before
    if settled.retired:
        return None
    return LiveVersion(sequence=settled.sequence, version=settled.version, digest=settled.digest)
