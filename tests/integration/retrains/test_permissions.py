"""What Airflow's side asks of a broker with access control: what the docs say, and nothing else."""

import asyncio
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka.admin import AclOperation, ResourcePatternType, ResourceType

from baton_airflow import notify
from baton_airflow.page.letters import newest_letters
from scoring.contract.alert import Alert, AlertKind
from scoring.contract.manifest import Topics
from scoring.contract.topics import ACKNOWLEDGEMENTS, ALERTS, NOTICES, REPLAYS, RETRAINS, RETRAINS_REFUSED, WORKERS
from scoring.kafka import Tail, admin_client, require_topics
from scoring.promotion.ledger import Ledger
from scoring.promotion.notices import KafkaNotices
from scoring.settings import Settings, read_settings
from scoring.topics import all_shared_topics, ensure_topics
from tests.integration.retrains.test_listening import Triggerer, committed, reached
from tests.support.airflow_home import PROJECT
from tests.support.arena import KEY, wait_until_settled
from tests.support.broker import KAFKA_JARS
from tests.support.decisions import proposal
from tests.support.retrains import Inbox
from tests.support.secure_broker import PASSWORD, USER, Grant, SecureBroker, secure_broker
from training.requests import Requests
from training.wake import Covered

pytestmark = pytest.mark.timeout(400)

PAGE = PROJECT / "docs" / "how-to" / "install-into-an-existing-airflow.md"
MODEL = "fare"
KINDS = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional": ResourceType.TRANSACTIONAL_ID,
}
NOW = datetime(2026, 4, 1, tzinfo=UTC)


def documented() -> list[Grant]:
    """The rows of the table, for one model."""
    _, _, table = PAGE.read_text().partition("| resource | operations |\n|---|---|\n")
    rows = [line.strip("| ").split(" | ") for line in table.partition("\n\n")[0].splitlines()]
    return [grant for resource, operations in rows for grant in _grants(resource, operations)]


def _grants(resource: str, operations: str) -> Iterator[Grant]:
    kind = next(found for word, found in KINDS.items() if word in resource)
    pattern = ResourcePatternType.PREFIXED if "begin with" in resource else ResourcePatternType.LITERAL
    allowed = tuple(AclOperation[word.upper()] for word in operations.split(", "))
    for name in re.findall(r"`([^`]+)`", resource):
        yield kind, name.replace("<model>", MODEL), pattern, allowed


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    """A broker that allows what the docs say. The test itself uses the plain listener."""
    with secure_broker(tmp_path_factory.mktemp("secure"), KAFKA_JARS) as running:
        ensure_topics({"bootstrap.servers": running.plain}, [Topics.of(MODEL)], partitions=1)
        running.allow(*documented())
        yield running


@pytest.fixture
def settings(secured: SecureBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    keys, secrets = tmp_path / "keys.json", tmp_path / "secrets.json"
    keys.write_text(json.dumps({"active": "k1", "keys": {"k1": KEY}}))
    secrets.write_text(json.dumps({"sasl.username": USER, "sasl.password": PASSWORD}))
    monkeypatch.setenv("BATON_KAFKA_BOOTSTRAP", secured.secure)
    monkeypatch.setenv("BATON_KAFKA_OPTIONS", json.dumps(secured.options()))
    monkeypatch.setenv("BATON_KAFKA_OPTIONS_FILE", str(secrets))
    monkeypatch.setenv("BATON_SIGNING_KEYS_FILE", str(keys))
    return read_settings()


@pytest.fixture
def inbox(secured: SecureBroker, settings: Settings) -> Inbox:
    """Requests of somebody else, who may send them."""
    assert settings.signing_keys_file is not None
    return Inbox({"bootstrap.servers": secured.plain}, settings.signing_keys_file, MODEL)


def test_every_shared_topic_stands_in_the_table() -> None:
    told = {name for kind, name, _, _ in documented() if kind is ResourceType.TOPIC}
    own = Topics.of(MODEL)
    replays_alone = {REPLAYS}  # of `baton dead-letters replay`, which is a person's command and no task of Airflow's
    assert told == {spec.name for spec in all_shared_topics()} - replays_alone | {own.input, own.dead_letters}
    assert told >= {NOTICES, WORKERS, ACKNOWLEDGEMENTS, RETRAINS, RETRAINS_REFUSED, ALERTS}


def test_the_listener_hears_requests_and_puts_the_bad_ones_aside(settings: Settings, inbox: Inbox) -> None:
    async def play() -> None:
        triggerer = Triggerer(inbox)
        async with triggerer.running():
            await asyncio.to_thread(inbox.ask_badly, 5)
            await asyncio.to_thread(inbox.ask, 1)
            await reached(lambda: triggerer.rung >= 1)
            await reached(lambda: committed(inbox) == inbox.pending().end)

    asyncio.run(play())
    assert len(inbox.put_aside()) == 5


def test_what_waits_is_counted_and_marked(settings: Settings, inbox: Inbox) -> None:
    inbox.ask(2)
    with Requests(settings.need_kafka(), settings.need_keyring(), MODEL) as requests:
        found = requests.pending()
        assert len(found.asked) >= 2
        requests.cover(found.end, Covered(run_id="r", at=NOW, until=NOW))
    assert inbox.pending().asked == ()


def test_a_promotion_is_announced_and_the_workers_are_watched(
    settings: Settings, secured: SecureBroker, tmp_path: Path
) -> None:
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    entry = ledger.decide(proposal("1", model=MODEL, parent=0))
    board = KafkaNotices(settings.need_kafka(), settings.need_keyring(), ledger)
    assert board.publish_head(MODEL) == entry
    wait_until_settled(secured.plain, NOTICES)
    assert MODEL in board.newest()
    with Tail(settings.need_kafka(), {WORKERS: None, ACKNOWLEDGEMENTS: None}) as tail:
        assert list(tail.to_end()) == []
    require_topics(settings.need_kafka(), [Topics.of(MODEL).input])


def test_an_alert_is_sent_and_the_page_reads_dead_letters(settings: Settings, secured: SecureBroker) -> None:
    alert = Alert(kind=AlertKind.RUN_FAILED, model=MODEL, dag_id="train_fare", run_id="r", sentence="why", at=NOW)
    notify._send(alert)
    with Tail({"bootstrap.servers": secured.plain}, {ALERTS: None}) as tail:
        assert len(list(tail.to_end())) == 1
    assert newest_letters(settings.need_kafka(), Topics.of(MODEL).dead_letters, 5, 30.0) == (0, [])


def test_nothing_else_is_allowed(settings: Settings) -> None:
    found = admin_client(settings.need_kafka()).list_topics(timeout=20).topics
    assert set(found) == {name for kind, name, _, _ in documented() if kind is ResourceType.TOPIC}
