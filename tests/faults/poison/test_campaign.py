"""The poison campaign in short, on a real broker; and that it notices a worker that treats records badly."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message

from scoring.contract.dead_letter import Reason
from scoring.scorer.decode import Decoded, Decoder, Failure
from scoring.scorer.shape import Shapes
from scoring.worker import scoring_step
from scoring.worker.emit import Emitter, Output
from scoring.worker.models import Active
from tests.faults.poison import kinds  # noqa: F401  registers them
from tests.faults.poison.campaign import read
from tests.faults.poison.in_process import bench, play
from tests.faults.poison.records import KINDS, Sent, records

PROJECT = Path(__file__).parents[3]
SHORT = 30 * len(KINDS)
SEED = 7


@pytest.fixture(scope="module")
def active(tmp_path_factory: pytest.TempPathFactory) -> Active:
    return bench(tmp_path_factory.mktemp("poison") / "bundle")


@pytest.fixture(scope="module")
def sent() -> list[Sent]:
    return list(records(SEED, 0, SHORT, 0.5))


def test_there_are_enough_kinds_and_of_each_enough_that_differ() -> None:
    assert len(KINDS) >= 40
    assert {reason for _, reason in KINDS.values()} >= {*Reason} - {
        Reason.UNSCORABLE,
        Reason.LOOKUP_MISS,
        Reason.LOOKUP_OUTAGE,
    }


@pytest.mark.parametrize("batch_records", [1, 7, 256, 4_000])
def test_every_record_has_the_outcome_that_it_must_have_in_batches_of_any_size(
    batch_records: int, active: Active, sent: list[Sent]
) -> None:
    judged = play(active, sent[:: 8 if batch_records == 1 else 1], batch_records)
    assert judged.faults == []
    assert judged.hostile >= SHORT // 9
    assert min(distinct for _, distinct in judged.kinds.values()) > 0


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_a_worker_on_a_real_broker_scores_the_good_and_refuses_the_hostile(tmp_path: Path) -> None:
    results = tmp_path / "poison.jsonl"
    command = [sys.executable, "-m", "tests.faults.poison.campaign", "--seed", str(SEED), "--results", str(results)]
    done = subprocess.run(
        [*command, "--records", str(SHORT)], check=False, capture_output=True, text=True, cwd=PROJECT, timeout=540
    )
    assert done.returncode == 0, done.stdout + done.stderr
    breaker, chunk = read(results, SEED)
    assert breaker["taken_before_it_opened"] < breaker["hostile"]
    assert (chunk["hostile"], chunk["faults"]) == (SHORT, [])
    assert chunk["records"] > 1.8 * SHORT
    assert {count for count, _ in chunk["kinds"].values()} == {SHORT // len(KINDS)}


# --- what a worse worker would do ---------------------------------------------------------------------------------

Plant = Callable[[pytest.MonkeyPatch], None]


def _condemn_the_batch(patch: pytest.MonkeyPatch) -> None:
    """One bad record takes its neighbours with it."""
    decode = Decoder.decode

    def all_or_nothing(self: Decoder, values: Sequence[bytes | None]) -> Decoded:
        found = decode(self, values)
        if not found.failures:
            return found
        first = found.failures[0]
        return Decoded(decode(self, []).columns, [], [Failure(i, first.reason, "") for i in range(len(values))])

    patch.setattr(Decoder, "decode", all_or_nothing)


def _skip_what_is_bad(patch: pytest.MonkeyPatch) -> None:
    """A record that cannot be read is logged and left out."""
    outputs = scoring_step.outputs_of

    def kept(active: Active, *rest: Any) -> list[Output]:
        return [output for output in outputs(active, *rest) if output.topic != active.topics.dead_letters]

    patch.setattr("tests.faults.poison.in_process.outputs_of", kept)


def _skip_one_kind(patch: pytest.MonkeyPatch) -> None:
    """A tombstone has no outcome."""
    outputs = scoring_step.outputs_of

    def kept(active: Active, messages: Sequence[Message], *rest: Any) -> list[Output]:
        found = outputs(active, messages, *rest)
        return [o for o, message in zip(found, messages, strict=True) if message.value() is not None]

    patch.setattr("tests.faults.poison.in_process.outputs_of", kept)


def _last_first(patch: pytest.MonkeyPatch) -> None:
    """Dead letters are written before the predictions, and out of order."""
    outputs = scoring_step.outputs_of
    patch.setattr("tests.faults.poison.in_process.outputs_of", lambda *all_: outputs(*all_)[::-1])


def _twice(patch: pytest.MonkeyPatch) -> None:
    """A dead letter is written twice."""
    outputs = scoring_step.outputs_of

    def more(active: Active, *rest: Any) -> list[Output]:
        found = outputs(active, *rest)
        return [*found, *(output for output in found[-1:] if output.topic == active.topics.dead_letters)]

    patch.setattr("tests.faults.poison.in_process.outputs_of", more)


def _changed(change: Callable[[Output], dict[str, Any]]) -> Plant:
    def plant(patch: pytest.MonkeyPatch) -> None:
        letter = Emitter.dead_letter

        def altered(self: Emitter, *rest: Any) -> Output:
            made = letter(self, *rest)
            as_made = {name: getattr(made, name) for name in made.__struct_fields__}
            return Output(**{**as_made, **change(made)})

        patch.setattr(Emitter, "dead_letter", altered)

    return plant


def _blind_to_keys(patch: pytest.MonkeyPatch) -> None:
    """Of two keys the last counts."""
    patch.setattr(Shapes, "_odd_keys", lambda *_: {})


def _blind_to_depth(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Shapes, "_too_deep", lambda *_: {})


def _no_screening(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks at key, headers and timestamp."""
    patch.setattr(scoring_step, "screened", lambda decoded, *_: decoded)


def _columns_shifted(patch: pytest.MonkeyPatch) -> None:
    """After a bad record the values of its neighbours move up by one."""
    decode = Decoder.decode

    def shifted(self: Decoder, values: Sequence[bytes | None]) -> Decoded:
        found = decode(self, values)
        if found.failures and len(found.rows) > 1:
            found.columns["x"] = [*found.columns["x"][1:], found.columns["x"][0]]
        return found

    patch.setattr(Decoder, "decode", shifted)


PLANTS: dict[str, Plant] = {
    "condemn the batch": _condemn_the_batch,
    "skip what is bad": _skip_what_is_bad,
    "skip tombstones": _skip_one_kind,
    "out of order": _last_first,
    "a dead letter twice": _twice,
    "a null value becomes empty": _changed(lambda made: {"value": made.value or b""}),
    "a null key becomes empty": _changed(lambda made: {"key": made.key or b""}),
    "the value is cleaned": _changed(lambda made: {"value": made.value and made.value.strip()}),
    "headers are lost": _changed(lambda made: {"headers": [h for h in made.headers or () if h[0].startswith("baton")]}),
    "another reason": _changed(
        lambda made: {"headers": [(n, b"unscorable" if n.endswith("-reason") else v) for n, v in made.headers or ()]}
    ),
    "blind to keys twice": _blind_to_keys,
    "blind to depth": _blind_to_depth,
    "nobody looks around the value": _no_screening,
    "columns are shifted": _columns_shifted,
}


def noticed(active: Active, sent: Sequence[Sent]) -> bool:
    """Whether the judge finds fault, or sees no progress to judge."""
    try:
        return play(active, sent, 64).faults != []
    except AssertionError as error:
        return "at all" in str(error)


def test_the_campaign_finds_no_fault_where_nothing_is_planted(active: Active, sent: list[Sent]) -> None:
    assert not noticed(active, sent)


@pytest.mark.parametrize("plant", PLANTS)
def test_the_campaign_notices(plant: str, active: Active, sent: list[Sent], monkeypatch: pytest.MonkeyPatch) -> None:
    PLANTS[plant](monkeypatch)
    assert noticed(active, sent)
