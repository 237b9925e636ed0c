"""Has a promotion converged? Time is a number, and nothing is sent anywhere (protocol A.9 and A.11)."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from scoring.contract.acknowledgement import Acknowledgement, Outcome, Position
from scoring.contract.heartbeat import Heartbeat, ModelStatus, State
from scoring.contract.notice import Kind
from scoring.promotion.observer import LIMIT_S, LIVE_WITHIN_S, Answer, Observer, Presence, Standing
from tests.support.decisions import LEDGER

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TOPIC = "small.input"


def observer(
    sequence: int = 2, *, partitions: int = 2, kind: Kind = Kind.PROMOTE, limit_s: float = LIMIT_S
) -> Observer:
    return Observer(
        ledger=LEDGER,
        model="small",
        sequence=sequence,
        kind=kind,
        input_topic=TOPIC,
        partitions=partitions,
        now_s=0.0,
        limit_s=limit_s,
    )


def beat(
    slot: int = 0,
    sequence: int | None = 2,
    *,
    counter: int = 1,
    state: State = State.LIVE,
    pending: int | None = None,
    reason: str | None = None,
    partitions: tuple[int, ...] = (0, 1),
    instance: str = "first",
    left: bool = False,
    ledger: UUID | None = LEDGER,
    model: str = "small",
    topic: str = TOPIC,
) -> Heartbeat:
    positions = tuple(Position(topic=topic, topic_id="id", partition=number, offset=5) for number in partitions)
    status = ModelStatus(state=state, sequence=sequence, pending=pending, reason=reason, positions=positions)
    return Heartbeat(
        worker=f"prod/{slot}",
        instance=instance,
        counter=counter,
        at=NOW,
        left=left,
        ledger=ledger,
        models={model: status},
    )


def said(
    outcome: Outcome, sequence: int = 2, *, slot: int = 0, reason: str | None = None, ledger: UUID = LEDGER
) -> Acknowledgement:
    return Acknowledgement(
        ledger=ledger,
        model="small",
        sequence=sequence,
        version=str(sequence),
        worker=f"prod/{slot}",
        instance="first",
        outcome=outcome,
        noticed_at=NOW,
        at=NOW,
        reason=reason,
    )


def standing(answer: Answer) -> Standing:
    return answer.standing


def test_one_live_worker_that_owns_every_partition_is_convergence() -> None:
    watched = observer()
    watched.hear(beat(), 1.0)
    answer = watched.answer(1.0)
    assert answer.standing is Standing.CONVERGED
    assert answer.green
    assert answer.settled
    assert answer.sentence == "sequence 2 of small is live on 1 worker: prod/0"


def test_a_newer_sequence_counts_as_well() -> None:
    watched = observer()
    watched.hear(beat(sequence=3), 1.0)
    assert standing(watched.answer(1.0)) is Standing.CONVERGED


@pytest.mark.parametrize("state", [State.WAITING, State.FETCHING])
def test_fetching_is_not_refused_it_is_waited_for(state: State) -> None:
    watched = observer()
    watched.hear(beat(sequence=1, state=state, pending=2, reason="the registry is away"), 1.0)
    answer = watched.answer(1.0)
    assert answer.standing is Standing.WAITING
    assert f"prod/0 is {state.value} on sequence 1 (the registry is away)" in answer.sentence


def test_still_fetching_at_the_limit_is_red_and_says_who() -> None:
    watched = observer(limit_s=60)
    watched.hear(beat(sequence=1, state=State.FETCHING, pending=2, counter=9), 55.0)
    answer = watched.answer(60.5)
    assert answer.standing is Standing.TIMED_OUT
    assert not answer.green
    assert "not live everywhere after 60 s: prod/0 is fetching" in answer.sentence


def test_every_live_worker_must_have_it() -> None:
    watched = observer()
    watched.hear(beat(0, partitions=(0, 1)), 1.0)
    watched.hear(beat(1, sequence=1, partitions=()), 1.0)
    assert standing(watched.answer(1.0)) is Standing.WAITING
    watched.hear(beat(1, counter=2, partitions=()), 2.0)
    assert standing(watched.answer(2.0)) is Standing.CONVERGED


def test_a_late_joiner_counts() -> None:
    watched = observer()
    watched.hear(beat(0), 1.0)
    watched.hear(beat(1, sequence=None, state=State.WAITING, partitions=()), 1.5)
    answer = watched.answer(2.0)
    assert answer.standing is Standing.WAITING
    assert "prod/1 is waiting on no sequence" in answer.sentence


def test_a_partition_without_an_owner_that_is_live_on_it_is_waited_for() -> None:
    watched = observer(partitions=3)
    watched.hear(beat(partitions=(0, 2)), 1.0)
    answer = watched.answer(1.0)
    assert answer.standing is Standing.WAITING
    assert answer.unowned == (1,)
    assert "no worker that is live on 2 owns partition 1 of small.input" in answer.sentence


def test_a_partition_of_another_topic_owns_nothing_here() -> None:
    watched = observer()
    watched.hear(beat(topic="other.input"), 1.0)
    assert watched.answer(1.0).unowned == (0, 1)


def test_a_worker_of_other_models_is_not_waited_for() -> None:
    watched = observer()
    watched.hear(beat(0), 1.0)
    watched.hear(beat(1, model="large", sequence=1), 1.0)
    assert standing(watched.answer(1.0)) is Standing.CONVERGED


def test_a_heartbeat_from_before_is_no_sign_of_life() -> None:
    watched = observer()
    watched.remember(beat())
    answer = watched.answer(1.0)
    assert answer.standing is Standing.WAITING
    assert answer.workers[0].presence is Presence.UNHEARD
    assert "prod/0 was not heard from yet" in answer.sentence


def test_many_heartbeats_from_before_are_none_either() -> None:
    watched = observer()
    for counter in range(50):
        watched.remember(beat(counter=counter))
    assert standing(watched.answer(1.0)) is Standing.WAITING


def test_the_same_counter_again_is_no_sign_of_life() -> None:
    watched = observer()
    watched.remember(beat(counter=7))
    for late in (7, 6, 1):
        watched.hear(beat(counter=late), 1.0)
    assert watched.answer(1.0).workers[0].presence is Presence.UNHEARD
    watched.hear(beat(counter=8), 2.0)
    assert standing(watched.answer(2.0)) is Standing.CONVERGED


def test_a_worker_that_was_only_remembered_is_waited_for_until_it_must_have_beaten() -> None:
    watched = observer()
    watched.remember(beat(1, sequence=1, partitions=(1,)))
    watched.hear(beat(0, partitions=(0, 1)), 1.0)
    assert standing(watched.answer(LIVE_WITHIN_S - 1)) is Standing.WAITING
    watched.hear(beat(0, counter=2), LIVE_WITHIN_S)
    assert standing(watched.answer(LIVE_WITHIN_S + 0.1)) is Standing.CONVERGED


def test_a_worker_is_live_for_fifteen_seconds_after_its_counter_advanced() -> None:
    watched = observer()
    watched.hear(beat(), 1.0)
    assert watched.answer(1.0 + LIVE_WITHIN_S).workers[0].presence is Presence.LIVE
    assert watched.answer(1.1 + LIVE_WITHIN_S).workers[0].presence is Presence.SILENT


def test_a_silent_worker_no_longer_counts_for_or_against() -> None:
    watched = observer()
    watched.hear(beat(0), 1.0)
    watched.hear(beat(1, sequence=1, partitions=()), 1.0)
    watched.hear(beat(0, counter=2), 20.0)
    assert standing(watched.answer(20.0)) is Standing.CONVERGED


def test_a_silent_owner_does_not_own_its_partitions() -> None:
    watched = observer()
    watched.hear(beat(0, partitions=(0,)), 1.0)
    watched.hear(beat(1, partitions=(1,)), 1.0)
    watched.hear(beat(0, counter=2, partitions=(0,)), 20.0)
    assert watched.answer(20.0).unowned == (1,)


def test_a_worker_that_left_is_gone_at_once() -> None:
    watched = observer()
    watched.hear(beat(0), 1.0)
    watched.hear(beat(1, sequence=1, partitions=()), 1.0)
    watched.hear(beat(1, sequence=1, counter=2, left=True, partitions=()), 2.0)
    assert standing(watched.answer(2.0)) is Standing.CONVERGED


def test_a_restarted_worker_counts_by_its_new_instance_even_with_a_lower_counter() -> None:
    watched = observer()
    watched.hear(beat(counter=500, sequence=1), 1.0)
    watched.hear(beat(counter=0, instance="second"), 2.0)
    assert standing(watched.answer(2.0)) is Standing.CONVERGED


def test_a_late_heartbeat_of_an_earlier_instance_changes_nothing() -> None:
    watched = observer()
    watched.hear(beat(counter=500, sequence=1), 1.0)
    watched.hear(beat(counter=0, instance="second"), 2.0)
    watched.hear(beat(counter=501, sequence=1), 3.0)
    assert standing(watched.answer(3.0)) is Standing.CONVERGED


@pytest.mark.parametrize("by_heartbeat", [True, False])
def test_one_refusal_is_red_at_once_with_its_reason(by_heartbeat: bool) -> None:
    watched = observer()
    watched.hear(beat(0), 1.0)
    if by_heartbeat:
        watched.hear(beat(1, sequence=1, state=State.REFUSED, pending=2, reason="golden rows differ"), 1.0)
    else:
        watched.acknowledge(said(Outcome.REFUSED, slot=1, reason="golden rows differ"))
    answer = watched.answer(1.0)
    assert answer.standing is Standing.REFUSED
    assert not answer.green
    assert answer.refusals == {"prod/1": "golden rows differ"}
    assert answer.sentence == "sequence 2 of small was refused by prod/1 (golden rows differ)"


def test_a_refusal_of_another_sequence_is_none_of_this_one() -> None:
    watched = observer()
    watched.hear(beat(), 1.0)
    watched.acknowledge(said(Outcome.REFUSED, 1))
    assert standing(watched.answer(1.0)) is Standing.CONVERGED


def test_a_worker_that_refused_and_then_went_live_refuses_no_longer() -> None:
    watched = observer()
    watched.acknowledge(said(Outcome.REFUSED, reason="a worker too old"))
    watched.acknowledge(said(Outcome.LIVE))
    watched.hear(beat(), 1.0)
    assert standing(watched.answer(1.0)) is Standing.CONVERGED


def test_a_refusal_stands_even_when_the_worker_that_refused_is_gone() -> None:
    watched = observer()
    watched.hear(beat(1, sequence=1, state=State.REFUSED, pending=2), 1.0)
    watched.hear(beat(0, counter=2), 30.0)
    assert standing(watched.answer(30.0)) is Standing.REFUSED


@pytest.mark.parametrize("left", [True, False])
def test_a_refusal_of_a_worker_that_was_gone_before_is_forgotten(left: bool) -> None:
    watched = observer()
    watched.remember(beat(1, sequence=1, state=State.REFUSED, pending=2, left=left))
    assert standing(watched.answer(1.0)) is (Standing.WAITING if left else Standing.REFUSED)
    watched.acknowledge(said(Outcome.REFUSED, slot=2))
    watched.hear(beat(0), 14.0)
    watched.hear(beat(0, counter=3), 16.0)
    assert standing(watched.answer(16.0)) is Standing.CONVERGED


@pytest.mark.parametrize("source", ["ledger", "heartbeat", "pending", "acknowledgement"])
def test_overtaken_while_waiting_is_superseded_and_green(source: str) -> None:
    watched = observer()
    watched.hear(beat(0, sequence=1, partitions=()), 1.0)
    if source == "ledger":
        watched.decided(3)
    elif source == "heartbeat":
        watched.hear(beat(1, sequence=3, partitions=()), 1.0)
    elif source == "pending":
        watched.hear(beat(1, sequence=1, state=State.FETCHING, pending=3, partitions=()), 1.0)
    else:
        watched.acknowledge(said(Outcome.LIVE, 3, slot=1))
    answer = watched.answer(1.0)
    assert answer.standing is Standing.SUPERSEDED
    assert answer.green
    assert "superseded by sequence 3" in answer.sentence


def test_a_refusal_is_not_hidden_by_being_overtaken() -> None:
    watched = observer()
    watched.acknowledge(said(Outcome.REFUSED))
    watched.decided(3)
    assert standing(watched.answer(1.0)) is Standing.REFUSED


def test_no_worker_ever_seen_is_unserved_and_green_but_only_after_one_must_have_beaten() -> None:
    watched = observer()
    assert standing(watched.answer(1.0)) is Standing.WAITING
    answer = watched.answer(LIVE_WITHIN_S + 0.1)
    assert answer.standing is Standing.UNSERVED
    assert answer.green


def test_a_short_limit_does_not_wait_longer_than_it_says() -> None:
    assert standing(observer(limit_s=2).answer(2.1)) is Standing.UNSERVED


def test_no_live_worker_now_but_one_before_is_red_at_the_limit() -> None:
    watched = observer(limit_s=60)
    watched.remember(beat(sequence=1, left=True))
    answer = watched.answer(59.0)
    assert answer.standing is Standing.WAITING
    assert "no worker is alive (there were prod/0)" in answer.sentence
    assert standing(watched.answer(60.1)) is Standing.TIMED_OUT


def test_a_worker_of_another_ledger_never_counts() -> None:
    other = UUID(int=8)
    watched = observer(limit_s=60)
    watched.hear(beat(sequence=9, ledger=other), 1.0)
    watched.acknowledge(said(Outcome.REFUSED, ledger=other))
    watched.acknowledge(said(Outcome.LIVE, 9, ledger=other))
    answer = watched.answer(2.0)
    assert answer.standing is Standing.WAITING
    assert "follows another ledger" in answer.sentence
    assert "adopt-ledger" in answer.sentence


def test_a_held_partition_does_not_stop_what_is_live() -> None:
    watched = observer()
    watched.hear(beat(state=State.HELD), 1.0)
    assert standing(watched.answer(1.0)) is Standing.CONVERGED


def test_a_retirement_has_converged_when_every_worker_let_go() -> None:
    watched = observer(kind=Kind.RETIRE)
    watched.hear(beat(0, sequence=None, state=State.RETIRED, pending=2, partitions=()), 1.0)
    watched.hear(beat(1, sequence=1, partitions=(0, 1)), 1.0)
    assert standing(watched.answer(1.0)) is Standing.WAITING
    watched.hear(beat(1, sequence=None, counter=2, state=State.RETIRED, pending=2, partitions=()), 2.0)
    answer = watched.answer(2.0)
    assert answer.standing is Standing.CONVERGED
    assert "is retired on 2 workers" in answer.sentence


def test_an_earlier_retirement_is_not_this_one() -> None:
    watched = observer(4, kind=Kind.RETIRE)
    watched.hear(beat(0, sequence=None, state=State.RETIRED, pending=2, partitions=()), 1.0)
    assert standing(watched.answer(1.0)) is Standing.WAITING
