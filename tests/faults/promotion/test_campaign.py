"""The campaigns' short forms, and that their checks see what they must see."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Producer

from local.kafka.broker import Broker
from scoring.contract.envelope import Keyring
from scoring.contract.errors import Unavailable
from scoring.promotion.entry import LedgerEntry
from scoring.promotion.ledger import Ledger
from scoring.promotion.notices import KafkaNotices
from scoring.promotion.publisher import sealed_notice
from scoring.promotion.repair import repair
from scoring.registry.folder import FolderRegistry
from tests.faults.promotion.campaign import Results, Setting, run_campaign
from tests.faults.promotion.summary import summary
from tests.support.arena import wait_until_settled
from tests.support.broker import MakeTopic
from tests.support.decisions import KEYRING, proposal
from tests.support.promotion_campaign import agreement, candidate, history

pytestmark = [
    pytest.mark.integration,
    # MLflow's own, in its SQLite store.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]


def carry_out(folder: Path, setting: Setting, rounds: int, *, lanes: int = 2, minutes: float = 8.0) -> list[str]:
    """Run rounds, see that all of them were, and return what failed."""
    results = Results(folder / "results.jsonl", setting)
    failures = run_campaign(setting, rounds=rounds, results=results, lanes=lanes, minutes=minutes)
    assert failures or results.done() == set(range(rounds)), "the time was up before every round was run"
    return failures


@pytest.mark.timeout(580)
def test_some_kills_leave_ledger_alias_topic_and_workers_in_agreement(tmp_path: Path) -> None:
    assert carry_out(tmp_path, Setting(seed=11), 8) == []
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert sum(line.get("killed", False) for line in lines) >= 7
    assert lines[-1]["entries"] == 8 + 2, "each model has a first promotion, then one a round"
    assert "| all | 8 |" in summary(lines)


@pytest.mark.timeout(580)
def test_in_some_contests_one_wins_each_sequence_and_the_losers_are_told(tmp_path: Path) -> None:
    assert carry_out(tmp_path, Setting(campaign="contests", seed=12, database="postgresql"), 4, lanes=1) == []


@pytest.mark.faults
@pytest.mark.timeout(580)
@pytest.mark.parametrize(
    ("setting", "rounds"),
    [
        (Setting(database="sqlite", seed=21), 60),
        (Setting(database="postgresql", seed=22), 60),
        (Setting(database="postgresql", registry="mlflow", seed=23), 12),
        (Setting(workers="real", seed=24), 8),
        (Setting(campaign="contests", database="sqlite", seed=25), 15),
        (Setting(campaign="contests", database="postgresql", seed=26), 15),
    ],
    ids=["sqlite", "postgresql", "mlflow", "real workers", "contests on sqlite", "contests on postgresql"],
)
def test_a_campaign_of_middle_length(tmp_path: Path, setting: Setting, rounds: int) -> None:
    lanes = 1 if setting.campaign == "contests" else 3
    assert carry_out(tmp_path, setting, rounds, lanes=lanes, minutes=8.0) == []


def test_a_campaign_goes_on_where_it_was_and_runs_a_failed_round_again(tmp_path: Path) -> None:
    setting = Setting(seed=3)
    results = Results(tmp_path / "results.jsonl", setting)
    results.append(round=0, agreed_s=1.0)
    results.append(round=1, failure="the broker was away")
    Results(tmp_path / "results.jsonl", Setting(seed=4)).append(round=2, agreed_s=1.0)
    assert results.done() == {0}


# --- what the checks see ------------------------------------------------------------------------------------------


class Ground:
    """A model whose one promotion is complete, and the hands to spoil it."""

    def __init__(self, folder: Path, broker: Broker, topic: str, model: str) -> None:
        self.model, self.topic, self.bootstrap = model, topic, broker.bootstrap
        self.ledger = Ledger.open(f"sqlite:///{folder / 'ledger.db'}")
        (folder / "registry").mkdir()
        self.registry = FolderRegistry(folder / "registry")
        self.board = KafkaNotices({"bootstrap.servers": broker.bootstrap}, KEYRING, self.ledger, topic=topic)
        self.digests = {
            number: candidate(folder / "registry" / model / str(number), model, number) for number in (1, 2)
        }
        self.decide(1)
        repair(model, self.ledger, self.registry, self.board)

    def decide(self, number: int) -> LedgerEntry:
        head = self.ledger.head(self.model)
        digest, parent = self.digests[number], head.sequence if head else 0
        return self.ledger.decide(proposal(str(number), model=self.model, digest=digest, parent=parent))

    def say(self, entry: LedgerEntry, keyring: Keyring = KEYRING) -> None:
        sealed = sealed_notice(entry, self.ledger, keyring)
        producer = Producer({"bootstrap.servers": self.bootstrap})
        producer.produce(self.topic, sealed.value, sealed.key, headers=list(sealed.headers))
        assert producer.flush(20) == 0
        producer.close()

    def agree(self, *live: int) -> float:
        return agreement(self.model, self.ledger, self.registry, self.board, lambda _: live, within_s=3.0)

    def history(self) -> int:
        wait_until_settled(self.bootstrap, self.topic)
        return history(self.bootstrap, self.ledger, KEYRING, [self.model], topic=self.topic)["committed"]


@pytest.fixture
def ground(tmp_path: Path, broker: Broker, make_topic: MakeTopic, unique_name: Callable[[str], str]) -> Ground:
    return Ground(tmp_path, broker, make_topic("notices"), unique_name("m"))


def test_agreement_is_seen_and_so_is_each_way_to_disagree(ground: Ground) -> None:
    assert ground.agree(1, 1) > 0
    with pytest.raises(AssertionError, match=r"workers on \[0, 1\]"):
        ground.agree(0, 1)
    ground.registry.remove_alias(ground.model, "champion")
    with pytest.raises(AssertionError, match="alias=None"):
        ground.agree(1)
    ground.decide(2)
    with pytest.raises(AssertionError, match="BEHIND"):
        ground.agree(2)


def test_a_whole_topic_that_follows_the_ledger_is_content(ground: Ground) -> None:
    ground.say(ground.decide(2))
    assert ground.history() == 2


@pytest.mark.parametrize("change", ["version", "sequence", "manifest_digest"])
def test_a_notice_that_names_something_that_is_not_in_the_ledger_is_seen(ground: Ground, change: str) -> None:
    entry = ground.decide(2)
    invented = {"version": "9", "sequence": 7, "manifest_digest": "f" * 64}
    ground.say(msgspec.structs.replace(entry, **{change: invented[change]}))
    ground.say(entry)
    with pytest.raises(AssertionError, match="is not in the ledger"):
        ground.history()


def test_a_notice_that_goes_back_is_seen_although_a_later_one_mends_it(ground: Ground) -> None:
    first = ground.ledger.entry(ground.model, 1)
    assert first is not None
    second = ground.decide(2)
    for entry in (second, first, second):
        ground.say(entry)
    with pytest.raises(AssertionError, match="goes back"):
        ground.history()


def test_an_unsigned_notice_is_seen(ground: Ground) -> None:
    ground.say(ground.decide(2), Keyring(active="k1", keys={"k1": b"x" * 32}))
    with pytest.raises(AssertionError, match="must not be believed"):
        ground.history()


def test_without_the_repair_after_a_kill_nothing_agrees(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug: a decision whose copies nobody compares."""
    entry = ground.decide(2)
    assert entry.decided_at <= datetime.now(UTC)
    with pytest.raises(AssertionError, match="no agreement"):
        ground.agree(2)

    def away(*_: object) -> None:
        raise Unavailable("the registry is away")

    monkeypatch.setattr(FolderRegistry, "set_alias", away)
    with pytest.raises(Unavailable):
        repair(ground.model, ground.ledger, ground.registry, ground.board)
    with pytest.raises(AssertionError, match="no agreement"):
        ground.agree(2)
    monkeypatch.undo()
    repair(ground.model, ground.ledger, ground.registry, ground.board)
    assert ground.agree(2) > 0
