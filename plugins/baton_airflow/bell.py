"""The bell: what wakes a model's ``retrain_<model>`` when a message asks for a retrain.

The trigger itself is in ``baton_airflow.listening``, which loads Airflow's Kafka provider and its client: here is only
what Airflow has to know of it when it reads the DAG files.
"""

from collections.abc import AsyncIterator
from typing import Any

from airflow.sdk import Asset, AssetWatcher
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

LISTENER = "baton_airflow.listening.RetrainTrigger"


class Bell(BaseEventTrigger):
    """Stands for the trigger in DAG files; Airflow's database keeps the name and the arguments of the real one."""

    def __init__(self, model: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model = model

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class that listens, and its arguments."""
        return LISTENER, {"model": self.model}

    def run(self) -> AsyncIterator[TriggerEvent]:
        """Never: a triggerer makes the real one of what ``serialize`` says."""
        raise TypeError(f"{LISTENER} runs in its place")


def bell_of(model: str) -> Asset:
    """The asset whose events are the requests for retrains of a model."""
    name = f"baton.retrains/{model}"
    return Asset(name=name, watchers=[AssetWatcher(name=name, trigger=Bell(model))])
