"""A worker's own parts, without a broker, held against one hostile case after the other.

The real follower, the real fetching thread with its cache, the real registry in a folder, real trials under limits, and
the observer that decides whether a promotion converged. A model is live all the while, and has to score on.
"""

import queue
import shutil
from collections import Counter
from pathlib import Path
from typing import Protocol

import msgspec

from scoring.contract.acknowledgement import unseal_acknowledgement
from scoring.contract.errors import EnvelopeRejected
from scoring.contract.heartbeat import unseal_heartbeat
from scoring.contract.notice import Kind, Notice
from scoring.promotion.observer import Answer, Observer, Standing
from scoring.registry.folder import FolderRegistry
from scoring.service.backoff import Backoff
from scoring.worker.cache import Cache
from scoring.worker.fetching import Fetching
from scoring.worker.follower import Follower
from scoring.worker.models import Active, Arrival, Refused, acknowledgement_of
from tests.support.bundles import make_bundle, score_of, small_record
from tests.support.forge import AHEAD, KEYRING, LEDGER, LIVE_SEQUENCE, MODEL, WORKER, BundleCase, Forge, Message
from tests.support.simulated_kafka import message as record

PROBES = 20
PATIENCE_S = 60.0
# The good bundle that forged notices announce, and where hostile ones are put.
GOOD_VERSION, HOSTILE_VERSION = "2", "4"


class Trials(Protocol):
    """Tries bundles where they can do no harm."""

    def try_bundle(self, model: str, digest: str, folder: Path) -> None: ...


class Result(msgspec.Struct, frozen=True):
    """What became of a case.

    Attributes:
        held: whether it changed nothing that it must not change.
        reason: why it was refused, or what went wrong.
    """

    held: bool
    reason: str


class Judge:
    """One worker's parts with version 1 of a model live, and an observer that waits for a sequence ahead."""

    def __init__(self, root: Path, trials: Trials) -> None:
        self._registry = root / "registry" / MODEL
        self._live_digest = make_bundle(self._registry / "1", 1)
        self.good_digest = make_bundle(self._registry / GOOD_VERSION, 2)
        self.fetching = Fetching(
            models=[MODEL],
            cache=Cache(root / "cache", WORKER),
            fetch=FolderRegistry(root / "registry").fetch,
            trial=trials.try_bundle,
            check=lambda _: None,
            backoff=Backoff(0.01, 0.05),
        )
        self.follower = Follower(lambda: None, KEYRING, self._offer, lambda: LEDGER, lambda: None)  # type: ignore[arg-type,return-value]
        self.follower._caught_up = True
        self._news = False
        self._sequence = LIVE_SEQUENCE
        self._probes = [msgspec.json.encode(small_record(number)) for number in range(PROBES)]
        self.fetching.start()
        self.fetching.caught_up()

    def begin(self, forge: Forge) -> None:
        """Make version 1 live, as the ledger would have it."""
        self._take(forge.sealed("notice", LIVE_SEQUENCE, version="1", manifest_digest=self._live_digest))
        arrival = self._arrival()
        assert isinstance(arrival, Active), arrival
        self._settle(arrival)
        self._active = arrival
        self.require_scoring()

    def close(self) -> None:
        """End the fetching thread."""
        self.fetching.stop()

    # --- cases ----------------------------------------------------------------------------------------------------

    def message(self, case: Message, forge: Forge) -> Result:
        """Hand a message to whoever reads its topic."""
        if case.kind == "notice":
            return self._notice(case)
        try:
            before, after = self._observed(case, forge)
        except EnvelopeRejected as error:
            return Result(True, error.reason.value)
        except Exception as error:
            return Result(False, f"escaped: {type(error).__name__}: {error}")
        if after.standing is not before.standing:
            return Result(False, f"believed: {before.standing.value} became {after.standing.value}")
        return Result(True, "not-newer")

    def bundle(self, case: BundleCase, forge: Forge, folder: Path) -> Result:
        """Announce a bundle that lies in the registry, validly signed, under the next sequence."""
        target = self._registry / HOSTILE_VERSION
        folder.rename(target)
        self._sequence += 1
        try:
            self._take(forge.sealed("notice", self._sequence, version=HOSTILE_VERSION, manifest_digest=case.digest))
            arrival = self._arrival()
        except queue.Empty:
            return Result(False, f"neither refused nor live: {self.fetching.phases[MODEL]}")
        finally:
            shutil.rmtree(target, ignore_errors=True)
        self._settle(arrival)
        self.require_scoring()
        if isinstance(arrival, Refused):
            return Result(bool(arrival.reason), arrival.reason)
        self.fetching._cache.discard(case.digest)
        return Result(False, "it became live")

    def require_scoring(self) -> None:
        """The model that is live scores as it did."""
        scorer = self._active.scorer
        scores = scorer.score(scorer.decode(self._probes).columns, PROBES)
        assert scores.tolist() == [score_of(1, number) for number in range(PROBES)]

    # --- how ------------------------------------------------------------------------------------------------------

    def _offer(self, notice: Notice) -> None:
        with self.fetching._changed:  # the fetching thread cannot take it up before it was looked at
            self.fetching.offer(notice)
            self._news = MODEL in self.fetching._wanted

    def _notice(self, case: Message) -> Result:
        before, foreign = Counter(self.follower.rejected), self.fetching.foreign
        self._news = False
        self._take(case)
        if self._news:
            arrival = self._arrival()
            self._settle(arrival)
            self._sequence = max(self._sequence, arrival.sequence)
            return Result(False, f"believed: {type(arrival).__name__} {arrival.sequence}")
        counted = self.follower.rejected - before
        if counted:
            return Result(sum(counted.values()) == 1, next(iter(counted)))
        return Result(True, "other-ledger" if self.fetching.foreign > foreign else "not-newer")

    def _observed(self, case: Message, forge: Forge) -> tuple[Answer, Answer]:
        observer = Observer(
            ledger=LEDGER,
            model=MODEL,
            sequence=AHEAD,
            kind=Kind.PROMOTE,
            input_topic=forge.topics.input,
            partitions=4,
            now_s=0.0,
        )
        observer.hear(forge.heartbeat(LIVE_SEQUENCE, counter=1_000), 1.0)
        before = observer.answer(1.0)
        assert before.standing is Standing.WAITING
        if case.kind == "heartbeat":
            observer.hear(unseal_heartbeat(case.key, case.value, case.headers, KEYRING), 2.0)
        else:
            observer.acknowledge(unseal_acknowledgement(case.key, case.value, case.headers, KEYRING))
        return before, observer.answer(2.0)

    def _take(self, case: Message) -> None:
        self.follower._take(record(case.value, topic="baton.notices", key=case.key, headers=[*case.headers]))

    def _arrival(self) -> Arrival:
        return self.fetching.arrivals.get(timeout=PATIENCE_S)

    def _settle(self, arrival: Arrival) -> None:
        self.fetching.settled(acknowledgement_of(arrival))
