"""The broker's properties, rendered the same way for the stack and for tests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

SINGLE_NODE: Mapping[str, str] = MappingProxyType(
    {
        "auto.create.topics.enable": "false",
        "default.replication.factor": "1",
        "group.initial.rebalance.delay.ms": "0",
        "offsets.topic.num.partitions": "8",
        "offsets.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "8",
        "transaction.state.log.replication.factor": "1",
    }
)
"""One node can hold one replica; and a consumer group that waits for more members only delays a start."""

TRANSACTIONS: Mapping[str, str] = MappingProxyType(
    {
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
        "transaction.max.timeout.ms": "60000",
    }
)
"""A dead worker's open transaction hides records until its timeout plus this sweep (10 s by default)."""

RESTART: Mapping[str, str] = MappingProxyType(
    {
        "broker.heartbeat.interval.ms": "1000",
        "broker.session.timeout.ms": "4000",
    }
)
"""A killed broker starts again only when its former registration has lapsed: 9 s by default."""

SMALL_MACHINE: Mapping[str, str] = MappingProxyType(
    {
        "log.cleaner.dedupe.buffer.size": "16777216",
        "num.io.threads": "4",
        "num.network.threads": "2",
    }
)
"""Less memory and fewer threads than a server would take."""

FAULT_TESTS: Mapping[str, str] = MappingProxyType({"group.min.session.timeout.ms": "1000"})
"""Lets a test's worker be declared dead after one second."""


@dataclass(frozen=True, kw_only=True)
class BrokerConfig:
    """One broker: where its data is, its ports on 127.0.0.1, its largest heap, and which properties are unusual."""

    data_dir: Path
    port: int
    controller_port: int
    overrides: Mapping[str, str] = field(default_factory=dict)
    heap: str = "1g"

    @property
    def bootstrap(self) -> str:
        """host:port for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def properties_file(self) -> Path:
        """Where the rendered properties go."""
        return self.data_dir / "server.properties"

    @property
    def log_dir(self) -> Path:
        """Kafka's ``log.dirs``: the records."""
        return self.data_dir / "records"


def properties(config: BrokerConfig) -> dict[str, str]:
    """All properties of the broker, ``overrides`` last."""
    broker, controller = config.bootstrap, f"127.0.0.1:{config.controller_port}"
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{broker}",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": f"1@{controller}",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(config.log_dir),
        **SINGLE_NODE,
        **TRANSACTIONS,
        **RESTART,
        **SMALL_MACHINE,
        **config.overrides,
    }


def render(config: BrokerConfig) -> str:
    """The text of server.properties."""
    return "".join(f"{name}={_escape(value)}\n" for name, value in properties(config).items())


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n")
