"""What waits in the triggerer, so that no task holds a worker slot meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from baton_airflow.steps import AGAIN, ERROR, WAITED
from scoring.contract.errors import BatonError, Unavailable
from training.results import from_json, to_json

Result = TypeVar("Result")

# Airflow's scheduler takes a task for crashed when it hears that it goes on before it heard that its process, which
# handed the wait over, has ended. Where that happens all the same, the retry sees at once that all is well.
NOT_BEFORE_S = 3.0


class WorkersTrigger(BaseTrigger):
    """Watches the workers until a promotion has converged, or its time is over (protocol A.11).

    A triggerer that is restarted takes the same watch up again, with the same deadline. The clients block, so each
    watch has a thread of its own; its steps are short, and closing waits for the one under way.

    Args:
        watch: a ``training.watch.Watch`` as JSON. It holds no secret: settings are read in the triggerer.
    """

    def __init__(self, watch: Mapping[str, Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.watch = dict(watch)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and its arguments, as Airflow's database keeps them."""
        return f"{__name__}.{type(self).__name__}", {"watch": self.watch}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event: ``waited``, or ``error`` with ``again``, which says whether a retry can help."""
        event, _ = await asyncio.gather(self._event(), asyncio.sleep(NOT_BEFORE_S))
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def _event(self) -> dict[str, Any]:
        # Imported when it runs: the DAG processor reads this module with every DAG file.
        from training.watch import Watch, Watcher  # noqa: PLC0415

        watcher = Watcher(from_json(Watch, self.watch))
        thread = ThreadPoolExecutor(1, thread_name_prefix="baton-watch")
        try:
            while True:
                waited = await _in(thread, watcher.step)
                if waited is not None:
                    return {WAITED: to_json(waited)}
        except BatonError as error:
            return {ERROR: str(error), AGAIN: isinstance(error, Unavailable)}
        finally:
            thread.submit(watcher.close)
            thread.shutdown(wait=False)


async def _in(thread: ThreadPoolExecutor, call: Callable[[], Result]) -> Result:
    """Run ``call`` in ``thread``, with the context that names the task in its log."""
    return await asyncio.get_running_loop().run_in_executor(thread, copy_context().run, call)
