from pathlib import Path

from local.kafka.broker import broker_command
from local.kafka.properties import FAULT_TESTS, BrokerConfig, properties, render

CONFIG = BrokerConfig(data_dir=Path("/data"), port=1001, controller_port=1002)


def test_every_listener_is_on_loopback() -> None:
    found = properties(CONFIG)
    assert found["listeners"] == "PLAINTEXT://127.0.0.1:1001,CONTROLLER://127.0.0.1:1002"
    assert found["advertised.listeners"] == "PLAINTEXT://127.0.0.1:1001"
    assert found["controller.quorum.voters"] == "1@127.0.0.1:1002"


def test_a_topic_is_never_made_by_a_misspelled_name() -> None:
    assert properties(CONFIG)["auto.create.topics.enable"] == "false"


def test_every_internal_topic_fits_one_node() -> None:
    found = properties(CONFIG)
    assert {value for name, value in found.items() if name.endswith(("replication.factor", "min.isr"))} == {"1"}


def test_an_open_transaction_of_a_dead_worker_is_swept_within_a_second_of_its_timeout() -> None:
    assert properties(CONFIG)["transaction.abort.timed.out.transaction.cleanup.interval.ms"] == "1000"


def test_overrides_win() -> None:
    config = BrokerConfig(data_dir=Path("/data"), port=1, controller_port=2, overrides={"num.io.threads": "9"})
    assert properties(config)["num.io.threads"] == "9"


def test_fault_tests_may_declare_a_worker_dead_after_a_second() -> None:
    config = BrokerConfig(data_dir=Path("/data"), port=1, controller_port=2, overrides=FAULT_TESTS)
    assert "group.min.session.timeout.ms=1000\n" in render(config)
    assert "group.min.session.timeout.ms" not in render(CONFIG)


def test_a_path_with_a_backslash_survives_the_properties_format() -> None:
    config = BrokerConfig(data_dir=Path("/a\\b"), port=1, controller_port=2)
    assert "log.dirs=/a\\\\b/records\n" in render(config)


def test_the_command_names_the_rendered_file_and_no_shell_expands_the_class_path() -> None:
    command = broker_command(Path("/jars"), CONFIG)
    assert command[-2:] == ["kafka.Kafka", "/data/server.properties"]
    assert "/jars/*" in command
    assert "-Xmx1g" in command
