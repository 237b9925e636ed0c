"""Topics on the broker: create the missing ones, hold every one against what it must be, and learn their ids."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future

import msgspec
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
    TopicDescription,
)

from scoring.contract.dead_letter import MARGIN_BYTES
from scoring.contract.errors import ConfigurationError
from scoring.contract.manifest import Topics
from scoring.contract.topics import (
    INPUT_MAXIMUM_BYTES,
    OUTPUT_MAXIMUM_BYTES,
    TopicSpec,
    control_topics,
    model_topics,
    pipeline_topics,
)
from scoring.kafka import ADMIN_TIMEOUT_S, PATIENCE_S, TIMEOUT_S, Options, admin_client, kafka_errors

BROKERS_DEFAULT = -1
UNLIMITED = -1
DEFAULT_PARTITIONS = 4
_SETTLE_WITHIN_S = 10.0
_LOOK_AGAIN_AFTER_S = 0.1
_SIZE = "max.message.bytes"
# What a prediction needs beyond its input; a dead letter needs MARGIN_BYTES (protocol B.8).
_PREDICTION_MARGIN_BYTES = OUTPUT_MAXIMUM_BYTES - INPUT_MAXIMUM_BYTES


class Deviation(msgspec.Struct, frozen=True, kw_only=True):
    """One thing about a topic that is not as it must be.

    Attributes:
        setting: Kafka's name of the setting, or ``partitions``; empty where the topic is not there.
        remedy: the command that mends it.
    """

    topic: str
    setting: str
    found: str
    wanted: str
    remedy: str

    @property
    def sentence(self) -> str:
        """One line for people."""
        if not self.setting:
            return f"{self.topic} is not there: {self.remedy}"
        return f"{self.topic}: {self.setting} is {self.found}, must be {self.wanted}: {self.remedy}"


class TopicReport(msgspec.Struct, frozen=True, kw_only=True):
    """The topics as they are.

    Attributes:
        created: the topics that were made just now.
        altered: ``topic setting`` of what was mended just now.
        ids: the id of each topic that is there (protocol A.13).
    """

    created: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()
    deviations: tuple[Deviation, ...] = ()
    ids: Mapping[str, str] = {}

    def require_good(self) -> None:
        """Raise ConfigurationError that lists every deviation."""
        if self.deviations:
            lines = "\n".join(f"  - {deviation.sentence}" for deviation in self.deviations)
            raise ConfigurationError(f"topics:\n{lines}")


class _Found(msgspec.Struct, frozen=True):
    id: str
    partitions: int
    settings: Mapping[str, str]


def ensure_topics(
    kafka: Options,
    models: Iterable[Topics],
    partitions: int | None = None,
    *,
    replication: int = BROKERS_DEFAULT,
    altering: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> TopicReport:
    """Create the topics that are shared and the models' topics where they are missing, then check all.

    Args:
        partitions: of each model's input; None takes an input that is there as it is, and DEFAULT_PARTITIONS otherwise.
        replication: copies of each new topic; -1 leaves it to the broker.
        altering: also mend the deviations of topics that were there before, as far as Kafka can.

    Raises:
        ConfigurationError: the broker refuses a topic.
        Unavailable: the broker cannot be reached.
    """
    admin, wanted, shared = admin_client(kafka), list(models), all_shared_topics()
    created = _create(admin, _specs(shared, wanted, _describe(admin, _names(shared, wanted)), partitions), replication)

    def look(done: Callable[[TopicReport], bool]) -> TopicReport:
        """What the broker was told it tells back a moment later."""
        deadline = clock() + _SETTLE_WITHIN_S
        while not done(report := _check(admin, shared, wanted, partitions)) and clock() < deadline:
            time.sleep(_LOOK_AGAIN_AFTER_S)
        return report

    report = look(lambda found: set(created) <= set(found.ids))
    mendable = [deviation for deviation in report.deviations if deviation.remedy is _ALTER] if altering else []
    if mendable:
        _alter(admin, mendable)
        report = look(lambda found: not set(mendable) & set(found.deviations))
    altered = tuple(f"{deviation.topic} {deviation.setting}" for deviation in mendable)
    return msgspec.structs.replace(report, created=tuple(created), altered=altered)


def all_shared_topics() -> tuple[TopicSpec, ...]:
    """The topics that belong to no model: those that workers need, and those of the pipeline."""
    return (*control_topics(), *pipeline_topics())


def check_topics(
    kafka: Options,
    models: Iterable[Topics],
    partitions: int | None = None,
    *,
    shared: Sequence[TopicSpec] | None = None,
) -> TopicReport:
    """Hold shared topics and the models' topics against what they must be; changes nothing.

    Args:
        partitions: of the input topics; None takes any number.
        shared: None is the control topics, which is what a worker needs.

    Raises:
        Unavailable: the broker cannot be reached.
    """
    return _check(admin_client(kafka), control_topics() if shared is None else shared, list(models), partitions)


def _names(shared: Sequence[TopicSpec], models: Iterable[Topics]) -> list[str]:
    own = [name for topics in models for name in (topics.input, topics.predictions, topics.dead_letters)]
    return [spec.name for spec in shared] + own


def _specs(
    shared: Sequence[TopicSpec], models: Iterable[Topics], found: Mapping[str, "_Found"], partitions: int | None
) -> list[TopicSpec]:
    """What all topics must be, given the inputs that are there."""
    return [*shared, *(spec for topics in models for spec in _model_specs(topics, found, partitions))]


def _model_specs(topics: Topics, found: Mapping[str, "_Found"], partitions: int | None) -> Iterable[TopicSpec]:
    """The input as it is decides what its outputs must be: as many partitions, and room for its largest record."""
    there = found.get(topics.input)
    asked = partitions or (there.partitions if there else DEFAULT_PARTITIONS)
    outputs = max(asked, there.partitions if there else 0)  # partitions are only ever added
    size = int(there.settings[_SIZE]) if there else INPUT_MAXIMUM_BYTES
    for spec in model_topics(topics, asked):
        is_input = spec.name == topics.input
        margin = {topics.input: 0, topics.predictions: _PREDICTION_MARGIN_BYTES}.get(spec.name, MARGIN_BYTES)
        # A new topic gets its full size; one that is there needs only what its input can bring.
        enough = size + margin if spec.name in found else max(size + margin, int(spec.settings[_SIZE]))
        yield msgspec.structs.replace(
            spec, partitions=asked if is_input else outputs, settings={**spec.settings, _SIZE: str(enough)}
        )


def _create(admin: AdminClient, specs: Sequence[TopicSpec], replication: int) -> list[str]:
    found = _describe(admin, [spec.name for spec in specs])
    missing = [
        NewTopic(spec.name, num_partitions=spec.partitions, replication_factor=replication, config=dict(spec.settings))
        for spec in specs
        if spec.name not in found
    ]
    if not missing:
        return []
    with kafka_errors("creating topics"):
        futures: dict[str, Future[None]] = admin.create_topics(missing, request_timeout=TIMEOUT_S)
        return [name for name, future in futures.items() if _made(future)]


def _made(future: "Future[None]") -> bool:
    """Whether it was made here, not by somebody else a moment before."""
    try:
        future.result(PATIENCE_S)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        raise
    return True


def _check(
    admin: AdminClient, shared: Sequence[TopicSpec], models: Sequence[Topics], partitions: int | None
) -> TopicReport:
    found = _describe(admin, _names(shared, models))
    specs = _specs(shared, models, found, partitions)
    deviations = [deviation for spec in specs for deviation in _compare(spec, found.get(spec.name))]
    return TopicReport(deviations=tuple(deviations), ids={name: topic.id for name, topic in found.items()})


def _compare(spec: TopicSpec, found: _Found | None) -> list[Deviation]:
    if found is None:
        return [Deviation(topic=spec.name, setting="", found="absent", wanted="present", remedy=_CREATE)]
    deviations = []
    if found.partitions != spec.partitions:
        deviations.append(_partitions_differ(spec, found.partitions))
    for setting, wanted in spec.settings.items():
        value = found.settings.get(setting, "unknown")
        relation, good = _RULES.get(setting, _EQUAL)
        if not good(value, wanted):
            deviations.append(
                Deviation(topic=spec.name, setting=setting, found=value, wanted=f"{relation}{wanted}", remedy=_ALTER)
            )
    return deviations


def _partitions_differ(spec: TopicSpec, found: int) -> Deviation:
    remedy = (
        _ALTER
        if found < spec.partitions
        else "Kafka cannot take partitions away; delete the topic and create it again, or ask for as many as there are"
    )
    wanted = str(spec.partitions)
    return Deviation(topic=spec.name, setting="partitions", found=str(found), wanted=wanted, remedy=remedy)


def _describe(admin: AdminClient, names: Sequence[str]) -> dict[str, _Found]:
    """Those of the topics that are there. Describing, unlike asking for metadata, never creates a topic."""
    described: dict[str, TopicDescription] = {}
    with kafka_errors("describing topics"):
        futures = admin.describe_topics(TopicCollection(list(names)), request_timeout=ADMIN_TIMEOUT_S)
        for name, future in futures.items():
            try:
                described[name] = future.result(PATIENCE_S)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
        settings = _settings(admin, list(described))
    return {
        name: _Found(str(topic.topic_id), len(topic.partitions), settings[name]) for name, topic in described.items()
    }


def _settings(admin: AdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    futures: dict[ConfigResource, Future[dict[str, ConfigEntry]]] = admin.describe_configs(
        resources, request_timeout=TIMEOUT_S
    )
    return {
        resource.name: {name: str(entry.value) for name, entry in future.result(PATIENCE_S).items()}
        for resource, future in futures.items()
    }


def _alter(admin: AdminClient, mendable: Sequence[Deviation]) -> None:
    more = [NewPartitions(d.topic, int(d.wanted)) for d in mendable if d.setting == "partitions"]
    changes: dict[str, list[ConfigEntry]] = {}
    for deviation in mendable:
        if deviation.setting != "partitions":
            value = deviation.wanted.rpartition(" ")[2]  # without "at least"
            entry = ConfigEntry(deviation.setting, value, incremental_operation=AlterConfigOpType.SET)
            changes.setdefault(deviation.topic, []).append(entry)
    resources = [
        ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries) for name, entries in changes.items()
    ]
    with kafka_errors("altering topics"):
        futures = list(admin.create_partitions(more, request_timeout=TIMEOUT_S).values()) if more else []
        futures += admin.incremental_alter_configs(resources, request_timeout=TIMEOUT_S).values() if resources else []
        for future in futures:
            future.result(PATIENCE_S)


def _at_least(found: str, wanted: str) -> bool:
    return _number(found) >= _number(wanted)


def _at_most(found: str, wanted: str) -> bool:
    return _number(found) <= _number(wanted)


def _number(text: str) -> float:
    """A setting's number; Kafka writes "no limit" as -1."""
    try:
        value = float(text)
    except ValueError:
        return float("nan")
    return float("inf") if value == UNLIMITED else value


_Rule = tuple[str, Callable[[str, str], bool]]
_EQUAL: _Rule = ("", str.__eq__)
_RULES: dict[str, _Rule] = {
    "retention.ms": ("at least ", _at_least),
    "delete.retention.ms": ("at least ", _at_least),
    _SIZE: ("at least ", _at_least),
    "segment.ms": ("at most ", _at_most),
    "min.cleanable.dirty.ratio": ("at most ", _at_most),
}
_CREATE = "run `baton topics create`"
_ALTER = "run `baton topics create --alter`"
