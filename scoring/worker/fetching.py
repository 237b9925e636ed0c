"""The fetching thread: from a notice to a bundle that is ready to score, beside the one that scores.

Fetch, try it in a process of its own, keep it in the cache; then check every digest, build the scorer, check the
golden rows and warm up beside the one that scores, and hand it to the hot thread. *Fetching isn't refused* (protocol
A.9): what cannot be reached is tried again with back-off, what is wrong is refused once and for all.
"""

import shutil
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from uuid import UUID

import msgspec
import structlog

from scoring.contract.acknowledgement import Outcome
from scoring.contract.errors import BundleRejected, ConfigurationError, Unavailable, sentence
from scoring.contract.heartbeat import State
from scoring.contract.notice import Kind, Notice
from scoring.scorer.bundle import open_bundle
from scoring.scorer.golden import check_golden
from scoring.scorer.scorer import Scorer
from scoring.service.backoff import Backoff
from scoring.worker.cache import Cache, LiveVersion, Memory, Remembered
from scoring.worker.emit import Emitter
from scoring.worker.models import Active, Arrival, Pending, Refused, Retired

WARM_UP_RUNS = 3
STOP_PATIENCE_S = 10.0
# How long a restarted worker waits for the notices before it scores with what it has. The broker is up by then.
NOTICES_PATIENCE_S = 30.0
# How long it waits for a newer version than that to be fetched.
RESTORED_PATIENCE_S = 30.0
log = structlog.get_logger()

Fetch = Callable[[str, str, Path], None]
Trial = Callable[[str, str, Path], None]
Check = Callable[[Scorer], None]


class Phase(msgspec.Struct, frozen=True):
    """What this worker is doing about the newest sequence that it knows of a model."""

    state: State
    pending: int | None = None
    reason: str | None = None


class _Work(msgspec.Struct, frozen=True):
    """A sequence to be brought here.

    Attributes:
        restores: it was live here before the restart.
        retires: it takes the model out of service.
    """

    model: str
    ledger: UUID
    live: LiveVersion
    noticed_at: datetime
    restores: bool = False
    retires: bool = False
    attempt: int = 0

    @property
    def sequence(self) -> int:
        return self.live.sequence


class Fetching:
    """Runs the fetching thread.

    Args:
        fetch: brings a model version's bundle into a folder; raises Unavailable or BundleRejected.
        trial: tries the bundle of a model, under a digest and in a folder, in a process that it may bring down; raises
            BundleRejected or Unavailable. What is in the cache has passed it.
        check: raises ConfigurationError or Unavailable where what a bundle needs beside it, topics and tables, is not
            as it must be.
    """

    def __init__(
        self,
        *,
        models: Collection[str],
        cache: Cache,
        fetch: Fetch,
        trial: Trial,
        check: Check,
        backoff: Backoff | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._models = frozenset(models)
        self._cache = cache
        self._fetch = fetch
        self._trial = trial
        self._check = check
        self._backoff = backoff or Backoff()
        self._clock_s = clock_s
        self._memory = cache.recall()
        self._ledger = self._memory.ledger
        self._loaded: dict[str, int] = {}
        self._topics: dict[str, str] = {}
        self._wanted: dict[str, _Work] = {}
        self._interrupted: dict[str, _Work] = {}
        self._restored: dict[str, tuple[_Work, Arrival]] = {}
        self._caught_up = False
        self._patience_until_s = 0.0
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="fetching", daemon=True)
        self._saving = ThreadPoolExecutor(1, "memory")
        self.arrivals: SimpleQueue[Arrival] = SimpleQueue()
        self.foreign = 0  # believable notices of another ledger than the one that is followed
        self.phases: dict[str, Phase] = {model: Phase(State.WAITING) for model in sorted(self._models)}

    def start(self) -> None:
        """Start the thread; first of all it brings back what was live before the restart."""
        self._cache.sweep()
        self._patience_until_s = self._clock_s() + NOTICES_PATIENCE_S
        for work in self._live_before():
            self.phases[work.model] = Phase(State.FETCHING, work.sequence, "it is read from the cache")
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(STOP_PATIENCE_S)
        self._saving.shutdown()

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
            self._ledger = notice.ledger
            replaced = self._wanted.get(notice.model)
            if replaced is not None and replaced.restores:
                self._interrupted[notice.model] = replaced
            self._wanted[notice.model] = _work(notice, datetime.now(UTC))
            self._changed.notify_all()

    def caught_up(self) -> None:
        """All notices that there were have been offered: what was live before the restart may score, or is replaced."""
        with self._changed:
            self._caught_up = True
            self._changed.notify_all()

    def refused(self, model: str, sequence: int) -> bool:
        """Whether this sequence of a model will never be live here: it, or a later one, was refused."""
        phase = self.phases[model]
        if phase.state is State.REFUSED and (phase.pending or 0) >= sequence:
            return True
        remembered = self._memory.models.get(model, Remembered())  # of before a restart, too
        return remembered.live is not None and remembered.live.sequence < sequence <= remembered.highest

    def settled(self, pending: Pending) -> None:
        """The acknowledgement was committed: from now on nothing at or below this sequence is taken (protocol A.7)."""
        with self._changed:
            before = self._memory.models.get(pending.model, Remembered())
            live = _live_after(before.live, pending)
            remembered = Remembered(highest=max(before.highest, pending.sequence), live=live)
            self._memory = self._memory.with_model(pending.model, remembered, pending.ledger)
        with suppress(RuntimeError):  # stopped meanwhile
            self._saving.submit(self._save)

    def _save(self) -> None:
        """Write the memory to the disk, which takes as long as the disk pleases: never in the hot thread."""
        try:
            self._cache.remember(self._memory)
        except OSError:  # a full disk must not end the scoring; what is forgotten is fetched again
            log.exception("memory.unsaved")

    def _is_news(self, notice: Notice) -> bool:
        if self._ledger not in {None, notice.ledger}:
            # The other ledger's sequence means nothing here: say it beside what this worker is doing.
            reason = f"notices are of another ledger ({notice.ledger}); if that is right, run: baton adopt-ledger"
            self.phases[notice.model] = msgspec.structs.replace(self.phases[notice.model], reason=reason)
            self.foreign += 1
            log.error("notice.rejected", reason="other-ledger", model=notice.model, ledger=str(notice.ledger))
            return False
        wanted = self._wanted.get(notice.model)
        if wanted is not None and wanted.sequence >= notice.sequence:
            return False
        if notice.sequence <= self._loaded.get(notice.model, 0):
            return False
        remembered = self._memory.models.get(notice.model, Remembered())
        # After a restart it is said again that the model is out of service.
        retired = notice.kind is Kind.RETIRE and notice.sequence == remembered.highest and remembered.live is None
        return notice.sequence > remembered.highest or retired

    def _restore(self) -> None:
        for work in self._live_before():
            try:
                self._restored[work.model] = work, self._activate(work)
                reason = "reading the notices of the meantime first"
                self.phases[work.model] = Phase(State.FETCHING, work.sequence, reason)
            except Exception as error:  # then it is fetched again, as if it had never been here
                log.warning("cache.unusable", model=work.model, sequence=work.sequence, error=str(error))
                self._miss(work)

    def _live_before(self) -> list[_Work]:
        """What was live here before the restart."""
        ledger, now = self._memory.ledger, datetime.now(UTC)
        return [
            _Work(model, ledger, remembered.live, now, restores=True)
            for model, remembered in self._memory.models.items()
            if model in self._models and remembered.live is not None and ledger is not None
        ]

    def _miss(self, work: _Work) -> None:
        """What was live here before the restart cannot be had from the cache."""
        with self._changed:
            newer = self._wanted.get(work.model)
            if newer is None:
                self._wanted[work.model] = work
            else:
                self._interrupted[work.model] = work

    def _run(self) -> None:
        self._restore()
        while (work := self._next()) is not None:
            self.phases[work.model] = Phase(State.FETCHING, work.sequence, f"attempt {work.attempt + 1}")
            try:
                self._arrive(work, self._prepare(work))
            except (Unavailable, ConfigurationError, MemoryError, OSError) as error:  # this host's distress included
                self._retry_later(work, error)
            except BundleRejected as error:
                self._refuse(work, str(error))
            except Exception as error:  # whatever a bundle makes a library raise is a reason to refuse it
                log.exception("bundle.unexpected", model=work.model, sequence=work.sequence)
                self._refuse(work, f"{type(error).__name__}: {error}")

    def _next(self) -> _Work | None:
        with self._changed:
            while not self._stopped:
                informed = self._caught_up or self._clock_s() >= self._patience_until_s
                if informed:
                    self._release(*(model for model in self._restored if model not in self._wanted))
                ready = [work for work in self._wanted.values() if informed or not work.restores]
                if ready:
                    return min(ready, key=lambda work: work.attempt)  # what is new comes first
                self._changed.wait(None if informed else max(0.0, self._patience_until_s - self._clock_s()))
            return None

    def _release(self, *models: str) -> None:
        """Let score what was live before the restart: nothing newer is known, or it cannot be had now."""
        with self._changed:
            for model in models:
                if model in self._restored:
                    self._arrive(*self._restored.pop(model))

    def _prepare(self, work: _Work) -> Arrival:
        if work.retires:
            live = work.live
            return Retired(work.model, work.ledger, live.sequence, live.version, live.digest, work.noticed_at)
        if self._cache.bundle(work.live.digest) is not None:
            try:
                return self._activate(work)
            except BundleRejected as error:  # perhaps only the copy here is damaged
                log.warning("cache.unusable", model=work.model, sequence=work.sequence, error=str(error))
                self._cache.discard(work.live.digest)
        self._fetch_bundle(work)
        return self._activate(work)

    def _fetch_bundle(self, work: _Work) -> None:
        # A registry that hangs must not keep from its records what is here.
        impatient = threading.Timer(RESTORED_PATIENCE_S, self._release, (work.model,))
        impatient.daemon = True
        impatient.start()
        try:
            self._fetch_and_keep(work)
        finally:
            impatient.cancel()

    def _fetch_and_keep(self, work: _Work) -> None:
        scratch = self._cache.scratch()
        try:
            self._fetch(work.model, work.live.version, scratch)
            self._trial(work.model, work.live.digest, scratch)
            self._cache.keep(scratch, work.live.digest)
            removed = self._cache.prune()
            if removed:
                log.info("cache.pruned", bundles=len(removed))
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _activate(self, work: _Work) -> Active:
        model, live = work.model, work.live
        folder = self._cache.bundle(live.digest)
        if folder is None:
            raise Unavailable(f"bundle {live.digest} of {model} is not in the cache")
        bundle = open_bundle(folder, live.digest)
        if bundle.manifest.model != model:
            raise BundleRejected(f"bundle {live.digest} is of model {bundle.manifest.model}, not of {model}")
        self._require_own_topic(model, bundle.manifest.topics.input)
        scorer = Scorer(bundle, checked=True)
        for _ in range(WARM_UP_RUNS):
            check_golden(scorer)
        self._check(scorer)
        log.info("bundle.loaded", model=model, version=live.version, sequence=live.sequence, kernel=scorer.kernel)
        emitter = Emitter(bundle.manifest, version=live.version, sequence=live.sequence, digest=live.digest)
        return Active(model, work.ledger, live.sequence, live.version, live.digest, work.noticed_at, scorer, emitter)

    def _require_own_topic(self, model: str, topic: str) -> None:
        others = [other for other, taken in self._topics.items() if taken == topic and other != model]
        if others:
            raise BundleRejected(f"{model} reads topic {topic}, which {others[0]} reads in this worker")

    def _arrive(self, work: _Work, arrival: Arrival, phase: Phase | None = None) -> None:
        with self._changed:
            if isinstance(arrival, Refused):
                self._release(work.model)
            self._restored.pop(work.model, None)
            wanted = self._wanted.get(work.model)
            if wanted is not None and wanted.sequence <= work.sequence:
                del self._wanted[work.model]
            self._loaded[work.model] = max(work.sequence, self._loaded.get(work.model, 0))
            if isinstance(arrival, Active):
                self._topics[work.model] = arrival.topics.input
            elif isinstance(arrival, Retired):
                self._topics.pop(work.model, None)
            self._take_up_again(work.model, arrival)
            state = State.RETIRED if isinstance(arrival, Retired) else State.LIVE
            self.phases[work.model] = phase or Phase(state, work.sequence)
        self.arrivals.put(arrival)

    def _take_up_again(self, model: str, arrival: Arrival) -> None:
        """What was live before the restart is still wanted if a newer sequence got in between and was refused."""
        interrupted = self._interrupted.pop(model, None)
        if interrupted is not None and isinstance(arrival, Refused):
            self._wanted.setdefault(model, interrupted)

    def _refuse(self, work: _Work, why: str) -> None:
        reason = sentence(why)
        log.error("bundle.refused", model=work.model, sequence=work.sequence, reason=reason)
        live = work.live
        refused = Refused(work.model, work.ledger, live.sequence, live.version, live.digest, work.noticed_at, reason)
        self._arrive(work, refused, Phase(State.REFUSED, work.sequence, reason))

    def _retry_later(self, work: _Work, error: Exception) -> None:
        attempt = work.attempt + 1
        wait_s = self._backoff.wait_s(attempt)
        reason = sentence(error)
        with self._changed:
            self._release(work.model)
        self.phases[work.model] = Phase(State.FETCHING, work.sequence, reason)
        log.warning("bundle.unavailable", model=work.model, sequence=work.sequence, wait_s=wait_s, error=reason)
        with self._changed:
            if self._wanted.get(work.model) is work:
                # Behind the others: one model that cannot be fetched does not hold the others up.
                del self._wanted[work.model]
                self._wanted[work.model] = msgspec.structs.replace(work, attempt=attempt)
            self._changed.wait_for(lambda: self._stopped or self._newer(work), timeout=wait_s)

    def _newer(self, than: _Work) -> bool:
        return any(
            work.sequence > than.sequence if work.model == than.model else work.attempt == 0
            for work in self._wanted.values()
        )


def _work(notice: Notice, noticed_at: datetime) -> _Work:
    live = LiveVersion(sequence=notice.sequence, version=notice.version, digest=notice.manifest_digest)
    return _Work(notice.model, notice.ledger, live, noticed_at, retires=notice.kind is Kind.RETIRE)


def _live_after(before: LiveVersion | None, settled: Pending) -> LiveVersion | None:
    if settled.outcome is Outcome.REFUSED:
        return before
    if settled.retired:
        return None
    return LiveVersion(sequence=settled.sequence, version=settled.version, digest=settled.digest)
