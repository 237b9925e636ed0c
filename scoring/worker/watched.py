"""What others may see of a running worker: gathered from its parts when heartbeat, probe or scrape asks for it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from shutil import disk_usage

import msgspec

from scoring import __version__
from scoring.contract.errors import Rejection
from scoring.contract.heartbeat import ModelStatus
from scoring.service.endpoint import Endpoint
from scoring.settings import Settings
from scoring.worker.clients import worker_id
from scoring.worker.exposition import CacheState, Source, exposition
from scoring.worker.fetching import Fetching
from scoring.worker.follower import Follower
from scoring.worker.heartbeat import merge
from scoring.worker.loop import Loop
from scoring.worker.metrics import Metrics
from scoring.worker.readiness import LIVE_WITHIN_S, View, view


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a worker that say what it does. Each is read without a lock: what one says may be a moment old.

    Attributes:
        silent_s: how long the hot thread has not come round, in seconds.
    """

    loop: Loop
    fetching: Fetching
    follower: Follower
    metrics: Metrics
    silent_s: Callable[[], float]

    def statuses(self) -> dict[str, ModelStatus]:
        """Every model of the deployment, with what became of its records."""
        scoring, phases = self.loop.status, dict(self.fetching.phases)
        return {
            model: msgspec.structs.replace(
                merge(scoring.get(model), phase),
                records=self.metrics.records[model],
                dead_letters=self.metrics.letters_of(model),
                delay_s=self.metrics.delay_of(model),
                swap_pause_s=self.metrics.swap_pauses.get(model),
            )
            for model, phase in phases.items()
        }

    def rejected(self) -> dict[str, int]:
        """How many notices were not believed, by reason; the other thread may be counting meanwhile."""
        foreign = {Rejection.OTHER_LEDGER.value: self.fetching.foreign} if self.fetching.foreign else {}
        return {**self.follower.rejected.copy(), **foreign}

    def view(self) -> View:
        """How the worker stands."""
        return view(self.loop.report, self.statuses(), self.silent_s(), LIVE_WITHIN_S)


def endpoint_of(settings: Settings, watched: Watched, instance: str, restarts: int) -> Endpoint | None:
    """The server of the worker's metrics and probes; None where none is wanted."""
    if not settings.metrics_port:
        return None
    source = Source(
        metrics=watched.metrics,
        view=watched.view,
        rejected=watched.rejected,
        cache=lambda: cache_state(settings.need_cache_dir()),
        info=(worker_id(settings), instance, settings.delivery, __version__),
        restarts=restarts,
    )
    return Endpoint(
        settings.metrics_address,
        settings.metrics_port + settings.slot,
        scraper=partial(exposition, source),
        view=watched.view,
        token=settings.need_metrics_token(settings.metrics_port),
    )


def cache_state(root: Path) -> CacheState | None:
    """What the cache directory holds; None where it cannot be looked into now."""
    try:
        bundles = [folder for folder in (root / "bundles").iterdir() if folder.is_dir()]
        size = sum(file.stat().st_size for folder in bundles for file in folder.iterdir() if file.is_file())
        return CacheState(len(bundles), size, disk_usage(root).free)
    except OSError:
        return None
