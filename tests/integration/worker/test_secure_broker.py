"""A broker that asks for TLS, a password and permissions: every client of Baton has what it takes, and not more."""

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from confluent_kafka.admin import AclOperation, ResourcePatternType, ResourceType

from scoring.cli import group
from scoring.contract.topics import ACKNOWLEDGEMENTS, NOTICES, WORKERS
from tests.support.broker import KAFKA_JARS
from tests.support.bundles import score_of, small_record
from tests.support.ground import Ground
from tests.support.oracle import examine
from tests.support.secure_broker import PASSWORD, USER, Grant, SecureBroker, secure_broker

pytestmark = [pytest.mark.integration, pytest.mark.timeout(360)]

READ, WRITE, DESCRIBE = AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE
LOOK = (DESCRIBE, AclOperation.DESCRIBE_CONFIGS)
LITERAL, PREFIXED = ResourcePatternType.LITERAL, ResourcePatternType.PREFIXED


def worker_grants(ground: Ground) -> list[Grant]:
    """What docs/how-to/run-a-worker.md says that a worker needs."""
    topics = ground.topics
    return [
        *((ResourceType.TOPIC, name, LITERAL, (READ, *LOOK)) for name in (topics.input, NOTICES)),
        *(
            (ResourceType.TOPIC, name, LITERAL, (WRITE, *LOOK))
            for name in (topics.predictions, topics.dead_letters, ACKNOWLEDGEMENTS, WORKERS)
        ),
        (ResourceType.GROUP, f"baton-{ground.deployment}", LITERAL, (READ,)),
        (ResourceType.GROUP, f"baton-notices-{ground.deployment}/", PREFIXED, (READ,)),
        (ResourceType.TRANSACTIONAL_ID, f"baton-{ground.deployment}-", PREFIXED, (WRITE, DESCRIBE)),
    ]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    with secure_broker(tmp_path_factory.mktemp("secure"), KAFKA_JARS) as running:
        yield running


@pytest.fixture
def ground(secured: SecureBroker, tmp_path: Path) -> Iterator[Ground]:
    """The test itself uses the plain listener; what it starts uses the secure one."""
    made = Ground(secured.plain, tmp_path)
    (tmp_path / "secrets.json").write_text(json.dumps({"sasl.username": USER, "sasl.password": PASSWORD}))
    made.variables |= {
        "BATON_KAFKA_BOOTSTRAP": secured.secure,
        "BATON_KAFKA_OPTIONS": json.dumps(secured.options()),
        "BATON_KAFKA_OPTIONS_FILE": str(tmp_path / "secrets.json"),
    }
    yield made
    made.close()


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_a_worker_needs_no_more_than_the_permissions_of_the_docs(
    ground: Ground, secured: SecureBroker, delivery: str
) -> None:
    secured.allow(*worker_grants(ground))
    ground.variables["BATON_DELIVERY"] = delivery
    ground.promote(1)
    worker = ground.start()
    ground.wait_for_state("live", sequence=1)
    ground.feed(400)
    ground.promote(2)
    ground.wait_for_state("live", sequence=2)
    ground.feed(400)
    ground.feed_raw(None)
    ground.wait_until_done()
    report = examine(ground, score_of)
    assert report.faultless, report
    assert report.inputs == 801
    assert ground.stop(worker) == 0
    assert PASSWORD not in ground.log_of(0)


def test_without_permission_it_is_said_what_is_missing(ground: Ground, secured: SecureBroker) -> None:
    everything_else = [grant for grant in worker_grants(ground) if grant[1] != ground.topics.predictions]
    secured.allow(*everything_else)
    ground.promote(1)
    worker = ground.start()
    ground.wait_for_status(lambda status: "authoriz" in str(status.get("reason", "")).lower())
    assert ground.stop(worker) == 0


def test_a_wrong_password_is_said_and_waited_for(ground: Ground) -> None:
    (ground.folder / "secrets.json").write_text(json.dumps({"sasl.username": USER, "sasl.password": "wrong-secret"}))
    worker = ground.start()
    ground.wait_for_log("broker.waiting")
    ground.wait_for_log("uthentication")
    assert ground.stop(worker) == 0
    said = [event for event in ground.events() if event["event"] == "kafka.client"]
    assert any("uthentication" in event["said"] for event in said)
    assert {event["worker"] for event in said} == {f"{ground.deployment}/0"}
    assert "wrong-secret" not in ground.log_of(0)


def test_the_commands_reach_it_too(ground: Ground, secured: SecureBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    secured.allow(
        *worker_grants(ground),
        (ResourceType.TOPIC, "*", LITERAL, (READ, WRITE, AclOperation.CREATE, *LOOK)),
        (ResourceType.GROUP, "*", LITERAL, (READ,)),
    )
    ground.promote(1)
    worker = ground.start()
    ground.wait_for_state("live", sequence=1)
    for name, value in ground.environment(0).items():
        if name.startswith("BATON_"):
            monkeypatch.setenv(name, value)

    def baton(*words: str, stdin: bytes | None = None) -> str:
        found = CliRunner().invoke(group, list(words), input=stdin)
        assert found.exit_code == 0, found.output
        return found.stdout

    baton("topics", "create", "--models", ground.model)  # those of the pipeline are not there yet
    assert "are as they must be" in baton("topics", "check", "--models", ground.model)
    baton("send", ground.model, stdin=msgspec.json.encode(small_record(0)) + b"\n")
    ground.produced += 1
    ground.wait_until_done()
    ground.wait_for_status(lambda status: status.get("records") == 1)
    assert json.loads(baton("tail", ground.model, "--last", "1"))["score"] == score_of(1, 0)
    (row,) = json.loads(baton("top", "--once", "--json", "--deployment", ground.deployment))
    assert (row["state"], row["records"]) == ("live", 1)
    assert ground.stop(worker) == 0
