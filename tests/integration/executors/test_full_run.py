"""A whole run, from the source's rows to a version that a worker scores with, on either executor."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.kafka.broker import Broker
from tests.support import deliveries
from tests.support.executors import CELERY_WORKERS, Cluster, cluster, on_a_cluster, on_one_machine

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(1_800),
    pytest.mark.filterwarnings("ignore", r"error::Warning:(baton_airflow|training|scoring)(\..*)?"),
]
APRIL = deliveries.START.replace(month=4)


@pytest.fixture
def one_machine(tmp_path: Path, own_broker: Broker) -> Iterator[Cluster]:
    with on_one_machine(tmp_path) as backing, cluster(tmp_path, backing, own_broker.bootstrap) as running:
        yield running


@pytest.fixture
def two_workers(tmp_path: Path, own_broker: Broker, postgres_socket: Path) -> Iterator[Cluster]:
    with (
        on_a_cluster(tmp_path, postgres_socket) as backing,
        cluster(tmp_path, backing, own_broker.bootstrap) as running,
    ):
        yield running


def a_run_goes_all_the_way(running: Cluster) -> None:
    ended = running.train(deliveries.START, APRIL)
    assert ended.state == "success", ended
    assert {name for name, state in ended.tasks.items() if state == "skipped"} == {"keep", "refused"}
    assert ended.tasks["wait_for_workers"] == "success"
    sent = running.send(APRIL.replace(day=1), APRIL.replace(day=2))
    found = running.predictions(sent)
    assert {(record["version"], record["sequence"]) for record in found} == {("1", 1)}
    assert len(found) == sent > 10


@pytest.mark.faults  # the other tests that start an Airflow have this executor
def test_a_run_goes_all_the_way_with_the_local_executor_on_sqlite(one_machine: Cluster) -> None:
    a_run_goes_all_the_way(one_machine)


def test_a_run_goes_all_the_way_with_celery_on_postgresql_and_redis(two_workers: Cluster) -> None:
    a_run_goes_all_the_way(two_workers)
    for name in CELERY_WORKERS:
        assert "execute_workload" in two_workers.airflow.log_of(name), f"worker {name} ran no task"
