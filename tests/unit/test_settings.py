"""Settings: read from the environment only, all mistakes at once, and what is missing is named with its meaning."""

import base64
import json
from pathlib import Path

import pytest

from scoring.contract.errors import ConfigurationError
from scoring.settings import read_settings


def test_everything_has_a_default_so_that_each_command_asks_for_what_it_needs() -> None:
    settings = read_settings()
    assert (settings.deployment, settings.slot, settings.models) == ("default", 0, ())


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATON_KAFKA_BOOTSTRAP", "broker:9092")
    monkeypatch.setenv("BATON_KAFKA_OPTIONS", '{"security.protocol": "SSL", "socket.keepalive.enable": true}')
    monkeypatch.setenv("BATON_MODELS", " flight_delay, upsell ,,")
    monkeypatch.setenv("BATON_SLOT", "3")
    monkeypatch.setenv("BATON_CONNECTIONS__WAREHOUSE", "sqlite:////w.db")
    monkeypatch.setenv("BATON_UNKNOWN", "ignored")
    settings = read_settings()
    assert settings.need_kafka() == {
        "bootstrap.servers": "broker:9092",
        "security.protocol": "SSL",
        "socket.keepalive.enable": True,
    }
    assert settings.need_models() == ("flight_delay", "upsell")
    assert settings.slot == 3
    assert settings.need_connection("warehouse") == settings.need_connection("WAREHOUSE") == "sqlite:////w.db"


def test_a_name_that_no_model_can_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATON_MODELS", "flight_delay,Upsell,fraud-2")
    with pytest.raises(ConfigurationError, match="'Upsell', 'fraud-2' cannot be a model's name"):
        read_settings().need_models()


def test_options_of_a_command_win_and_those_not_given_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATON_SLOT", "3")
    monkeypatch.setenv("BATON_DEPLOYMENT", "upsell")
    settings = read_settings(slot=5, deployment=None)
    assert (settings.slot, settings.deployment) == (5, "upsell")


def test_all_mistakes_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {
        "BATON_SLOT": "-1",
        "BATON_DEPLOYMENT": "Not a name",
        "BATON_TRANSACTION_TIMEOUT_MS": "60000",
        "BATON_SESSION_TIMEOUT_MS": "soon",
        "BATON_MAXIMUM_BATCH_RECORDS": "0",
        "BATON_LOG_FORMAT": "xml",
    }
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        read_settings()
    lines = str(caught.value).splitlines()
    assert lines[0] == "settings:"
    assert {line.removeprefix("  - ").split(":")[0] for line in lines[1:]} == set(wrong)


NEEDS = {
    "need_kafka": "BATON_KAFKA_BOOTSTRAP",
    "need_keyring": "BATON_SIGNING_KEYS_FILE",
    "need_ledger_url": "BATON_LEDGER_URL",
    "need_registry_uri": "BATON_REGISTRY_URI",
    "need_cache_dir": "BATON_CACHE_DIR",
    "need_snapshot_dir": "BATON_SNAPSHOT_DIR",
    "need_models": "BATON_MODELS",
}


@pytest.mark.parametrize("need", NEEDS)
def test_what_is_missing_is_named(need: str) -> None:
    with pytest.raises(ConfigurationError, match=NEEDS[need]):
        getattr(read_settings(), need)()


def test_an_unknown_connection_is_named_with_its_variable() -> None:
    with pytest.raises(ConfigurationError, match="set BATON_CONNECTIONS__WAREHOUSE to its URL"):
        read_settings().need_connection("warehouse")


def test_a_connection_that_is_not_set_may_be_found_elsewhere_and_one_that_is_set_wins() -> None:
    kept = {"lake": "s3://a:b@", "warehouse": "sqlite:////elsewhere.db"}
    settings = read_settings(connections={"warehouse": "sqlite:////here.db"}).looking_further(kept.get)
    assert settings.need_connection("warehouse") == "sqlite:////here.db"
    assert settings.need_connection("lake") == "s3://a:b@"
    with pytest.raises(ConfigurationError, match="connection 'weather' is unknown"):
        settings.need_connection("weather")
    with pytest.raises(ConfigurationError, match="connection 'lake' is unknown"):
        read_settings().need_connection("lake")


def test_the_keyring_is_read_from_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    monkeypatch.setenv("BATON_SIGNING_KEYS_FILE", str(path))
    with pytest.raises(ConfigurationError, match="cannot read"):
        read_settings().need_keyring()
    path.write_text("{}")
    with pytest.raises(ConfigurationError, match="signing keys"):
        read_settings().need_keyring()
    path.write_text(json.dumps({"active": "k1", "keys": {"k1": base64.b64encode(b"1" * 32).decode()}}))
    assert read_settings().need_keyring().active == "k1"


@pytest.mark.parametrize("options", ["nonsense", "[]", '{"a": [1]}', "7"])
def test_options_must_be_a_flat_json_object(monkeypatch: pytest.MonkeyPatch, options: str) -> None:
    monkeypatch.setenv("BATON_KAFKA_OPTIONS", options)
    with pytest.raises(ConfigurationError, match=r"(?i)kafka_options"):
        read_settings()


def test_secret_options_come_from_a_file_and_others_win_over_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "kafka.json"
    path.write_text('{"sasl.password": "swordfish", "client.rack": "a"}')
    monkeypatch.setenv("BATON_KAFKA_BOOTSTRAP", "broker:9092")
    monkeypatch.setenv("BATON_KAFKA_OPTIONS", '{"client.rack": "b"}')
    monkeypatch.setenv("BATON_KAFKA_OPTIONS_FILE", str(path))
    expected = {"bootstrap.servers": "broker:9092", "sasl.password": "swordfish", "client.rack": "b"}
    assert read_settings().need_kafka() == expected
    for wrong in ("swordfish", '["swordfish"]', '{"sasl.password": ["swordfish"]}'):
        path.write_text(wrong)
        with pytest.raises(ConfigurationError, match="must hold one JSON object") as caught:
            read_settings().need_kafka()
        assert "swordfish" not in str(caught.value)
    path.unlink()
    with pytest.raises(ConfigurationError, match="BATON_KAFKA_OPTIONS_FILE: cannot read"):
        read_settings().need_kafka()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1"])
def test_on_loopback_metrics_need_no_token(address: str) -> None:
    assert read_settings(metrics_address=address).need_metrics_token(9564) is None


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.1", "::"])
def test_beyond_loopback_metrics_need_a_token(address: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"set BATON_METRICS_TOKEN_FILE, or serve on 127\.0\.0\.1"):
        read_settings(metrics_address=address).need_metrics_token(9564)
    assert read_settings(metrics_address=address).need_metrics_token(0) is None
    path = tmp_path / "token"
    with pytest.raises(ConfigurationError, match="cannot read"):
        read_settings(metrics_address=address, metrics_token_file=path).need_metrics_token(9564)
    path.write_text("short\n")
    with pytest.raises(ConfigurationError, match="at least 16 characters"):
        read_settings(metrics_address=address, metrics_token_file=path).need_metrics_token(9564)
    path.write_text("a-token-of-many-characters\n")
    found = read_settings(metrics_address=address, metrics_token_file=path).need_metrics_token(9564)
    assert found == "a-token-of-many-characters"


@pytest.mark.parametrize(
    ("check", "port"),
    [("check_worker", "metrics_port"), ("check_sink", "sink_metrics_port"), ("check_api", "api_metrics_port")],
)
def test_each_process_is_asked_for_the_token_of_what_it_serves_itself(check: str, port: str) -> None:
    ports = dict.fromkeys(("metrics_port", "sink_metrics_port", "api_metrics_port"), 0)
    for served, asked in ((9_999, True), (0, False)):
        settings = read_settings(metrics_address="0.0.0.0", **{**ports, port: served})
        with pytest.raises(ConfigurationError) as caught:
            getattr(settings, check)()
        assert ("set BATON_METRICS_TOKEN_FILE" in str(caught.value)) is asked


def test_an_address_for_metrics_must_be_one() -> None:
    with pytest.raises(ConfigurationError, match="BATON_METRICS_ADDRESS"):
        read_settings(metrics_address="localhost")


def test_a_worker_is_told_everything_that_it_lacks_at_once() -> None:
    def also() -> None:
        raise ConfigurationError("and the disk is full")

    with pytest.raises(ConfigurationError) as caught:
        read_settings().check_worker(also)
    lines = str(caught.value).splitlines()
    needed = ("MODELS", "KAFKA_BOOTSTRAP", "SIGNING_KEYS_FILE", "REGISTRY_URI", "CACHE_DIR")
    assert [line.split()[1] for line in lines[1:-1]] == [f"BATON_{name}" for name in needed]
    assert lines[-1] == "  - and the disk is full"


def test_what_two_checks_lack_is_told_once() -> None:
    settings = read_settings()
    with pytest.raises(ConfigurationError) as caught:
        settings.check_sink(settings.need_kafka)
    assert str(caught.value).count("BATON_KAFKA_BOOTSTRAP is not set") == 1
