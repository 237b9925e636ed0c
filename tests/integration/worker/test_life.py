"""A worker's life: it waits, goes live, swaps, is stopped, comes back, and gives way to another one in its slot."""

import json
import signal

import pytest

from scoring.contract.notice import Kind
from tests.support.arena import wait_until, wait_until_settled
from tests.support.bundles import score_of
from tests.support.ground import Ground, registry_away
from tests.support.oracle import examine

pytestmark = pytest.mark.integration


def first_offsets(ground: Ground, sequence: int) -> dict[int, int]:
    """Per partition, the first offset that a sequence scored, as the predictions say."""
    found: dict[int, int] = {}
    for prediction in ground.predictions():
        if prediction["sequence"] == sequence:
            place = prediction["input"]
            found[place["partition"]] = min(found.get(place["partition"], 2**62), place["offset"])
    return found


def offsets(ground: Ground) -> dict[int, int]:
    """Per partition, the committed offset."""
    return {partition: offset for partition, (offset, _) in ground.committed().items()}


def acknowledged(ground: Ground, sequence: int) -> dict[int, int]:
    """Per partition, the offset that the acknowledgement of a sequence names."""
    (found,) = [ack for ack in ground.acknowledgements() if ack["sequence"] == sequence]
    positions: list[dict[str, int]] = found["positions"]  # type: ignore[assignment]
    return {position["partition"]: position["offset"] for position in positions}


def test_without_a_model_it_waits_and_says_so_and_then_goes_live(ground: Ground) -> None:
    worker = ground.start()
    ground.feed(100)
    ground.wait_for_state("waiting")
    assert ground.outcomes() == []

    ground.promote(1)
    ground.wait_for_state("live", sequence=1)
    ground.wait_until_done()
    assert examine(ground, score_of).faultless
    assert ground.stop(worker) == 0


def test_the_acknowledgement_names_exactly_the_first_offsets_of_each_sequence(ground: Ground) -> None:
    ground.promote(1)
    ground.start()
    ground.wait_for_state("live", sequence=1)
    for version in (2, 3):
        ground.register(version)
        ground.feed(1_000)
        ground.notify(version, version)
        while ground.state().get("sequence") != version:
            ground.feed(200)
    ground.feed(400)
    ground.wait_until_done()

    assert examine(ground, score_of).faultless
    for sequence in (1, 2, 3):
        assert acknowledged(ground, sequence) == first_offsets(ground, sequence)
    ids = {position["topic_id"] for ack in ground.acknowledgements() for position in ack["positions"]}  # type: ignore[attr-defined]
    assert ids == {ground.topic_id(ground.topics.input)}


def test_a_worker_that_missed_notices_goes_straight_to_the_newest(ground: Ground) -> None:
    for version in (1, 2, 3):
        ground.promote(version)
    ground.feed(200)
    ground.start()
    ground.wait_for_state("live", sequence=3)
    ground.wait_until_done()
    assert {prediction["sequence"] for prediction in ground.predictions()} == {3}
    assert [ack["sequence"] for ack in ground.acknowledgements()] == [3]


def test_sigterm_commits_what_is_in_flight_and_says_goodbye(ground: Ground) -> None:
    ground.promote(1)
    worker = ground.start()
    ground.wait_for_state("live")
    ground.feed_until_progress(20_000)
    assert ground.stop(worker) == 0

    wait_until_settled(ground.bootstrap, ground.topics.predictions)
    scored = [(p["input"]["partition"], p["input"]["offset"]) for p in ground.predictions()]
    assert len(scored) == len(set(scored)) > 0
    following = {p: max(offset for q, offset in scored if q == p) + 1 for p in {q for q, _ in scored}}
    # The group's offsets have markers of their own.
    wait_until(lambda: offsets(ground) == following, 60, f"the offsets are not {following}")
    assert ground.heartbeats()[-1]["left"] is True

    ground.start()
    ground.wait_until_done()
    assert examine(ground, score_of).faultless


def test_a_restart_with_the_registry_gone_scores_from_the_cache(ground: Ground) -> None:
    ground.promote(1)
    worker = ground.start()
    ground.feed(200)
    ground.wait_for_state("live")
    assert ground.stop(worker) == 0

    registry_away(ground.folder)
    ground.start()
    ground.feed(200)
    ground.wait_until_done()
    assert examine(ground, score_of).faultless


def test_a_damaged_cache_is_not_served_and_mended_when_the_registry_is_back(ground: Ground) -> None:
    ground.promote(1)
    worker = ground.start()
    ground.feed(200)
    ground.wait_until_done()
    assert ground.stop(worker) == 0

    away = registry_away(ground.folder)
    (ground.folder / "cache" / "bundles" / ground.digests[1] / "model.onnx").write_bytes(b"damaged")
    ground.start()
    ground.feed(200)
    ground.wait_for_state("fetching")
    assert len(ground.outcomes()) == 200

    away.rename(ground.folder / "registry")
    ground.wait_until_done()
    assert examine(ground, score_of).faultless


def test_a_retired_model_is_let_go_of_and_a_later_promotion_loses_nothing(ground: Ground) -> None:
    ground.promote(1)
    worker = ground.start()
    ground.feed(400)
    ground.wait_until_done()
    ground.notify(2, 1, kind=Kind.RETIRE)
    ground.wait_for_state("retired")
    ground.feed(400)

    assert ground.stop(worker) == 0
    worker = ground.start()  # still retired after a restart
    ground.wait_for_state("retired")
    assert len(ground.outcomes()) == 400

    ground.register(3)
    ground.notify(3, 3)
    ground.wait_for_state("live", sequence=3)
    ground.wait_until_done()
    report = examine(ground, score_of)
    assert report.faultless, report
    assert report.versions == {1: 400, 3: 400}
    wait_until(
        lambda: {progress.sequence for _, progress in ground.committed().values()} == {3}, 60, "the progress is not 3"
    )


def test_a_second_process_in_the_slot_on_another_host_fences_the_first_and_nothing_is_doubled(ground: Ground) -> None:
    ground.promote(1)
    first = ground.start()
    ground.wait_for_state("live")
    ground.feed_until_progress(4_000)
    ground.variables["BATON_CACHE_DIR"] = str(ground.folder / "another-host")
    second = ground.start()
    ground.feed(4_000)

    assert ground.wait_for_exit(first, 60) == 70
    assert "worker.must_exit" in ground.log_of(0)
    ground.wait_until_done()
    report = examine(ground, score_of)
    assert report.faultless, report
    assert ground.stop(second) == 0


def test_an_idle_worker_that_was_fenced_ends_as_well(ground: Ground) -> None:
    ground.promote(1)
    first = ground.start()
    ground.wait_for_state("live")
    ground.variables["BATON_CACHE_DIR"] = str(ground.folder / "another-host")
    ground.start()
    assert ground.wait_for_exit(first, 60) == 70


def test_a_restarted_worker_does_not_score_its_backlog_with_what_was_rolled_back_meanwhile(ground: Ground) -> None:
    ground.promote(1)
    worker = ground.start()
    ground.wait_for_state("live", sequence=1)
    ground.promote(2)
    ground.wait_for_state("live", sequence=2)
    assert ground.stop(worker) == 0
    ground.notify(3, 1, kind=Kind.ROLLBACK)
    ground.feed(400)
    ground.start()
    ground.wait_until_done()
    assert {prediction["sequence"] for prediction in ground.predictions()} == {3}


def test_sigint_is_a_stop_too(ground: Ground) -> None:
    worker = ground.start()
    ground.wait_for_state("waiting")
    worker.send_signal(signal.SIGINT)
    assert ground.wait_for_exit(worker, 60) == 0


def test_the_log_names_events_and_identities_and_never_a_records_content(ground: Ground) -> None:
    secret = "4111-1111-1111-1111"
    ground.promote(1)
    worker = ground.start()
    ground.feed_raw(json.dumps({"id": secret, "at": "yesterday", "x": secret}).encode(), key=secret.encode())
    ground.feed_raw(secret.encode(), headers=[(secret, secret.encode())])
    ground.feed(10)
    ground.wait_until_done()
    assert ground.stop(worker) == 0
    assert secret not in ground.log_of(0)
    assert {event["worker"] for event in ground.events()} == {f"{ground.deployment}/0"}
    assert all(event["event"] and event["timestamp"] for event in ground.events())


def test_two_models_of_different_shape_live_in_one_worker_and_are_swapped_alone(ground: Ground) -> None:
    from scoring.contract.features import FeatureSchema, Field, FieldType, Log, Number
    from scoring.contract.manifest import Topics

    other = f"other_{ground.model}"
    schema = FeatureSchema(
        key="id",
        event_time="at",
        fields=(
            Field(name="id", type=FieldType.STRING, required=True),
            Field(name="at", type=FieldType.TIME, required=True),
            Field(name="x", type=FieldType.NUMBER, required=True),
            Field(name="color", type=FieldType.STRING),
        ),
        features=(Number(name="x", of="x"), Log(name="log_x", of="x")),
    )
    topics = Topics.of(other)
    ground.create_model_topics(topics)
    ground.variables["BATON_MODELS"] = f"{ground.model},{other}"
    ground.promote(1)
    ground.say(other, 1, ground.register_as(1, schema, model=other), version="1")
    ground.start()
    ground.wait_for_state("live", sequence=1)

    for number in range(400):
        ground.send(
            topics.input, json.dumps({"id": f"r-{number}", "at": "2026-03-01T00:00:00Z", "x": 1}).encode(), b"k", None
        )
    ground.feed(400)
    ground.promote(2)
    ground.wait_for_state("live", sequence=2)
    ground.feed(400)
    ground.wait_until_done()
    wait_until(lambda: len(ground.predictions(topics.predictions)) == 400, 60, "the other model did not finish")

    assert examine(ground, score_of).faultless
    assert {p["sequence"] for p in ground.predictions(topics.predictions)} == {1}
    assert {p["score"] for p in ground.predictions(topics.predictions)} == {1.75}
    assert {p["sequence"] for p in ground.predictions()} == {1, 2}


def test_partitions_that_a_death_within_a_rebalance_left_to_nobody_are_scored_soon(ground: Ground) -> None:
    ground.variables["BATON_SESSION_TIMEOUT_MS"] = "45000"  # as usual: the one that died is not missed
    ground.promote(1)
    first = ground.start(plan={"point": "revoke.before", "count": 1})
    ground.wait_for_state("live", sequence=1)
    ground.feed(40)
    ground.wait_until_done()
    ground.start(1)
    assert ground.wait_for_exit(first, 60) == -signal.SIGKILL
    ground.start()
    ground.feed(400)
    ground.wait_until_done(90)
    assert any("partitions.orphaned" in ground.log_of(slot) for slot in (0, 1))
    assert examine(ground, score_of).faultless
