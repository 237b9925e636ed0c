"""The one place that reads the environment. Every setting is a variable that starts with ``BATON_``."""

import re
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from scoring.api_settings import ApiSettings
from scoring.contract.envelope import Keyring
from scoring.contract.errors import ConfigurationError
from scoring.contract.notice import MODEL_NAME

Value = TypeVar("Value")

MINIMUM_TOKEN_CHARACTERS = 16


class NotifierSetting(BaseModel):
    """A notifier of Airflow's that is told of failures and refusals.

    Attributes:
        notifier: the path of its class, such as ``airflow.providers.slack.notifications.slack.SlackNotifier``.
        arguments: what it is made with; secrets belong into the connection that they name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    notifier: str = Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")
    arguments: dict[str, Any] = Field(default_factory=dict)


class Settings(ApiSettings, BaseSettings):
    """Baton's settings. Which of them a command needs, it asks for with the ``need_`` methods."""

    model_config = SettingsConfigDict(
        env_prefix="BATON_", env_nested_delimiter="__", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    kafka_bootstrap: str | None = None
    """Comma-separated host:port of the Kafka brokers."""
    kafka_options: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """JSON object of further librdkafka options, such as security.protocol or sasl.mechanism."""
    kafka_options_file: Path | None = None
    """JSON file of further librdkafka options, for those that are secret, such as sasl.password."""
    signing_keys_file: Path | None = None
    """JSON file with the HMAC keys that sign notices, acknowledgements and heartbeats."""
    ledger_url: str | None = None
    """SQLAlchemy URL of the database that holds the ledger."""
    predictions_url: str | None = None
    """SQLAlchemy URL of the database of predictions, which a sink fills, and of backfills: SQLite or PostgreSQL."""
    registry_uri: str | None = None
    """MLflow tracking URI of the registry, or file:///… for a folder of bundles."""
    cache_dir: Path | None = None
    """Where a worker keeps bundles (the 16 used last, and those live here) and its memory; it must survive restarts."""
    snapshot_dir: Path | None = None
    """Where the pipeline keeps snapshots and candidates."""
    models_dir: Path | None = None
    """Folder of the model definitions; by default models/ beside the folder of the DAGs."""
    scoring_python: Path | None = None
    """Python of an environment that has only the scoring side; candidates are loaded in it before they are judged."""
    connections: dict[str, str] = Field(default_factory=dict)
    """URLs by connection name, BATON_CONNECTIONS__<NAME>: SQLAlchemy's of a database, an API's, an object store's."""
    notifiers: tuple[NotifierSetting, ...] = ()
    """JSON list of Airflow's notifiers that are told of failures and refusals beside the message on Kafka."""
    deployment: str = Field(default="default", pattern=r"^[a-z][a-z0-9_-]*$")
    """Name of the set of workers that share a consumer group."""
    slot: int = Field(default=0, ge=0)
    """A worker's place in its deployment; unique across hosts: two workers in one slot fence each other for ever."""
    processes: int = Field(default=0, ge=0, le=1024)
    """How many workers to supervise, in this slot and those that follow; 0 is one worker without a supervisor."""
    pin_cores: bool = True
    """Whether each supervised worker keeps to a core of its own, as long as there are enough."""
    restart_limit: int = Field(default=20, ge=1)
    """How often in a row a supervised worker may end within a minute before its slot is given up."""
    hang_limit_s: int = Field(default=300, ge=15)
    """After how many seconds a worker whose hot thread does not come round is ended, so that a fresh one starts."""
    models: Annotated[tuple[str, ...], NoDecode] = ()
    """Comma-separated names of the models that the deployment serves."""
    maximum_batch_records: int = Field(default=4096, ge=1)
    """Largest micro-batch."""
    trial_memory_bytes: int = Field(default=4 * 2**30, ge=2**30)
    """Address space that the trial of a new bundle may take; one that needs more is refused."""
    trial_processor_s: int = Field(default=60, ge=1)
    """Processor time that the trial of a new bundle may take, in seconds; one that needs more is refused."""
    delivery: Literal["exactly-once", "at-least-once"] = "exactly-once"
    """exactly-once, or at-least-once for the lowest latency: after a failure some records are scored again."""
    breaker_share: float = Field(default=0.5, gt=0.0, le=1.0)
    """Share of dead letters among a topic's last records above which a worker stops taking them; 1 never stops."""
    breaker_window_records: int = Field(default=1_000, ge=100)
    """How many of a topic's last records that share is of."""
    transaction_timeout_ms: int = Field(default=10_000, ge=1_000, le=10_000)
    """How long the broker keeps a dead worker's open transaction (protocol B.1: at most 10 s)."""
    session_timeout_ms: int = Field(default=10_000, ge=1_000)
    """How long a silent worker keeps its partitions."""
    queued_kbytes: int = Field(default=16_384, ge=1_024, le=1_048_576)
    """Records that the Kafka client may hold for a worker, in kibibytes: queued.max.messages.kbytes."""
    metrics_port: int = Field(default=9564, ge=0, le=65_000)
    """Port of /metrics, /livez and /readyz for slot 0, counted up by slot; 0 serves none."""
    metrics_address: str = "127.0.0.1"
    """IP address that they are served on; beyond loopback only with a token."""
    metrics_token_file: Path | None = None
    """File with the bearer token that /metrics asks for."""
    sink_topics: dict[str, Literal["predictions", "dead-letters"]] = Field(default_factory=dict)
    """JSON object of topics that a sink also reads, those of models that name their own, and what each holds."""
    sink_metrics_port: int = Field(default=9664, ge=0, le=65_000)
    """Port of /metrics, /livez and /readyz of the sink in slot 0, counted up by slot; 0 serves none."""
    log_format: str = Field(default="json", pattern="^(json|console)$")
    """json for machines, console for people."""
    _elsewhere: Callable[[str], str | None] | None = PrivateAttr(default=None)

    @field_validator("models", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value

    @field_validator("metrics_address")
    @classmethod
    def _address(cls, value: str) -> str:
        return str(ip_address(value))

    def need_kafka(self) -> dict[str, Any]:
        """librdkafka options that reach the broker.

        Raises:
            ConfigurationError: no broker is set, or the file of further options cannot be used.
        """
        address = self._need("kafka_bootstrap", self.kafka_bootstrap)
        return {**self._kafka_options_of_file(), **self.kafka_options, "bootstrap.servers": address}

    def _kafka_options_of_file(self) -> dict[str, Any]:
        path = self.kafka_options_file
        if path is None:
            return {}
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, str | int | float | bool])
        except OSError as error:
            raise ConfigurationError(f"BATON_KAFKA_OPTIONS_FILE: cannot read {path}: {error.strerror}") from error
        except (msgspec.MsgspecError, UnicodeDecodeError):  # its words might repeat a secret
            message = f"BATON_KAFKA_OPTIONS_FILE: {path} must hold one JSON object of texts, numbers and booleans"
            raise ConfigurationError(message) from None

    def need_metrics_token(self, port: int) -> str | None:
        """The bearer token of the metrics; None where everybody on this machine may read them.

        Args:
            port: that they are served on; 0 serves none.

        Raises:
            ConfigurationError: the file cannot be used, or there is none although others could reach the address.
        """
        path = self.metrics_token_file
        if path is None:
            if port and not ip_address(self.metrics_address).is_loopback:
                where = f"BATON_METRICS_ADDRESS is {self.metrics_address}, which others can reach"
                raise ConfigurationError(f"{where}; set BATON_METRICS_TOKEN_FILE, or serve on 127.0.0.1")
            return None
        try:
            token = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"BATON_METRICS_TOKEN_FILE: cannot read {path}") from error
        if len(token) < MINIMUM_TOKEN_CHARACTERS:
            shortest = f"at least {MINIMUM_TOKEN_CHARACTERS} characters"
            raise ConfigurationError(f"BATON_METRICS_TOKEN_FILE: {path} must hold a token of {shortest}")
        return token

    def need_tokens_file(self) -> Path:
        """The file of the API's tokens, or ConfigurationError: the API is never served without."""
        return self._need("api_tokens_file", self.api_tokens_file)

    def need_keyring(self) -> Keyring:
        """The signing keys.

        Raises:
            ConfigurationError: no file is set, it cannot be read, or its content is wrong.
        """
        path = self._need("signing_keys_file", self.signing_keys_file)
        try:
            return Keyring.from_json(path.read_bytes())
        except OSError as error:
            raise ConfigurationError(f"BATON_SIGNING_KEYS_FILE: cannot read {path}: {error.strerror}") from error

    def need_ledger_url(self) -> str:
        """SQLAlchemy URL of the ledger's database, or ConfigurationError."""
        return self._need("ledger_url", self.ledger_url)

    def need_predictions_url(self) -> str:
        """SQLAlchemy URL of the predictions' database, or ConfigurationError."""
        return self._need("predictions_url", self.predictions_url)

    def need_registry_uri(self) -> str:
        """Address of the registry, or ConfigurationError."""
        return self._need("registry_uri", self.registry_uri)

    def need_cache_dir(self) -> Path:
        """The worker's cache directory, or ConfigurationError."""
        return self._need("cache_dir", self.cache_dir)

    def need_snapshot_dir(self) -> Path:
        """The pipeline's directory, or ConfigurationError."""
        return self._need("snapshot_dir", self.snapshot_dir)

    def need_models(self) -> tuple[str, ...]:
        """The deployment's models.

        Raises:
            ConfigurationError: it lists none, or something that is no model's name.
        """
        if not self.models:
            raise ConfigurationError("BATON_MODELS is empty; list the models to serve, for example flight_delay")
        wrong = [name for name in self.models if not re.match(MODEL_NAME, name)]
        if wrong:
            raise ConfigurationError(
                f"BATON_MODELS: {', '.join(map(repr, wrong))} cannot be a model's name: lower-case letters, digits "
                "and underscores, a letter first"
            )
        return self.models

    def looking_further(self, elsewhere: Callable[[str], str | None]) -> Self:
        """The same settings with another place to look for the connections that are not set.

        Args:
            elsewhere: the URL of a connection by its name; None where that place has none either.
        """
        found = self.model_copy()
        found._elsewhere = elsewhere  # noqa: SLF001  of its own copy
        return found

    def need_connection(self, name: str) -> str:
        """The URL of the connection ``name``.

        Raises:
            ConfigurationError: there is no such connection.
        """
        url = self.connections.get(name.lower())
        if url is None and self._elsewhere is not None:
            url = self._elsewhere(name)
        if url is None:
            variable = f"BATON_CONNECTIONS__{name.upper()}"
            raise ConfigurationError(f"connection {name!r} is unknown; set {variable} to its URL")
        return url

    def check_worker(self, *also: Callable[[], object]) -> None:
        """Ask for everything that a worker needs, before it starts.

        Args:
            also: further checks, each of which raises ConfigurationError where something is wrong.

        Raises:
            ConfigurationError: lists everything that is missing or wrong at once.
        """
        _ask(
            self.need_models,
            self.need_kafka,
            self.need_keyring,
            self.need_registry_uri,
            self.need_cache_dir,
            partial(self.need_metrics_token, self.metrics_port),
            *also,
        )

    def check_sink(self, *also: Callable[[], object]) -> None:
        """Ask for everything that a sink needs, before it starts; as ``check_worker``.

        Raises:
            ConfigurationError: lists everything that is missing or wrong at once.
        """
        metrics_token = partial(self.need_metrics_token, self.sink_metrics_port)
        models = () if self.sink_topics and not self.models else (self.need_models,)
        _ask(*models, self.need_kafka, self.need_predictions_url, metrics_token, *also)

    def check_api(self, *also: Callable[[], object]) -> None:
        """Ask for everything that the API needs, before it starts (see ``check_worker``)."""
        _ask(
            self.need_models,
            self.need_kafka,
            self.need_keyring,
            self.need_registry_uri,
            self.need_cache_dir,
            self.need_tokens_file,
            partial(self.need_metrics_token, self.api_metrics_port),
            *also,
        )

    def check_backfill(self, *, table: bool, ledger: bool, topic: bool) -> None:
        """Ask for everything that a backfill needs before its versions are known (see ``check_worker``).

        Args:
            table: the rows go into a table.
            ledger: the versions are those that were champion.
            topic: the records come from the input topic.
        """
        wanted = (
            (table, self.need_predictions_url),
            (ledger, self.need_ledger_url),
            (topic, self.need_kafka),
            (True, self.need_registry_uri),
        )
        _ask(*(need for needed, need in wanted if needed))

    def _need(self, name: str, value: Value | None) -> Value:
        if value is None:
            description = type(self).model_fields[name].description
            raise ConfigurationError(f"BATON_{name.upper()} is not set. It is: {description}")
        return value


def _ask(*needs: Callable[[], object]) -> None:
    """Ask for each of these, and raise ConfigurationError with all that is missing or wrong at once."""
    found = []
    for need in needs:
        try:
            need()
        except ConfigurationError as error:
            found.append(str(error))
    wrong = list(dict.fromkeys(found))  # several may need the same
    if len(wrong) == 1:
        raise ConfigurationError(wrong[0])
    if wrong:
        raise ConfigurationError("settings:\n" + "\n".join(f"  - {line}" for line in wrong))


def read_settings(**overrides: Any) -> Settings:
    """Read the environment; ``overrides`` (of a command's options) win, None among them is ignored.

    Raises:
        ConfigurationError: lists every wrong variable at once.
    """
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except SettingsError as error:  # a variable that must hold JSON does not
        raise ConfigurationError(f"settings: {error}") from error
    except ValidationError as error:
        lines = [f"  - BATON_{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
        raise ConfigurationError("settings:\n" + "\n".join(lines)) from error
