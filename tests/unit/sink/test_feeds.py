"""Which topics a sink reads, and what it needs to be told."""

from uuid import UUID

import pytest

from scoring.contract.errors import ConfigurationError
from scoring.settings import read_settings
from scoring.sink.clients import consumer_settings
from scoring.sink.feeds import Kind, feeds_of

TABLES = "7f44a301-0000-4000-8000-000000000000"


def test_the_topics_of_models_have_their_standard_names() -> None:
    assert feeds_of(["a", "b"], {}) == {
        "a.predictions": Kind.PREDICTIONS,
        "a.dead-letters": Kind.DEAD_LETTERS,
        "b.predictions": Kind.PREDICTIONS,
        "b.dead-letters": Kind.DEAD_LETTERS,
    }


def test_topics_of_other_names_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATON_SINK_TOPICS", '{"crm.scores": "predictions", "crm.failed": "dead-letters"}')
    found = feeds_of([], read_settings().sink_topics)
    assert found == {"crm.scores": Kind.PREDICTIONS, "crm.failed": Kind.DEAD_LETTERS}
    read_settings(kafka_bootstrap="x:1", predictions_url="sqlite://").check_sink()


def test_what_a_sink_lacks_is_said_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError) as error:
        read_settings().check_sink()
    for name in ("BATON_MODELS", "BATON_KAFKA_BOOTSTRAP", "BATON_PREDICTIONS_URL"):
        assert name in str(error.value)
    monkeypatch.setenv("BATON_SINK_TOPICS", '{"a": "scores"}')
    with pytest.raises(ConfigurationError, match="BATON_SINK_TOPICS"):
        read_settings()


def test_sinks_of_the_same_tables_are_one_group_and_options_cannot_change_what_exactly_once_rests_on() -> None:
    options = {"isolation.level": "read_uncommitted", "enable.auto.commit": True, "group.id": "mine"}
    settings = read_settings(kafka_bootstrap="x:1", slot=3, kafka_options=options)
    made = consumer_settings(settings, UUID(TABLES))
    assert made["group.id"] == f"baton-sink-{TABLES}"
    assert (made["isolation.level"], made["enable.auto.commit"]) == ("read_committed", False)
    assert made["group.instance.id"] == "baton-sink-3"
