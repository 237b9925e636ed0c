"""A Kafka that asks for TLS and a password: the pipeline's clients and Airflow's own provider reach it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from confluent_kafka.admin import AclOperation, ResourcePatternType, ResourceType

from local.environment import process_environment
from scoring.contract.topics import ACKNOWLEDGEMENTS, NOTICES, WORKERS
from scoring.promotion.ledger import Ledger
from scoring.promotion.notices import KafkaNotices
from scoring.settings import Settings
from tests.support.airflow_home import PROJECT
from tests.support.arena import Arena, wait_until_settled
from tests.support.broker import KAFKA_JARS
from tests.support.decisions import proposal
from tests.support.secure_broker import PASSWORD, USER, Grant, SecureBroker, secure_broker
from training.watch import Watch, Watcher, open_follower, utc_now

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

READ, WRITE, DESCRIBE = AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE
LITERAL, PREFIXED = ResourcePatternType.LITERAL, ResourcePatternType.PREFIXED
SECRET = {"sasl.username": USER, "sasl.password": PASSWORD}
# What docs/how-to/install-into-an-existing-airflow.md says that the pipeline needs.
PIPELINE: list[Grant] = [
    (ResourceType.TOPIC, NOTICES, LITERAL, (READ, WRITE, DESCRIBE)),
    (ResourceType.TOPIC, WORKERS, LITERAL, (READ, DESCRIBE)),
    (ResourceType.TOPIC, ACKNOWLEDGEMENTS, LITERAL, (READ, DESCRIBE)),
    (ResourceType.GROUP, "baton-reader-", PREFIXED, (READ,)),
    (ResourceType.TRANSACTIONAL_ID, "baton-publisher-", PREFIXED, (WRITE, DESCRIBE)),
]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    with secure_broker(tmp_path_factory.mktemp("secure"), KAFKA_JARS) as running:
        yield running


def test_the_pipeline_announces_and_watches_with_the_permissions_of_the_docs(
    secured: SecureBroker, tmp_path: Path
) -> None:
    secured.allow(*PIPELINE)
    arena = Arena(secured.plain, tmp_path)
    (tmp_path / "secrets.json").write_text(json.dumps(SECRET))
    settings = Settings(
        kafka_bootstrap=secured.secure,
        kafka_options=secured.options(),
        kafka_options_file=tmp_path / "secrets.json",
        signing_keys_file=tmp_path / "keys.json",
        ledger_url=f"sqlite:///{tmp_path / 'ledger.db'}",
    )
    ledger = Ledger.open(settings.need_ledger_url())
    entry = ledger.decide(proposal(model=arena.model, digest=arena.register(1)))
    board = KafkaNotices(settings.need_kafka(), settings.need_keyring(), ledger)
    assert board.publish_head(arena.model) == entry
    wait_until_settled(secured.plain, NOTICES)
    seen = board.newest()[arena.model].notice
    assert seen is not None
    assert seen.sequence == 1
    now = utc_now()
    watch = Watch(
        model=arena.model,
        sequence=1,
        input_topic=arena.topics.input,
        began_at=now,
        deadline=now + timedelta(seconds=5),
    )
    secured.allow((ResourceType.TOPIC, arena.topics.input, LITERAL, (DESCRIBE,)))
    waited = Watcher(watch, opening=lambda asked, at: open_follower(asked, settings, at)).look(30)
    assert waited is not None
    assert waited.state == "unserved"  # nobody serves the model here


def test_airflows_own_provider_takes_the_same_options_from_its_connection(secured: SecureBroker) -> None:
    secured.allow((ResourceType.TOPIC, "*", LITERAL, (DESCRIBE,)))
    extra = {**secured.options(), **SECRET, "bootstrap.servers": secured.secure, "group.id": "airflow"}
    connection = {"conn_type": "kafka", "extra": extra}
    program = (
        "from airflow.providers.apache.kafka.hooks.client import KafkaAdminClientHook\n"
        "hook = KafkaAdminClientHook(kafka_config_id='kafka_default')\n"
        "print(len(hook.get_conn.list_topics(timeout=20).brokers))\n"
    )
    environment = process_environment(os.environ, {"AIRFLOW_HOME": os.environ["AIRFLOW_HOME"]})
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, "AIRFLOW_CONN_KAFKA_DEFAULT": json.dumps(connection)},
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert done.stdout.strip().splitlines()[-1] == "1"
