"""Requests for retrains and the runs that they start, on the stage's ``retrain_<model>`` and ``train_<model>``."""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from baton_airflow.retrain import WAIT, retrain_dag_id
from baton_airflow.seals import Seals
from baton_airflow.steps import GATES, REGISTER
from scoring.promotion.ledger import Ledger
from scoring.registry.open import open_registry
from scoring.settings import read_settings
from tests.faults.airflow.stage import ENDED, Stage
from tests.support.arena import wait_until
from tests.support.decisions import PASSED
from tests.support.promotion_campaign import candidate
from tests.support.retrains import Inbox
from training.results import Gated, Registered, RunRequest

COOL_DOWN = timedelta(seconds=6)
WITHIN_S = 600.0


def prepared(folder: Path, model: str, run_id: str) -> dict[str, Any]:
    """What a run hands over: a candidate of its own, sealed as the run's own tasks would."""
    settings = read_settings()
    registry, ledger = open_registry(settings.need_registry_uri()), Ledger.open(settings.need_ledger_url())
    made = folder / "made" / uuid4().hex
    digest = candidate(made, model, len(registry.versions(model)) + 1)
    version, head = registry.register(model, made, {}), ledger.head(model)
    gated = Gated(verdicts=PASSED, sentence="accepted", red=False, parent=head.sequence if head else 0)
    registered = Registered(version=version, manifest_digest=digest, bundle=None, registry_run=None)
    seals = Seals(settings.need_keyring(), model, run_id)
    judged = seals.give(GATES, gated)
    return {"gated": judged, "registered": seals.give(REGISTER, registered, judged)}


class Waking(Inbox):
    """Asks for retrains of one model, and looks at what comes of it."""

    def __init__(self, stage: Stage, model: str) -> None:
        super().__init__(stage.house.kafka, stage.house.keys, model)
        self.stage = stage
        self.trains, self.starts = f"train_{model}", retrain_dag_id(model)

    def held(self) -> AbstractContextManager[None]:
        """Runs that begin meanwhile do not end."""
        return self._flag("hold")

    def failing(self) -> AbstractContextManager[None]:
        """Runs that begin meanwhile fail, by an error that no retry mends."""
        return self._flag("fail")

    @contextmanager
    def _flag(self, what: str) -> Iterator[None]:
        flag = self.stage.retrains / f"{what}-{self.model}"
        flag.touch()
        try:
            yield
        finally:
            flag.unlink(missing_ok=True)

    def begun(self) -> list[RunRequest]:
        """What each run that has begun was asked, the first one first."""
        paths = (self.stage.retrains / "runs").glob(f"{self.model}~*.json")
        found = [msgspec.json.decode(path.read_bytes(), type=RunRequest) for path in paths]
        return sorted(found, key=lambda request: request.requested_at)

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """The runs of a DAG, as Airflow's API tells of them."""
        found: list[dict[str, Any]] = self.stage.client.call("GET", f"/dags/{dag_id}/dagRuns?limit=100")["dag_runs"]
        return found

    def wait_for_begun(self, count: int) -> Sequence[RunRequest]:
        """Wait until so many runs have begun."""
        wait_until(lambda: len(self.begun()) >= count, WITHIN_S, f"{count} runs have not begun")
        return self.begun()

    def wait_for_start_to_wait(self) -> None:
        """Wait until Airflow has heard of requests and holds their run back."""

        def waits() -> bool:
            unfinished = [run for run in self.runs(self.starts) if run["state"] not in ENDED]
            return any(
                self.stage.tasks(self.starts, run["dag_run_id"])[WAIT]["state"] == "up_for_reschedule"
                for run in unfinished
            )

        wait_until(waits, WITHIN_S, "no run waits to be started")

    def settle(self) -> None:
        """Wait until nothing waits and no run goes on, of either DAG."""
        deadline_s = time.monotonic() + WITHIN_S
        while (left := self._left()) and time.monotonic() < deadline_s:
            time.sleep(0.5)
        assert not left, left

    def _left(self) -> list[str]:
        unfinished = [
            f"{run['dag_run_id']}: {run['state']}"
            for dag_id in (self.trains, self.starts)
            for run in self.runs(dag_id)
            if run["state"] not in ENDED
        ]
        waiting = self.pending().asked
        return unfinished + ([f"{len(waiting)} requests wait"] if waiting else [])
