"""Protocol B with one sentence left out of the worker, a row for each; ``caught_by`` names the test that notices.

``BEYOND`` are mistakes that no single sentence names. What only a broker can show is planted in running workers by
``tests/faults/test_planted_bugs.py``.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from confluent_kafka import KafkaError

from scoring.contract.manifest import decode_manifest
from scoring.contract.prediction import CORRELATION_HEADERS
from scoring.scorer import bundle
from scoring.worker import (
    assignment,
    cache,
    clients,
    committer,
    connections,
    delivery,
    directory,
    emit,
    fetching,
    intake,
    loop,
    partitions,
    pipeline,
    policy,
    scoring_step,
)
from scoring.worker import breaker as breakers
from scoring.worker.policy import Remedy
from tests.faults.promotion.plants import Plant, found, put

WORKER = "tests/unit/worker"
LOOP, PIPELINE = f"{WORKER}/test_loop.py", f"{WORKER}/test_pipeline.py"
SENTENCES = "tests/faults/daemon/test_sentences_b.py"
BEYOND = 0

PLANTS: dict[str, Plant] = {}


def left_out(sentence: int, *caught_by: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Enter a plant into the table, under its function's name."""

    def enter(apply: Callable[[], None]) -> Callable[[], None]:
        name = apply.__name__.strip("_").replace("_", "-")
        PLANTS[name] = Plant(sentence, name, apply, caught_by)
        return apply

    return enter


def nothing(*_: object, **__: object) -> None:
    """What is put in the place of a call that is left out."""


# --- B.1 ----------------------------------------------------------------------------------------------------------


@left_out(1, f"{SENTENCES}::test_b1_a_predecessor_that_wakes_up_can_commit_under_neither_id")
def _only_the_first_id_is_fenced() -> None:
    initialised = found(connections, "_initialised")
    put(connections, "_initialised", lambda producers, *rest: initialised(producers[:1], *rest))


@left_out(1, f"{SENTENCES}::test_b1_no_transaction_is_left_open_for_longer_than_ten_seconds")
def _transactions_stay_open_as_long_as_somebody_likes() -> None:
    settings_of = found(clients, "producer_settings")

    def longer(settings: Any, turn: int) -> dict[str, Any]:
        return {**settings_of(settings, turn), **settings.kafka_options}

    put(clients, "producer_settings", longer)


@left_out(1, f"{WORKER}/test_process.py::test_what_exactly_once_rests_on_cannot_be_set_otherwise")
def _ids_are_set_by_whoever_likes() -> None:
    settings_of = found(clients, "producer_settings")
    put(clients, "producer_settings", lambda settings, turn: {**settings_of(settings, turn), **settings.kafka_options})


# --- B.2 ----------------------------------------------------------------------------------------------------------


@left_out(2, f"{SENTENCES}::test_b2_offsets_are_sent_under_the_assignment_under_which_their_records_were_consumed")
def _the_group_metadata_is_captured_when_it_is_sent() -> None:
    members: list[Any] = []
    take, send = found(loop, "take"), found(delivery.ExactlyOnce, "send_offsets")

    def takes(consumer: Any, *arguments: Any, **named: Any) -> Any:
        members.append(consumer)
        return take(consumer, *arguments, **named)

    def sends(self: Any, producer: Any, offsets: Any, group: Any, timeout_s: float) -> None:
        send(self, producer, offsets, members[-1].consumer_group_metadata(), timeout_s)

    put(loop, "take", takes)
    put(delivery.ExactlyOnce, "send_offsets", sends)


@left_out(2, f"{WORKER}/test_intake.py::test_records_of_partitions_that_are_not_admitted_or_not_assigned_are_left_out")
def _what_is_no_longer_assigned_is_scored() -> None:
    put(intake, "_due", lambda *_: 0)


@left_out(2, f"{LOOP}::test_nothing_is_scored_under_a_new_name_before_the_group_says_what_is_its_own")
def _what_was_assigned_under_an_earlier_name_is_scored() -> None:
    take = found(loop, "take")

    def takes(consumer: Any, assigned: Any, *arguments: Any) -> Any:
        assigned.member = consumer.memberid()
        return take(consumer, assigned, *arguments)

    put(loop, "take", takes)


# --- B.3 ----------------------------------------------------------------------------------------------------------


@left_out(3, f"{LOOP}::test_records_are_scored_once_in_order_and_committed_with_their_sequence")
def _offsets_carry_no_metadata() -> None:
    from confluent_kafka import TopicPartition

    put(loop.Loop, "_offset", lambda _self, place, offset: TopicPartition(place[0], place[1], offset))


@left_out(3, f"{PIPELINE}::test_the_producers_take_turns")
def _one_producer_does_it_all() -> None:
    hand_over = found(pipeline.Pipeline, "hand_over")

    def hands_over(self: Any, transaction: Any) -> None:
        hand_over(self, transaction)
        self._turn = 0

    put(pipeline.Pipeline, "hand_over", hands_over)


@left_out(3, f"{PIPELINE}::test_the_next_batch_is_produced_while_the_one_before_is_committed")
def _transactions_do_not_overlap() -> None:
    hand_over = found(pipeline.Pipeline, "hand_over")

    def hands_over(self: Any, transaction: Any) -> None:
        hand_over(self, transaction)
        if "p0.commit" in transaction.producer.broker.gates:
            raise AssertionError("it waits for the commit")
        self.drain()

    put(pipeline.Pipeline, "hand_over", hands_over)


@left_out(3, f"{SENTENCES}::test_b3_offsets_are_those_of_the_batch_whatever_was_fetched_since")
def _offsets_are_where_the_consumer_stands() -> None:
    members: list[Any] = []
    take, send = found(loop, "take"), found(delivery.ExactlyOnce, "send_offsets")

    def takes(consumer: Any, *arguments: Any, **named: Any) -> Any:
        members.append(consumer)
        return take(consumer, *arguments, **named)

    def sends(self: Any, producer: Any, offsets: Any, group: Any, timeout_s: float) -> None:
        for place in offsets:
            place.offset = members[-1].positions[place.topic, place.partition]
        send(self, producer, offsets, group, timeout_s)

    put(loop, "take", takes)
    put(delivery.ExactlyOnce, "send_offsets", sends)


# --- B.4 ----------------------------------------------------------------------------------------------------------


@left_out(4, f"{PIPELINE}::test_a_batch_is_produced_only_after_the_one_before_was_flushed")
def _a_batch_is_produced_before_the_one_before_was_flushed() -> None:
    begin = found(pipeline.Pipeline, "begin")

    def begins(self: Any) -> Any:
        self._unflushed = None
        return begin(self)

    put(pipeline.Pipeline, "begin", begins)


@left_out(4, f"{PIPELINE}::test_a_batch_is_produced_only_after_the_one_before_was_flushed")
def _flushing_is_left_to_the_commit() -> None:
    put(committer.Committer, "_flush", nothing)


@left_out(4, f"{SENTENCES}::test_b4_offsets_are_not_sent_before_the_commit_before_returned")
def _offsets_of_the_next_batch_are_sent_early() -> None:
    submit = found(committer.Committer, "submit")

    def submits(self: Any, transaction: Any) -> None:
        self._delivery.send_offsets(transaction.producer, transaction.offsets, transaction.group, 5.0)
        submit(self, transaction)

    put(committer.Committer, "submit", submits)


# --- B.5 ----------------------------------------------------------------------------------------------------------


@left_out(5, f"{PIPELINE}::test_a_failure_aborts_the_batch_and_the_one_behind_it")
def _the_batch_behind_a_failed_one_is_left_open() -> None:
    def aborts(self: Any) -> None:
        self._committer.bounce()
        self._await_all()
        self._submitted.clear()
        self._unflushed = self._open = None
        self._committer.reset()

    put(pipeline.Pipeline, "abort", aborts)


@left_out(5, f"{LOOP}::test_whatever_fails_every_record_is_scored_once_in_order[1-commit]")
def _after_an_abort_the_consumer_goes_on_where_it_is() -> None:
    def stays(self: Any, wait_s: float = 0.0) -> None:
        self.partitions.rebalanced = False
        self._admit_at_s = wait_s

    put(assignment.Assignment, "go_back", stays)


@left_out(5, f"{SENTENCES}::test_b5_a_partition_without_a_committed_offset_is_read_from_its_oldest_record")
def _without_a_committed_offset_it_seeks_to_minus_1001() -> None:
    put(assignment.Assignment, "_resolved", lambda _self, _partition, committed: committed)


@left_out(5, f"{LOOP}::test_a_retriable_error_repeats_the_same_call[commit]")
def _a_retriable_error_aborts() -> None:
    remedy = found(policy, "remedy")

    def hasty(error: KafkaError) -> Remedy:
        said: Remedy = remedy(error)
        return Remedy.ABORT if said is Remedy.REPEAT else said

    put(delivery, "remedy", hasty)


@left_out(5, f"{LOOP}::test_a_fatal_error_ends_the_process[commit]")
def _a_fatal_error_is_taken_for_an_abortable_one() -> None:
    put(delivery, "remedy", lambda _error: Remedy.ABORT)


@left_out(5, f"{WORKER}/test_policy.py::test_an_error_is_judged_by_its_flags_the_gravest_first")
def _an_unknown_error_is_tried_again() -> None:
    remedy = found(policy, "remedy")

    def hopes(error: KafkaError) -> Remedy:
        known = error.fatal() or error.txn_requires_abort() or error.retriable()
        said: Remedy = remedy(error)
        return said if known else Remedy.REPEAT

    put(policy, "remedy", hopes)


@left_out(5, f"{PIPELINE}::test_an_error_of_no_known_kind_ends_the_process")
def _a_surprise_is_taken_for_an_abortable_error() -> None:
    event = found(committer, "Event")

    def forgiving(*arguments: Any, **named: Any) -> Any:
        return event(*arguments, **{**named, "must_exit": False})

    put(committer, "Event", forgiving)


# --- B.6 ----------------------------------------------------------------------------------------------------------


@left_out(6, f"{LOOP}::test_a_rebalance_aborts_and_goes_back_to_the_committed_offsets[False]")
def _a_rebalance_aborts_nothing() -> None:
    revoke = found(partitions.Partitions, "revoke")

    def revokes(self: Any, places: Any) -> None:
        before = self.rebalanced
        revoke(self, places)
        self.rebalanced = before

    put(partitions.Partitions, "revoke", revokes)


@left_out(6, f"{SENTENCES}::test_b6_the_callbacks_make_no_call_that_could_wait_for_the_broker")
def _the_callback_reads_the_committed_offsets() -> None:
    on_assign = found(assignment.Assignment, "_on_assign")

    def waits(self: Any, consumer: Any, assigned: Any) -> None:
        on_assign(self, consumer, self._offsets.committed(assigned, 30.0))

    put(assignment.Assignment, "_on_assign", waits)


@left_out(6, f"{WORKER}/test_policy.py::test_nothing_is_kept_of_a_partition_that_went")
def _a_partition_that_went_is_remembered() -> None:
    put(partitions.Partitions, "revoke", lambda self, _places: setattr(self, "rebalanced", True))


# --- B.7 ----------------------------------------------------------------------------------------------------------


@left_out(7, f"{LOOP}::test_stopping_commits_what_is_in_flight")
def _what_is_in_flight_is_dropped_at_the_end() -> None:
    def drops(self: Any) -> None:
        self._pipeline.abort()
        self._pipeline.committed.clear()

    put(loop.Loop, "_finish", drops)


@left_out(7, f"{WORKER}/test_process.py::test_the_names_of_the_clients_are_those_of_the_slot_for_ever")
def _membership_is_not_static() -> None:
    settings_of = found(clients, "consumer_settings")
    put(clients, "consumer_settings", lambda settings: {**settings_of(settings), "group.instance.id": ""})


# --- B.8 ----------------------------------------------------------------------------------------------------------


@left_out(8, f"{WORKER}/test_emit.py::test_a_dead_letter_keeps_key_value_and_headers")
def _a_dead_letter_turns_null_into_nothing() -> None:
    dead_letter = found(emit.Emitter, "dead_letter")

    def empties(self: Any, *arguments: Any) -> Any:
        made = dead_letter(self, *arguments)
        return msgspec.structs.replace(made, key=made.key or b"", value=made.value or b"")

    put(emit.Emitter, "dead_letter", empties)


@left_out(8, f"{WORKER}/test_emit.py::test_a_dead_letter_keeps_key_value_and_headers")
def _a_dead_letter_says_why_before_the_records_own_headers() -> None:
    dead_letter = found(emit.Emitter, "dead_letter")

    def turns(self: Any, *arguments: Any) -> Any:
        made = dead_letter(self, *arguments)
        return msgspec.structs.replace(made, headers=list(reversed(made.headers)))

    put(emit.Emitter, "dead_letter", turns)


@left_out(8, f"{WORKER}/test_emit.py::test_a_dead_letter_that_does_not_fit_is_stored_by_reference")
def _a_dead_letter_that_does_not_fit_is_sent_whole() -> None:
    put(emit, "record_size_bytes", lambda *_: 0)


@left_out(8, f"{WORKER}/test_policy.py::test_only_what_would_stop_the_worker_keeps_a_bundle_from_going_live")
def _the_margin_is_not_checked() -> None:
    put(directory, "is_grave", lambda deviation: deviation.setting == "partitions")


# --- B.9 ----------------------------------------------------------------------------------------------------------


@left_out(9, f"{LOOP}::test_a_topic_of_bad_records_is_not_drained_into_dead_letters_and_other_models_go_on")
def _the_breaker_never_opens() -> None:
    put(breakers.Breaker, "admits", lambda *_: True)


@left_out(9, f"{LOOP}::test_good_records_behind_few_bad_ones_close_the_breaker_again")
def _an_open_breaker_takes_no_probe() -> None:
    admits = found(breakers.Breaker, "admits")

    def never(self: Any, records: int, letters: int) -> bool:
        if self.probes:
            self.probes += 1
            return False
        said: bool = admits(self, records, letters)
        return said

    put(breakers.Breaker, "admits", never)


# --- B.10 ---------------------------------------------------------------------------------------------------------


def _without(name: bytes) -> None:
    """Predictions lack a field."""
    predictions = found(emit.Emitter, "predictions")

    def lacks(self: Any, *arguments: Any) -> list[bytes]:
        return [value.replace(b'"%b"' % name, b'"not_%b"' % name) for value in predictions(self, *arguments)]

    put(emit.Emitter, "predictions", lacks)


@left_out(10, f"{WORKER}/test_emit.py::test_a_prediction_carries_its_lineage")
def _lineage_lacks_the_sequence() -> None:
    _without(b"sequence")


@left_out(10, f"{WORKER}/test_emit.py::test_a_prediction_carries_its_lineage")
def _lineage_lacks_the_digest() -> None:
    _without(b"manifest_digest")


@left_out(10, f"{WORKER}/test_emit.py::test_a_prediction_carries_its_lineage")
def _lineage_lacks_the_topic_id() -> None:
    _without(b"topic_id")


@left_out(10, f"{WORKER}/test_emit.py::test_passed_through_and_looked_up_values_are_kept")
def _looked_up_values_do_not_travel() -> None:
    _without(b"lookups")


@left_out(10, f"{WORKER}/test_emit.py::test_passed_through_and_looked_up_values_are_kept")
def _passed_through_fields_do_not_travel() -> None:
    _without(b"pass_through")


@left_out(10, f"{WORKER}/test_emit.py::test_every_record_of_a_batch_has_its_own")
def _the_decision_is_left_to_the_reader() -> None:
    _without(b"decision")


@left_out(10, f"{WORKER}/test_emit.py::test_correlation_headers_are_repeated_whatever_their_case_and_others_are_not")
def _correlation_headers_are_matched_by_case() -> None:
    put(
        emit,
        "repeated",
        lambda headers: [(n, v) for n, v in headers if n in CORRELATION_HEADERS] or None,
    )


# --- beyond the sentences -----------------------------------------------------------------------------------------


@left_out(BEYOND, f"{SENTENCES}::test_no_micro_batch_mixes_versions")
def _a_swap_inside_a_batch() -> None:
    outputs_of, score = found(loop, "outputs_of"), found(loop.Loop, "_score")

    def scores(self: Any, batch: Any) -> Any:
        def halves(active: Any, messages: Any, *arguments: Any) -> Any:
            middle = len(messages) // 2
            first = outputs_of(active, messages[:middle], *arguments) if middle else []
            self._take_in()
            now = self._models.of_topic(active.topics.input)
            return first + outputs_of(now, messages[middle:], *arguments)

        vars(loop)["outputs_of"] = halves
        return score(self, batch)

    put(loop.Loop, "_score", scores)


@left_out(BEYOND, f"{WORKER}/test_fetching.py::test_a_damaged_cache_is_not_served_but_fetched_again")
def _a_cache_is_served_past_its_digest() -> None:
    def trusts(folder: Any, digest: str) -> Any:
        manifest = decode_manifest((folder / "manifest.json").read_bytes())
        files = [(folder / name).read_bytes() for name in ("model.onnx",)]
        return bundle.Bundle(folder, manifest, digest, files[0], ())

    put(fetching, "open_bundle", trusts)


@left_out(BEYOND, f"{LOOP}::test_nothing_is_live_before_its_acknowledgement_was_committed")
def _an_acknowledgement_counts_before_its_commit() -> None:
    commit = found(loop.Loop, "_commit")

    def commits(self: Any, producer: Any, batch: Any, due: Any, tallies: Any) -> None:
        for pending in due:
            self._fetching.settled(pending)
            self._models.settle(pending)
        commit(self, producer, batch, due, tallies)

    put(loop.Loop, "_commit", commits)


@left_out(BEYOND, f"{SENTENCES}::test_heartbeats_are_no_part_of_a_transaction")
def _heartbeats_are_part_of_a_transaction() -> None:
    put(clients, "heartbeat_settings", lambda settings: clients.producer_settings(settings, 0))


@left_out(BEYOND, f"{LOOP}::test_records_whose_lookups_fail_wait_and_those_of_other_models_do_not[error0]")
def _records_that_wait_are_not_given_back() -> None:
    put_back = found(assignment.Assignment, "put_back")

    def keeps(self: Any, first: Any, why: Any, wait_s: float) -> None:
        seek, self._consumer.seek = self._consumer.seek, nothing
        put_back(self, first, why, wait_s)
        self._consumer.seek = seek

    put(assignment.Assignment, "put_back", keeps)


@left_out(BEYOND, f"{PIPELINE}::test_what_the_client_refuses_to_produce_is_never_committed")
def _what_the_client_refuses_is_skipped() -> None:
    produce = found(pipeline, "produce")

    def skips(producer: Any, outputs: Any) -> None:
        from contextlib import suppress

        from confluent_kafka import KafkaException

        with suppress(KafkaException):
            produce(producer, outputs)

    put(pipeline, "produce", skips)


@left_out(BEYOND, f"{LOOP}::test_a_retired_model_is_committed_and_let_go_of_and_can_come_back")
def _a_retired_models_records_are_dropped() -> None:
    put(assignment.Assignment, "subscribe", nothing)


@left_out(
    BEYOND,
    f"{WORKER}/test_scoring_step.py::test_a_record_that_makes_the_model_fail_is_found_and_its_neighbours_are_scored",
)
def _a_batch_that_fails_is_condemned_as_a_whole() -> None:
    outputs_of = found(scoring_step, "outputs_of")

    def condemns(active: Any, messages: Sequence[Any], *arguments: Any) -> Any:
        whole = outputs_of(active, messages, *arguments)
        good = all(output.topic == active.topics.predictions for output in whole)
        return whole if good else [msgspec.structs.replace(out, topic=active.topics.dead_letters) for out in whole]

    put(scoring_step, "outputs_of", condemns)


@left_out(BEYOND, f"{LOOP}::test_the_acknowledgement_names_the_first_offset_that_the_new_sequence_scored")
def _an_acknowledgement_names_where_the_next_batch_begins() -> None:
    acknowledgement = found(loop.Loop, "_acknowledgement")

    def late(self: Any, pending: Any, batch: Any) -> Any:
        return acknowledgement(self, pending, intake.Batch(batch.by_topic, batch.following, batch.following, None))

    put(loop.Loop, "_acknowledgement", late)


@left_out(BEYOND, f"{WORKER}/test_cache.py::test_a_memory_that_was_only_half_written_does_not_count")
def _memory_is_written_in_place() -> None:
    put(
        cache.Cache,
        "recall",
        lambda self: msgspec.json.decode(self._memory.with_suffix(".new").read_bytes(), type=cache.Memory),
    )


@left_out(BEYOND, f"{PIPELINE}::test_aborting_keeps_what_was_committed_meanwhile")
def _a_commit_under_way_is_aborted_too() -> None:
    await_all = found(pipeline.Pipeline, "_await_all")

    def suspects(self: Any) -> Any:
        submitted = list(self._submitted)
        await_all(self)
        return submitted

    put(pipeline.Pipeline, "_await_all", suspects)


@left_out(BEYOND, f"{LOOP}::test_whatever_fails_every_record_is_scored_once_in_order[0-flush]")
def _records_are_produced_twice_when_a_queue_is_full() -> None:
    produce = found(pipeline, "produce")

    def doubles(producer: Any, outputs: Any) -> None:
        produce(producer, outputs)
        if outputs:
            produce(producer, outputs[-1:])

    put(pipeline, "produce", doubles)


@left_out(BEYOND, f"{LOOP}::test_a_client_that_goes_back_by_itself_makes_nothing_be_scored_again")
def _the_clients_position_is_believed() -> None:
    due = found(intake, "_due")
    put(intake, "_due", lambda *arguments: None if due(*arguments) is None else 0)
