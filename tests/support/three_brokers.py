"""The three brokers of docker-compose.airflow.yml with its settings, on ports of this machine."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from local.kafka.broker import FORMATTED, Broker, java_command
from local.kafka.properties import BrokerConfig, render
from local.ports import free_ports
from tests.support.broker import KAFKA_JARS, PROJECT

COMPOSE = PROJECT / "docker-compose.airflow.yml"
NODES = ("kafka-1", "kafka-2", "kafka-3")


@contextmanager
def three_brokers(folder: Path) -> Iterator[list[Broker]]:
    """Run them; each starts only once two are there, so all are started at once."""
    services: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    ports = free_ports(2 * len(NODES))
    places = dict(zip([f"{name}:{port}" for port in (9092, 9093) for name in NODES], ports, strict=True))
    brokers = [_broker(folder / name, name, services[name]["environment"], places) for name in NODES]
    with ThreadPoolExecutor(len(brokers)) as pool:
        try:
            list(pool.map(lambda broker: broker.start(timeout_s=120), brokers))
            yield brokers
        finally:
            list(pool.map(lambda broker: broker.kill(), brokers))


def _broker(folder: Path, name: str, variables: Mapping[str, str], places: Mapping[str, int]) -> Broker:
    given = {k.removeprefix("KAFKA_").lower().replace("_", "."): v for k, v in variables.items() if "KAFKA_" in k}
    given["listeners"] = given["listeners"].replace("://:", f"://{name}:")
    moved = {setting: _moved(value, places) for setting, value in given.items()}
    config = BrokerConfig(
        data_dir=folder,
        port=places[f"{name}:9092"],
        controller_port=places[f"{name}:9093"],
        overrides={**moved, "log.dirs": str(folder / "records")},
        heap="512m",
    )
    _format(config, variables["CLUSTER_ID"])
    return Broker(config, jars=KAFKA_JARS)


def _moved(value: str, places: Mapping[str, int]) -> str:
    """A setting with every host name and port of the compose file's made a port of this machine."""
    return re.sub(r"kafka-\d:\d+", lambda found: f"127.0.0.1:{places[found[0]]}", value)


def _format(config: BrokerConfig, cluster_id: str) -> None:
    """As the image does: every node of one cluster is given the same id."""
    config.data_dir.mkdir(parents=True)
    config.properties_file.write_text(render(config))
    words = ["format", f"--cluster-id={cluster_id}", "-c", str(config.properties_file)]
    command = java_command(KAFKA_JARS, "kafka.tools.StorageTool", *words, heap="256m")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (config.data_dir / FORMATTED).touch()
