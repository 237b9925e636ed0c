"""What a task hands on counts only with its seal."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from airflow.sdk.exceptions import AirflowFailException

from baton_airflow.seals import SEAL, Seals, plain
from baton_airflow.steps import APPROVE, GATES, REGISTER, RESULT, Steps
from scoring.contract.envelope import Keyring
from scoring.contract.verdict import Judgement, Verdict
from tests.support.training import START, definition
from training import pipeline, results
from training.definition import Approval

DIGEST = "a" * 64
KEYRING = Keyring("k1", {"k1": b"1" * 32, "k2": b"2" * 32})
SEALS = Seals(KEYRING, "fare", "r1")
GOOD = Verdict(gate="data", judgement=Judgement.PASS, sentence="fine", value=1.0)
BAD = Verdict(gate="not-worse", judgement=Judgement.FAIL, sentence="worse")
GATED = results.Gated(verdicts=(GOOD,), sentence="accepted", red=False, parent=0)
REFUSED = results.Gated(verdicts=(BAD,), sentence="refused", red=False, parent=0)
REGISTERED = results.Registered(version="3", manifest_digest=DIGEST, bundle=None, registry_run=None)
REJECTED = results.Answered(manifest_digest=DIGEST, approved=False, by="bob")
APPROVED = results.Answered(manifest_digest=DIGEST, approved=True, by="ada")


def forged(sealed: Mapping[str, Any], result: msgspec.Struct) -> Any:
    """Another result under the seal of the first, as somebody who edits XComs can make it."""
    return {**plain(result), SEAL: sealed[SEAL]}


def test_what_was_given_is_taken_whatever_a_database_makes_of_numbers_and_of_the_order_of_keys() -> None:
    given = SEALS.give(GATES, GATED)
    stored = dict(reversed(given.items()))
    stored["verdicts"] = [{**dict(reversed(stored["verdicts"][0].items())), "value": 1}]
    assert SEALS.take(results.Gated, GATES, stored) == GATED


@pytest.mark.parametrize(
    "seals",
    [
        Seals(KEYRING, "fare", "r2"),
        Seals(KEYRING, "tip", "r1"),
        Seals(Keyring("k2", {"k2": b"2" * 32}), "fare", "r1"),
        Seals(Keyring("k1", {"k1": b"3" * 32}), "fare", "r1"),
    ],
    ids=["another run", "another model", "a key that was taken away", "another key"],
)
def test_it_counts_in_its_own_run_alone_and_under_a_key_that_is_believed(seals: Seals) -> None:
    with pytest.raises(AirflowFailException, match="'gates' handed on is not believed"):
        seals.take(results.Gated, GATES, SEALS.give(GATES, GATED))


@pytest.mark.parametrize(
    "value",
    [
        forged(SEALS.give(GATES, REFUSED), GATED),
        plain(GATED),
        {**plain(GATED), SEAL: None},
        {**SEALS.give(GATES, GATED), "sentence": 7},
        SEALS.give(REGISTER, GATED),
        {},
        None,
        "gated",
    ],
)
def test_what_bears_no_seal_of_its_task_is_not_believed(value: Any) -> None:
    with pytest.raises(AirflowFailException, match="'gates' handed on is not believed"):
        SEALS.take(results.Gated, GATES, value)


def test_it_counts_only_beside_what_it_was_made_from() -> None:
    gated, other = SEALS.give(GATES, GATED), SEALS.give(GATES, REFUSED)
    registered = SEALS.give(REGISTER, REGISTERED, gated)
    assert SEALS.take_over(results.Registered, REGISTER, registered, gated) == REGISTERED
    for over in ((other,), (None,), (), (gated, gated)):
        with pytest.raises(AirflowFailException, match="made from something else"):
            SEALS.take_over(results.Registered, REGISTER, registered, *over)


def test_a_key_that_is_rotated_in_seals_and_the_one_before_it_still_counts() -> None:
    rotated = Seals(Keyring("k2", KEYRING.keys), "fare", "r1")
    assert rotated.take(results.Gated, GATES, SEALS.give(GATES, GATED)) == GATED
    assert SEALS.take(results.Gated, GATES, rotated.give(GATES, GATED)) == GATED


class Run:
    """A run of a definition that asks a person; ``handed_on`` holds what its tasks handed on, by task."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        keys = folder / "keys.json"
        keys.write_text('{"active": "k1", "keys": {"k1": "MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE="}}')
        monkeypatch.setenv("BATON_SIGNING_KEYS_FILE", str(keys))
        self.handed_on: dict[str, Any] = {}
        self.steps = Steps(definition(approval=Approval()), lambda: {"ti": self, "dag_run": run, "params": {}})
        run = SimpleNamespace(
            run_type="manual",
            run_id="r1",
            run_after=START,
            data_interval_end=START,
            triggering_user_name="ada",
            conf={},
        )

    def xcom_pull(self, task_ids: str, key: str, map_indexes: int) -> Any:
        assert (key, map_indexes) == (RESULT, -1)
        return self.handed_on.get(task_ids)

    def xcom_push(self, key: str, value: Any) -> None:
        self.handed_on[key] = value


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(tmp_path, monkeypatch)


def test_nobody_passes_the_gates_by_editing_what_they_handed_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "register", lambda *_: pytest.fail("was registered"))
    monkeypatch.setattr(pipeline, "promote", lambda *_: pytest.fail("was promoted"))
    refused = SEALS.give(GATES, REFUSED, None, None)
    edited = forged(refused, GATED)
    common: dict[str, Any] = {"rows": 1, "labels_missing": 0, "labels_not_yet_known": 0}
    kept = results.SnapshotRef(path="/kept", sha256=DIGEST, start=START, end=START, reused=False, **common)
    snapshot = SEALS.give("snapshot", kept)
    validated = SEALS.give("validate", results.Validated(verdict=GOOD, expectations=1), snapshot)
    with pytest.raises(AirflowFailException, match="'gates' handed on is not believed"):
        run.steps.register(snapshot, validated, None, None, edited)
    with pytest.raises(AirflowFailException, match="'gates' handed on is not believed"):
        run.steps.promote(edited, SEALS.give(REGISTER, REGISTERED, refused))


def test_nobody_approves_by_editing_an_answer_or_by_writing_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "promote", lambda *_: pytest.fail("was promoted"))
    gated = SEALS.give(GATES, GATED)
    registered = SEALS.give(REGISTER, REGISTERED, gated)
    rejected = SEALS.give(APPROVE, REJECTED, registered)
    for answer in (forged(rejected, APPROVED), plain(APPROVED)):
        run.handed_on[APPROVE] = answer
        with pytest.raises(AirflowFailException, match="'approve' handed on is not believed"):
            run.steps.promote(gated, registered)


def test_an_answer_that_was_given_reaches_the_promotion(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    done = results.Promoted(model="fare", sequence=1, version="3", manifest_digest=DIGEST)

    def promote(*arguments: Any) -> results.Promoted:
        given.append(arguments[-1])
        return done

    monkeypatch.setattr(pipeline, "promote", promote)
    gated = SEALS.give(GATES, GATED)
    registered = SEALS.give(REGISTER, REGISTERED, gated)
    user = {"id": "ada", "name": "ada"}
    event = {"responded_by_user": user, "params_input": {"reason": "fine"}}
    run.steps.answer(registered, event, shown=DIGEST, approved=True)
    run.handed_on[APPROVE] = run.handed_on[RESULT]
    assert run.steps.promote(gated, registered) == "announce"
    assert [(each.approved, each.by, each.reason) for each in given] == [(True, "ada", "fine")]
