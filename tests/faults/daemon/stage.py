"""What a chunk of rounds shares: a broker with a direct listener and two behind proxies, and a nursery for workers."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from local.kafka.broker import Broker
from local.kafka.properties import FAULT_TESTS, BrokerConfig
from local.ports import free_ports
from tests.faults.daemon.field import Field
from tests.faults.daemon.nursery import Nursery
from tests.support.broker import KAFKA_JARS
from tests.support.proxy import Proxy

LINES = 2


class Stage:
    """A broker, a nursery, and the fields that were made on them.

    Attributes:
        lines: proxies; a worker in slot n of a field with lines reaches the broker through line n only.
    """

    def __init__(self, broker: Broker, nursery: Nursery, folder: Path, lines: list[Proxy]) -> None:
        self.broker = broker
        self.nursery = nursery
        self.folder = folder
        self.lines = lines
        self._fields: list[Field] = []

    def field(self, name: str, *, wind: bool = False, through_lines: bool = False) -> Field:
        """A field of a round's own."""
        ports = [line.port for line in self.lines] if through_lines else []
        made = Field(self.broker.bootstrap, self.folder / name, self.nursery, wind=wind, lines=ports)
        self._fields.append(made)
        return made

    def clear(self) -> None:
        """End what rounds left running, and drop what only they needed."""
        for field in self._fields:
            field.close()
            for topic in (field.topics.input, field.topics.predictions, field.topics.dead_letters):
                field.delete(topic)
            shutil.rmtree(field.folder, ignore_errors=True)
        self._fields.clear()

    def close(self) -> None:
        """End every worker."""
        for field in self._fields:
            field.close()


def broker_with_lines(folder: Path, ports: list[int]) -> Broker:
    """A broker for fault tests whose further listeners are advertised under the proxies' ports.

    Args:
        ports: clients, controller, then for each line the listener's port and the proxy's.
    """
    port, controller, *rest = ports
    names = [f"LINE{number}" for number in range(len(rest) // 2)]
    listening = [f"{name}://127.0.0.1:{own}" for name, own in zip(names, rest[::2], strict=True)]
    advertised = [f"{name}://127.0.0.1:{proxy}" for name, proxy in zip(names, rest[1::2], strict=True)]
    direct = f"PLAINTEXT://127.0.0.1:{port}"
    overrides = {
        **FAULT_TESTS,
        "listeners": ",".join((direct, f"CONTROLLER://127.0.0.1:{controller}", *listening)),
        "advertised.listeners": ",".join((direct, *advertised)),
        "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in ("PLAINTEXT", "CONTROLLER", *names)),
    }
    config = BrokerConfig(data_dir=folder, port=port, controller_port=controller, overrides=overrides)
    return Broker(config, jars=KAFKA_JARS)


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """A stage with a broker of its own, under ``folder``."""
    ports = free_ports(2 + 2 * LINES)
    broker = broker_with_lines(folder / "kafka", ports)
    with ExitStack() as stack:
        stack.enter_context(broker)
        lines = [stack.enter_context(Proxy(ports[3 + 2 * n], ports[2 + 2 * n])) for n in range(LINES)]
        nursery = stack.enter_context(
            Nursery(folder / "nursery.log", "tests.support.faulty_worker", "scoring.worker.parts")
        )
        made = Stage(broker, nursery, folder, lines)
        stack.callback(made.close)
        yield made
