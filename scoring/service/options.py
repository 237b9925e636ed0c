"""Options of the Kafka client: those that every client of a service is given, and whether the client knows them."""

from typing import Any

from confluent_kafka import KafkaException, Producer

from scoring.contract.errors import ConfigurationError
from scoring.log import library_log
from scoring.settings import Settings

ClientSettings = dict[str, Any]


def check_options(settings: Settings) -> None:
    """Ask the client whether it knows all options that are set, before a service starts.

    Raises:
        ConfigurationError: lists every option that it refuses, in its own words.
    """
    left = {name: value for name, value in settings.need_kafka().items() if name != "bootstrap.servers"}
    refused = []
    while left and (error := _refusal(left)) is not None:
        # The client may know the option by another name than the one it was given.
        to_blame = [name for name, value in left.items() if _refusal({name: value}) == error]
        refused.append(": ".join((*to_blame, error)))
        if not to_blame:  # it takes several to be wrong together
            break
        for name in to_blame:
            del left[name]
    poll_ms = settings.need_kafka().get("max.poll.interval.ms")
    if poll_ms is not None and str(poll_ms).isdecimal() and int(poll_ms) < settings.session_timeout_ms:
        refused.append(
            f"max.poll.interval.ms: {poll_ms} is less than BATON_SESSION_TIMEOUT_MS ({settings.session_timeout_ms})"
        )
    if refused:
        raise ConfigurationError("BATON_KAFKA_OPTIONS: " + "; ".join(refused))


def _refusal(options: ClientSettings) -> str | None:
    try:
        Producer({**options, "log_level": 0})  # it knows no broker, so it connects to none
    except KafkaException as error:
        return str(error.args[0].str())
    except (TypeError, ValueError) as error:
        return str(error)
    return None


def shared_options(settings: Settings) -> ClientSettings:
    """What every client is told: how to reach the broker, and to log as we do (warnings and worse)."""
    return {"log_level": 4, **settings.need_kafka(), "logger": library_log("kafka.client")}
