from pathlib import Path

import pytest

from local.errors import SettingError
from local.settings import COMPONENTS, Ports, read_components, read_settings


def test_without_variables_the_state_is_var_in_the_project(tmp_path: Path) -> None:
    settings = read_settings({}, project_dir=tmp_path)
    assert settings.state_dir == tmp_path / "var"
    assert settings.kafka_bootstrap == "127.0.0.1:19092"


def test_a_relative_state_directory_is_one_of_the_project(tmp_path: Path) -> None:
    assert read_settings({"BATON_STATE_DIR": "other"}, project_dir=tmp_path).state_dir == tmp_path / "other"


def test_ports_are_read_from_their_variables() -> None:
    assert Ports.from_environment({"BATON_MLFLOW_PORT": "1234"}) == Ports(mlflow=1234)


@pytest.mark.parametrize("text", ["http", "0", "65536", "-1", "1.5"])
def test_what_is_no_port_is_refused_with_the_name_of_its_variable(text: str) -> None:
    with pytest.raises(SettingError, match="BATON_AIRFLOW_PORT"):
        Ports.from_environment({"BATON_AIRFLOW_PORT": text})


def test_two_equal_ports_are_refused_with_the_names_of_both_variables() -> None:
    with pytest.raises(SettingError, match="BATON_KAFKA_PORT and BATON_MLFLOW_PORT"):
        Ports.from_environment({"BATON_KAFKA_PORT": "15000"})


def test_an_address_of_another_kafka_is_an_existing_one_with_its_options(tmp_path: Path) -> None:
    given = {
        "BATON_KAFKA_BOOTSTRAP": "kafka.example:9093",
        "BATON_KAFKA_OPTIONS": '{"security.protocol": "SSL"}',
        "BATON_KAFKA_OPTIONS_FILE": "/etc/secrets.json",
    }
    settings = read_settings(given, project_dir=tmp_path)
    assert (settings.existing_kafka, settings.kafka_bootstrap) == ("kafka.example:9093", "kafka.example:9093")
    assert (settings.kafka_options, settings.kafka_options_file) == tuple(given.values())[1:]


def test_a_shell_that_read_the_stacks_own_environment_names_no_existing_kafka(tmp_path: Path) -> None:
    own = {"BATON_KAFKA_PORT": "29092", "BATON_KAFKA_BOOTSTRAP": "127.0.0.1:29092", "BATON_KAFKA_OPTIONS": "{}"}
    settings = read_settings(own, project_dir=tmp_path)
    assert settings.existing_kafka is None
    assert settings.kafka_bootstrap == "127.0.0.1:29092"
    assert settings.kafka_options == ""


def test_the_broker_has_two_ports() -> None:
    assert Ports().of("kafka") == {"kafka": 19092, "kafka_controller": 19093}
    assert Ports().of("daemon") == {}


def test_components_can_be_left_out() -> None:
    assert read_components("") == COMPONENTS
    assert read_components("airflow, daemon, api") == ("kafka", "mlflow", "sink")


def test_an_unknown_component_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingError, match="unknown component redis; the stack has kafka, mlflow, airflow, daemon"):
        read_components("redis")
