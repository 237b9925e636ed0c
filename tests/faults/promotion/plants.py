"""Protocol A with one sentence left out of the code, a row for each; ``caught_by`` names the test that notices.

A plant changes the program as it was imported, before the test is: what it leaves out is left out for the test.
"""

import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import text

from scoring.contract import acknowledgement, envelope, heartbeat, notice
from scoring.contract.errors import EnvelopeRejected, Rejection
from scoring.contract.heartbeat import State
from scoring.promotion import decide, ledger, notices, observer, publisher, repair, rules
from scoring.promotion.database import open_database
from scoring.promotion.entry import LedgerEntry, Proposal
from scoring.promotion.notices import NoticeState
from scoring.scorer import bundle
from scoring.worker import assignment, cache, emit, fetching, follower, loop, models
from scoring.worker import heartbeat as beats
from scoring.worker.partitions import Pause

UNIT, WORKER = "tests/unit/promotion", "tests/unit/worker"
LEDGER = "tests/contract/test_ledger.py"
ENVELOPE = "tests/unit/contract/test_envelope.py"
NOTICES = "tests/integration/promotion/test_notices.py"
CONVERGENCE = "tests/integration/promotion/test_convergence.py"
SENTENCES = "tests/faults/promotion/test_sentences_a.py"

PLANTS: "dict[str, Plant]" = {}


class Plant(msgspec.Struct, frozen=True):
    """One sentence left out.

    Attributes:
        sentence: its number in protocol A.
        caught_by: tests that must fail with it, and pass without it.
    """

    sentence: int
    name: str
    apply: Callable[[], None]
    caught_by: Sequence[str]


def left_out(sentence: int, *caught_by: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Enter a plant into the table, under its function's name."""

    def enter(apply: Callable[[], None]) -> Callable[[], None]:
        name = apply.__name__.strip("_").replace("_", "-")
        PLANTS[name] = Plant(sentence, name, apply, caught_by)
        return apply

    return enter


def found(owner: Any, name: str) -> Any:
    """What is there; a plant in something that is gone would prove nothing."""
    if not hasattr(owner, name):
        raise AttributeError(f"{owner} has no {name}: the plant has to be moved to where the sentence is now")
    return getattr(owner, name)


def put(owner: Any, name: str, value: object) -> None:
    """Replace what is there."""
    found(owner, name)
    setattr(owner, name, value)


# --- A.1 ----------------------------------------------------------------------------------------------------------


@left_out(1, f"{UNIT}/test_decide.py::test_a_bundle_that_the_registry_gives_back_damaged_is_not_promoted")
def _no_read_back() -> None:
    put(decide, "read_back", lambda *_: None)


@left_out(1, f"{UNIT}/test_decide.py::test_another_bundle_under_the_version_is_not_promoted")
def _the_digest_is_not_compared() -> None:
    put(decide, "open_bundle", lambda folder, _: bundle.open_bundle(folder))


@left_out(1, f"{UNIT}/test_decide.py::test_a_rollback_to_a_bundle_that_cannot_be_fetched_is_refused")
def _a_rollback_reads_nothing_back() -> None:
    put(decide, "read_back", lambda *_: None)


# --- A.2 ----------------------------------------------------------------------------------------------------------


@left_out(2, f"{LEDGER}::test_a_decision_on_an_old_head_loses_and_is_told_the_new_one")
def _no_compare_and_set() -> None:
    decided = ledger.Ledger.decide

    def last_write_wins(self: ledger.Ledger, proposal: Proposal) -> LedgerEntry:
        head = self.head(proposal.model)
        return decided(self, msgspec.structs.replace(proposal, parent=head.sequence if head else 0))

    put(ledger.Ledger, "decide", last_write_wins)


@left_out(2, f"{LEDGER}::test_of_processes_that_decide_at_once_one_wins_each_sequence_and_the_others_are_told")
def _no_unique_key() -> None:
    migrated = found(ledger, "migrate")

    def migrate(database: Any, migrations: Any) -> str | None:
        before: str | None = migrated(database, migrations)
        if database.engine.dialect.name == "postgresql" and before is None:
            with database.engine.begin() as connection:
                for name in ("parent", "one_per_sequence"):
                    connection.execute(text(f"alter table ledger_entries drop constraint ledger_entries_{name}"))
        return before

    put(ledger, "migrate", migrate)


@left_out(2, f"{SENTENCES}::test_a2_a_stranger_that_decides_in_between_is_lost_to_and_told")
def _a_conflict_is_taken_for_success() -> None:
    put(ledger.Ledger, "_after_conflict", lambda self, proposal, _: self.head(proposal.model))


# --- A.3 ----------------------------------------------------------------------------------------------------------


def _under_another_run_id(when: Callable[[ledger.Ledger, LedgerEntry], bool]) -> None:
    """A retry forgets its run where ``when`` says so."""
    decided = ledger.Ledger.decide

    def forgets(self: ledger.Ledger, proposal: Proposal) -> LedgerEntry:
        known = self.made_by(proposal.model, proposal.run_id, proposal.manifest_digest)
        if known is not None and when(self, known):
            proposal = msgspec.structs.replace(proposal, run_id=f"{proposal.run_id}-{uuid.uuid4()}")
        return decided(self, proposal)

    put(ledger.Ledger, "decide", forgets)


@left_out(3, f"{LEDGER}::test_a_retry_returns_the_entry_that_it_made")
def _a_retry_inserts_again() -> None:
    _under_another_run_id(lambda *_: True)


@left_out(3, f"{LEDGER}::test_a_retry_returns_its_entry_even_when_that_was_rolled_back_since")
def _a_retry_undoes_a_rollback() -> None:
    _under_another_run_id(lambda self, known: self.head(known.model) != known)


@left_out(3, f"{SENTENCES}::test_a3_a_twin_that_decides_in_between_is_found_again")
def _a_conflict_is_always_a_lost_race() -> None:
    def after(self: ledger.Ledger, proposal: Proposal, _: Exception) -> LedgerEntry:
        raise rules.LostRace(proposal, self.head(proposal.model))

    put(ledger.Ledger, "_after_conflict", after)


@left_out(3, f"{UNIT}/test_rules.py::test_a_rolled_back_version_is_refused_with_who_rolled_it_back")
def _a_rolled_back_version_comes_back_by_itself() -> None:
    put(rules, "check_not_rolled_back", lambda *_: None)


# --- A.4 ----------------------------------------------------------------------------------------------------------


@left_out(4, f"{UNIT}/test_rules.py::test_data_that_ends_before_that_of_the_champion_is_refused")
def _an_older_interval_is_allowed() -> None:
    put(rules, "check_not_older", lambda *_: None)


@left_out(4, f"{UNIT}/test_rules.py::test_a_rolled_back_version_is_no_measure_of_age")
def _a_rolled_back_version_measures_age() -> None:
    put(rules, "standing", lambda entries: max(entries, key=lambda entry: entry.interval.end, default=None))


# --- A.5 ----------------------------------------------------------------------------------------------------------


@left_out(5, f"{LEDGER}::test_a_ledger_that_cannot_be_reached_is_an_error")
def _a_ledger_that_cannot_be_read_is_empty() -> None:
    read, opened = ledger.Ledger.head, found(ledger.Ledger.open, "__func__")

    def head(self: ledger.Ledger, model: str) -> LedgerEntry | None:
        try:
            return read(self, model)
        except Exception:
            return None

    def opens(cls: Any, /, url: str, **named: Any) -> Any:
        try:
            return opened(cls, url, **named)
        except Exception:
            return cls(open_database("sqlite://"))

    put(ledger.Ledger, "head", head)
    put(ledger.Ledger, "open", classmethod(opens))


# --- A.6 ----------------------------------------------------------------------------------------------------------


@left_out(6, f"{UNIT}/test_repair.py::test_what_was_never_announced_is_announced_and_aliased")
def _the_alias_is_not_repaired() -> None:
    put(repair, "_set_alias", lambda *_: [])


@left_out(6, f"{UNIT}/test_repair.py::test_what_was_never_announced_is_announced_and_aliased")
def _the_notice_is_not_repaired() -> None:
    put(repair, "_state", lambda *_: NoticeState.CURRENT)


@left_out(6, f"{UNIT}/test_repair.py::test_who_is_overtaken_while_repairing_corrects_what_it_wrote")
def _states_are_compared_once() -> None:
    mended = repair.repair

    class Still:
        """A ledger whose head never moves."""

        def __init__(self, real: ledger.Ledger) -> None:
            self.identity = real.identity
            self._real = real
            self._head: dict[str, LedgerEntry | None] = {}

        def head(self, model: str) -> LedgerEntry | None:
            return self._head.setdefault(model, self._real.head(model))

    def repairs(model: str, real: ledger.Ledger, *others: Any, **named: Any) -> Any:
        still: Any = Still(real)
        return mended(model, still, *others, **named)

    put(repair, "repair", repairs)


@left_out(6, f"{UNIT}/test_repair.py::test_a_retirement_takes_the_alias_away")
def _a_retired_model_keeps_its_alias() -> None:
    put(repair, "_wanted", lambda head: head.version)


# --- A.7 ----------------------------------------------------------------------------------------------------------

OVERTAKEN = f"{NOTICES}::test_a_publisher_that_was_overtaken_is_fenced_and_leaves_the_newer_notice"


@left_out(7, OVERTAKEN)
def _the_head_is_read_before_fencing() -> None:
    published = publisher.publish_head

    class Known:
        """A ledger that was read before."""

        def __init__(self, real: Any, model: str) -> None:
            self.identity = real.identity
            self._head = real.head(model)

        def head(self, _: str) -> Any:
            return self._head

    def publishes(model: str, real: Any, *others: Any, **named: Any) -> Any:
        known: Any = Known(real, model)
        return published(model, known, *others, **named)

    put(publisher, "publish_head", publishes)
    put(notices, "publish_head", publishes)


@left_out(7, OVERTAKEN)
def _each_publisher_has_an_id_of_its_own() -> None:
    optioned = found(publisher, "client_options")

    def options(kafka: Any, **more: Any) -> Any:
        return optioned(kafka, **{**more, "transactional_id": f"{more['transactional_id']}-{uuid.uuid4()}"})

    put(publisher, "client_options", options)


@left_out(7, f"{UNIT}/test_repair.py::test_being_fenced_means_comparing_again")
def _being_fenced_is_an_error() -> None:
    put(repair, "Fenced", type("Never", (Exception,), {}))


@left_out(7, f"{UNIT}/test_repair.py::test_what_must_not_be_believed_is_overwritten")
def _a_tombstone_is_believed() -> None:
    stated = notices.Seen.state

    def state(self: notices.Seen, head: LedgerEntry, of: Any) -> NoticeState:
        return NoticeState.CURRENT if self.rejection is Rejection.TOMBSTONE else stated(self, head, of)

    put(notices.Seen, "state", state)


@left_out(7, f"{WORKER}/test_follower.py::test_what_must_not_be_believed_is_counted_and_nothing_else_happens")
def _a_tombstone_ends_the_following() -> None:
    read = follower.Follower._read

    def reads(self: follower.Follower, message: Any) -> None:
        if message.value() is None:
            self._stop.set()
            self._offer = lambda _: None
            return
        read(self, message)

    put(follower.Follower, "_read", reads)


@left_out(7, f"{WORKER}/test_fetching.py::test_nothing_at_or_below_what_was_live_is_taken_after_a_restart")
def _a_worker_forgets_what_was_live() -> None:
    put(cache.Cache, "recall", lambda _: cache.Memory())


@left_out(7, f"{SENTENCES}::test_a7_a_crash_while_fetching_does_not_skip_the_sequence")
def _a_worker_remembers_before_it_fetched() -> None:
    offered = fetching.Fetching.offer

    def offer(self: fetching.Fetching, said: notice.Notice) -> None:
        before = self._memory.models.get(said.model, cache.Remembered())
        remembered = cache.Remembered(highest=said.sequence, live=before.live)
        offered(self, said)
        self._cache.remember(self._memory.with_model(said.model, remembered, said.ledger))

    put(fetching.Fetching, "offer", offer)


@left_out(7, f"{WORKER}/test_fetching.py::test_a_retired_model_is_gone_and_can_come_back")
def _a_retirement_is_taken_for_a_promotion() -> None:
    worked = fetching._work

    def work(said: notice.Notice, at: datetime) -> Any:
        return msgspec.structs.replace(worked(said, at), retires=False)

    put(fetching, "_work", work)


# --- A.8 ----------------------------------------------------------------------------------------------------------


@left_out(8, f"{ENVELOPE}::test_another_key_under_the_same_id_is_a_bad_signature")
def _signatures_are_not_checked() -> None:
    put(envelope, "_check_signature", lambda *_: None)


@left_out(8, f"{CONVERGENCE}::test_a_forged_heartbeat_is_counted_and_not_believed")
def _forged_heartbeats_are_believed() -> None:
    put(envelope, "_check_signature", lambda *_: None)


@left_out(8, f"{ENVELOPE}::test_keys_rotate")
def _only_the_newest_key_is_known() -> None:
    checked = envelope._check_signature

    def check(value: bytes, headers: Any, keyring: Any) -> None:
        if headers.get(envelope.KEY_ID_HEADER) != keyring.active.encode():
            raise EnvelopeRejected(Rejection.UNKNOWN_KEY, "not the active one")
        checked(value, headers, keyring)

    put(envelope, "_check_signature", check)


def _unsealing(changed: Callable[[dict[str, Any], bytes], dict[str, Any]]) -> None:
    """Every message is opened with other arguments."""
    opened = envelope.unseal

    def unseal(key: bytes | None, value: bytes | None, headers: Any, **named: Any) -> Any:
        arguments = {"key": key, "value": value, "headers": headers, **named}
        with suppress(msgspec.MsgspecError, KeyError, AttributeError, TypeError, RecursionError):
            arguments = changed(arguments, value or b"")
        return opened(**arguments)

    for module in (acknowledgement, heartbeat, notice):
        put(module, "unseal", unseal)


@left_out(8, f"{ENVELOPE}::test_the_record_key_must_be_the_subject")
def _the_record_key_is_not_compared() -> None:
    _unsealing(lambda given, value: {**given, "key": msgspec.json.decode(value)["subject"].encode()})


@left_out(8, f"{ENVELOPE}::test_an_unknown_type_or_major_version_is_refused")
def _any_major_version_is_taken() -> None:
    _unsealing(lambda given, value: {**given, "event_type": msgspec.json.decode(value)["type"]})


@left_out(8, f"{UNIT}/test_repair.py::test_a_notice_of_another_ledger_is_overwritten")
def _the_ledgers_uuid_is_ignored_by_the_repair() -> None:
    stated = notices.Seen.state

    def state(self: notices.Seen, head: LedgerEntry, of: Any) -> NoticeState:
        if self.notice is not None:
            self = msgspec.structs.replace(self, notice=msgspec.structs.replace(self.notice, ledger=of))
        return stated(self, head, of)

    put(notices.Seen, "state", state)


@left_out(8, f"{WORKER}/test_fetching.py::test_another_ledgers_notices_are_not_taken_and_do_not_change_the_state")
def _the_ledgers_uuid_is_ignored_by_the_worker() -> None:
    news = fetching.Fetching._is_news

    def is_news(self: fetching.Fetching, said: notice.Notice) -> bool:
        self._ledger = said.ledger
        return news(self, said)

    put(fetching.Fetching, "_is_news", is_news)


@left_out(8, f"{UNIT}/test_observer.py::test_a_worker_of_another_ledger_never_counts")
def _the_ledgers_uuid_is_ignored_by_the_observer() -> None:
    heard = observer.Observer.hear

    def hear(self: observer.Observer, beat: heartbeat.Heartbeat, now_s: float) -> None:
        heard(self, msgspec.structs.replace(beat, ledger=self._ledger), now_s)

    put(observer.Observer, "hear", hear)


@left_out(8, f"{WORKER}/test_fetching.py::test_another_bundle_than_the_announced_one_is_refused")
def _the_worker_takes_whatever_bundle_it_finds() -> None:
    opened = bundle.open_bundle
    for module in (bundle, fetching):
        put(module, "open_bundle", lambda folder, _=None: opened(folder))


# --- A.9 ----------------------------------------------------------------------------------------------------------


@left_out(9, f"{WORKER}/test_status.py::test_what_counts")
def _fetching_is_said_as_refused() -> None:
    merged = beats.merge

    def merge(scoring: Any, phase: Any) -> Any:
        found = merged(scoring, phase)
        return msgspec.structs.replace(found, state=State.REFUSED) if found.state is State.FETCHING else found

    put(beats, "merge", merge)


@left_out(9, f"{UNIT}/test_observer.py::test_fetching_is_not_refused_it_is_waited_for")
def _fetching_is_taken_for_refused() -> None:
    learned = observer.Observer._learn

    def learn(self: observer.Observer, worker: str, status: heartbeat.ModelStatus) -> None:
        if status.state is State.FETCHING:
            status = msgspec.structs.replace(status, state=State.REFUSED)
        learned(self, worker, status)

    put(observer.Observer, "_learn", learn)


@left_out(9, f"{WORKER}/test_loop.py::test_nothing_is_live_before_its_acknowledgement_was_committed")
def _live_is_said_before_the_commit() -> None:
    activated = models.ModelTable._activate

    def activate(self: models.ModelTable, active: models.Active) -> None:
        activated(self, active)
        self.live[active.model] = active.sequence

    put(models.ModelTable, "_activate", activate)


@left_out(9, f"{WORKER}/test_loop.py::test_a_worker_that_refused_what_its_partition_needs_lets_go_of_the_topic")
def _a_worker_keeps_a_topic_that_it_cannot_score() -> None:
    put(models.ModelTable, "topics", lambda self: sorted(self._by_topic))


# --- A.10 ---------------------------------------------------------------------------------------------------------


@left_out(10, f"{WORKER}/test_loop.py::test_an_idle_topic_is_acknowledged_alone")
def _an_idle_topic_is_never_acknowledged() -> None:
    put(assignment.Assignment, "complete", lambda *_: False)


@left_out(10, f"{WORKER}/test_loop.py::test_the_acknowledgement_names_the_first_offset_that_the_new_sequence_scored")
def _the_acknowledgement_names_the_next_offset() -> None:
    placed = found(loop, "position")
    put(loop, "position", lambda partition, offset: placed(partition, offset + 1))


# --- A.11 ---------------------------------------------------------------------------------------------------------


@left_out(11, f"{UNIT}/test_observer.py::test_the_same_counter_again_is_no_sign_of_life")
def _any_heartbeat_is_a_sign_of_life() -> None:
    def take(self: observer._Seen, beat: heartbeat.Heartbeat, now_s: float | None) -> bool:
        self.beat, self.advanced_at_s = beat, now_s
        return True

    put(observer._Seen, "take", take)


@left_out(11, f"{UNIT}/test_observer.py::test_one_live_worker_that_owns_every_partition_is_convergence")
def _clocks_of_machines_are_compared() -> None:
    heard = observer.Observer.hear

    def hear(self: observer.Observer, beat: heartbeat.Heartbeat, now_s: float) -> None:
        if abs((datetime.now(UTC) - beat.at).total_seconds()) <= observer.LIVE_WITHIN_S:
            heard(self, beat, now_s)

    put(observer.Observer, "hear", hear)


@left_out(11, f"{UNIT}/test_observer.py::test_a_heartbeat_from_before_is_no_sign_of_life")
def _a_remembered_heartbeat_is_a_sign_of_life() -> None:
    put(observer.Observer, "remember", lambda self, beat: self.hear(beat, self._began_at_s))


@left_out(
    11,
    f"{UNIT}/test_observer.py::test_a_silent_worker_no_longer_counts_for_or_against",
    f"{UNIT}/test_observer.py::test_a_silent_owner_does_not_own_its_partitions",
)
def _a_silent_worker_is_live_for_ever() -> None:
    put(observer, "LIVE_WITHIN_S", 1e9)


@left_out(11, f"{UNIT}/test_observer.py::test_every_live_worker_must_have_it")
def _one_worker_is_enough() -> None:
    judged = observer.Observer._judge

    def judge(self: observer.Observer, views: Any, unowned: Any, now_s: float) -> Any:
        return judged(self, tuple(view for view in views if view.arrived) or views, unowned, now_s)

    put(observer.Observer, "_judge", judge)


@left_out(11, f"{UNIT}/test_observer.py::test_a_partition_without_an_owner_that_is_live_on_it_is_waited_for")
def _partitions_without_an_owner_are_ignored() -> None:
    put(observer.Observer, "_unowned", lambda *_: ())


@left_out(11, f"{UNIT}/test_observer.py::test_a_late_joiner_counts")
def _late_joiners_are_ignored() -> None:
    heard = observer.Observer.hear

    def hear(self: observer.Observer, beat: heartbeat.Heartbeat, now_s: float) -> None:
        if beat.worker in self._workers or not self._workers:
            heard(self, beat, now_s)

    put(observer.Observer, "hear", hear)


@left_out(11, f"{UNIT}/test_observer.py::test_overtaken_while_waiting_is_superseded_and_green")
def _being_overtaken_goes_unnoticed() -> None:
    put(observer.Observer, "decided", lambda *_: None)


@left_out(11, f"{UNIT}/test_observer.py::test_one_refusal_is_red_at_once_with_its_reason")
def _a_refusal_is_ignored() -> None:
    put(observer.Observer, "_standing_refusals", lambda *_: {})


@left_out(11, f"{UNIT}/test_observer.py::test_no_live_worker_now_but_one_before_is_red_at_the_limit")
def _nobody_alive_is_green() -> None:
    learned = observer.Observer._take

    def take(self: observer.Observer, beat: heartbeat.Heartbeat, now_s: float | None) -> None:
        learned(self, beat, now_s)
        self._ever_served = False

    put(observer.Observer, "_take", take)


@left_out(11, f"{UNIT}/test_observer.py::test_still_fetching_at_the_limit_is_red_and_says_who")
def _waiting_never_ends() -> None:
    begun = observer.Observer.__init__

    def begin(self: observer.Observer, **named: Any) -> None:
        begun(self, **{**named, "limit_s": 1e9})

    put(observer.Observer, "__init__", begin)


@left_out(11, f"{UNIT}/test_decide.py::test_an_automatic_rollback_happens_only_while_what_it_saw_fail_is_the_head")
def _an_automatic_rollback_hits_whoever_is_the_head() -> None:
    rolled = decide.rollback
    put(decide, "rollback", lambda *given, **named: rolled(*given, **{**named, "while_head": None}))


# --- A.12 ---------------------------------------------------------------------------------------------------------


@left_out(
    12,
    f"{WORKER}/test_loop.py::test_a_partition_that_needs_a_newer_sequence_is_held_until_it_is_live",
    f"{WORKER}/test_loop.py::test_offsets_of_another_ledger_hold_a_partition",
)
def _the_committed_metadata_is_ignored() -> None:
    put(assignment, "pause_for", lambda _, live: Pause.NO_MODEL if live is None else None)


# --- A.13 ---------------------------------------------------------------------------------------------------------


@left_out(13, f"{WORKER}/test_emit.py::test_a_prediction_carries_its_lineage")
def _lineage_names_the_topic_and_not_its_id() -> None:
    predicted = emit.Emitter.predictions

    def predictions(
        self: emit.Emitter, columns: Any, scores: Any, decisions: Any, origin: emit.Origin, *rest: Any
    ) -> Any:
        named = msgspec.structs.replace(origin, topic_id=origin.topic)
        return predicted(self, columns, scores, decisions, named, *rest)

    put(emit.Emitter, "predictions", predictions)
