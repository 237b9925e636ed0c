"""The API on a loopback port, in this process: all of it but for what brings bundles, which tests hand over."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self
from uuid import UUID

import httpx
import msgspec
import uvicorn
import uvloop

from scoring.api.app import guarded, make_app
from scoring.api.connection import BoundedProtocol, bounded
from scoring.api.explanations import ExplainRoutes, Explanations
from scoring.api.hand import Limits
from scoring.api.intake import Intake
from scoring.api.metrics import ApiMetrics, Source, exposition
from scoring.api.prediction_routes import PredictionRoutes
from scoring.api.read_routes import ReadRoutes
from scoring.api.score_routes import ScoreRoutes
from scoring.api.scoring import Scoring
from scoring.api.server import listening
from scoring.api.service import Service
from scoring.api.tokens import Scope, TokenFile, make_token
from scoring.api.versions import Versions
from scoring.contract.encoder import Column, Columns
from scoring.contract.features import FeatureSchema
from scoring.contract.heartbeat import State
from scoring.lookups.port import LookupSource
from scoring.predictions.reading import Predictions
from scoring.scorer.bundle import Bundle
from scoring.scorer.scorer import Scorer
from scoring.settings import Settings
from scoring.worker.emit import Emitter
from scoring.worker.fetching import Phase
from scoring.worker.models import Active, Arrival, Pending, Retired
from tests.support.bundles import small_bundle, small_record

MOMENT = datetime(2026, 3, 1, tzinfo=UTC)
LEDGER = UUID(int=7)
METRICS_TOKEN = "m" * 20


class NoLookups:
    """A source for bundles that look nothing up."""

    def resolve(self, schema: FeatureSchema, columns: Columns, rows: int) -> dict[str, Column]:
        assert not schema.lookups
        assert all(len(column) == rows for column in columns.values())
        return {}


class Held(NoLookups):
    """A source that answers only once it is let go: what is being scored meanwhile is."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.go_on = threading.Event()

    def resolve(self, schema: FeatureSchema, columns: Columns, rows: int) -> dict[str, Column]:
        self.asked.release()
        assert self.go_on.wait(60)
        return super().resolve(schema, columns, rows)


def active_of(bundle: Bundle, sequence: int = 1, version: str | None = None, scorer: Scorer | None = None) -> Active:
    """A bundle as the fetching side hands it over."""
    named, model = version or str(sequence), bundle.manifest.model
    emitter = Emitter(bundle.manifest, version=named, sequence=sequence, digest=bundle.digest)
    return Active(model, LEDGER, sequence, named, bundle.digest, MOMENT, scorer or Scorer(bundle), emitter)


def records(*numbers: int, **changes: object) -> dict[str, Any]:
    """The body of a request for small records."""
    made = [msgspec.to_builtins({**small_record(number), **changes}) for number in numbers]
    return {"records": made}


class Served:
    """The API of the models ``small`` and ``other``, on a port of its own.

    Attributes:
        arrivals: what the fetching side brings.
        settled: what was told back to it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        lookups: LookupSource | None = None,
        clock_s: Callable[[], float] = time.time,
        **settings: Any,
    ) -> None:
        self.folder = folder
        path = folder / "tokens.json"
        self.reader = make_token(path, "reader", [Scope.READ])
        self.scorer = make_token(path, "scorer", [Scope.SCORE])
        self.both = make_token(path, "both", [Scope.READ, Scope.SCORE])
        unhurried = {"api_deadline_ms": 60_000, "api_explain_deadline_ms": 100_000, **settings}
        self.settings = Settings(api_tokens_file=path, models=("small", "other"), **unhurried)
        self.arrivals: SimpleQueue[Arrival] = SimpleQueue()
        self.settled: list[Pending] = []
        self.phases = {"small": Phase(State.WAITING), "other": Phase(State.WAITING)}
        self.metrics = ApiMetrics()
        self.versions = Versions()
        self.explanations = Explanations(self.settings.api_explanations)
        self._lookups = lookups or NoLookups()
        self._clock_s = clock_s
        self._bound = listening("127.0.0.1", 0)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run_all, daemon=True)
        self.url = f"http://127.0.0.1:{self._bound.getsockname()[1]}"
        self.scoring: Scoring
        self.read: ReadRoutes
        self.service: Service
        self._server: uvicorn.Server

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join(60)
        self.scoring.stop()
        self.explanations.close()
        self.read.close()
        self._bound.close()

    def stop(self) -> None:
        """Tell the server to end once it has answered."""
        self._server.should_exit = True

    def connections(self) -> list[Any]:
        """Those that are open."""
        return list(self._server.server_state.connections)

    def client(self, token: str | None = None, **headers: str) -> httpx.Client:
        """A client with a token, by default one that may do everything."""
        shown = {"Authorization": f"Bearer {self.both if token is None else token}"} if token != "" else {}
        return httpx.Client(base_url=self.url, headers={**shown, **headers}, timeout=100)

    def bring(self, arrival: Arrival) -> None:
        """Hand over what the fetching side brings, and wait until it counts."""
        before = len(self.settled)
        self.arrivals.put(arrival)
        wait_until(lambda: len(self.settled) > before)

    def promote(self, version: int = 1, bundle: Bundle | None = None) -> Active:
        """Let a version of the model ``small`` be live."""
        active = active_of(bundle or small_bundle(self.folder / f"bundle-{version}", version), version)
        self.bring(active)
        return active

    def retire(self, active: Active) -> None:
        """Take a model out of service."""
        sequence = active.sequence + 1
        self.bring(Retired(active.model, LEDGER, sequence, active.version, active.digest, MOMENT))

    def _run_all(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        settings = self.settings
        self.scoring = Scoring(
            arrivals=self.arrivals,
            settled=self.settled.append,
            lookups=self._lookups,
            maximum_batch_records=settings.maximum_batch_records,
            metrics=self.metrics,
            loop=loop,
        )
        limits = Limits(requests=settings.api_requests, records=settings.api_records, size_bytes=settings.api_bytes)
        self.service = Service(
            scoring=self.scoring,
            phases=lambda: self.phases,
            limits=limits,
            metrics=self.metrics,
            clock_s=self._clock_s,
        )
        source = Source(
            metrics=self.metrics,
            hand=self.service.hand,
            statuses=self.service.statuses,
            ready=lambda: not self.service.why_not_ready(),
            rejected=dict,
            cache=lambda: None,
            process="test/api-0",
            instance="i",
        )
        self.read = ReadRoutes(self.service, self.versions, partial(exposition, source))
        predictions = PredictionRoutes(lambda: Predictions.open(settings.need_predictions_url()))
        score = ScoreRoutes(self.service, settings)
        explain = ExplainRoutes(self.explanations, settings.need_models(), settings.api_explain_deadline_ms)
        app = guarded(
            make_app(score, self.read, predictions, explain),
            score,
            tokens=TokenFile(self.folder / "tokens.json"),
            metrics_token=METRICS_TOKEN,
            service=self.service,
            settings=settings,
        )
        self.intake = Intake(loop)
        http = bounded(BoundedProtocol.room, app.at_once, self.intake)
        self._server = uvicorn.Server(
            uvicorn.Config(app, http=http, ws="none", lifespan="off", access_log=False, log_config=None)
        )
        self.scoring.start()
        self._ready.set()
        await self._server._serve([self._bound])


def wait_until(condition: Any, timeout_s: float = 30.0) -> None:
    """Wait for a condition."""
    asked = threading.Event()
    for _ in range(int(timeout_s / 0.005)):
        if condition():
            return
        asked.wait(0.005)
    raise AssertionError("it did not come to be")


def scores_of(answer: httpx.Response) -> Sequence[float]:
    """The scores of a request that was answered as it asked to be."""
    assert answer.status_code == 200, answer.text
    return [each["score"] for each in answer.json()["predictions"]]
