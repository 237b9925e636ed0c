"""The parts of a process that serves the API, put together; they are started, run and ended in order."""

import asyncio
from functools import partial
from uuid import uuid4

import structlog

from scoring.api.app import guarded, make_app
from scoring.api.explanations import ExplainRoutes, Explanations
from scoring.api.hand import Limits
from scoring.api.metrics import ApiMetrics, Source, exposition
from scoring.api.prediction_routes import PredictionRoutes
from scoring.api.read_routes import ReadRoutes
from scoring.api.score_routes import ScoreRoutes
from scoring.api.scoring import Scoring
from scoring.api.service import Service
from scoring.api.tokens import TokenFile
from scoring.api.versions import Versions
from scoring.contract.errors import Rejection
from scoring.lookups.topic import TopicLookups
from scoring.predictions.reading import Predictions
from scoring.service.endpoint import Endpoint
from scoring.settings import Settings
from scoring.worker.cache import Cache
from scoring.worker.clients import Clients, follower_settings, lookup_settings
from scoring.worker.directory import check_lookups
from scoring.worker.fetching import Fetching
from scoring.worker.follower import Follower
from scoring.worker.readiness import LIVE_WITHIN_S, View
from scoring.worker.supply import fetch_process_of, lookups_of
from scoring.worker.watched import cache_state

log = structlog.get_logger()


def process_id(settings: Settings) -> str:
    """``deployment/api.slot``: the name of a process of the API for ever, which no worker can have."""
    return f"{settings.deployment}/api.{settings.slot}"


class Serving:
    """The parts around the application.

    Args:
        loop: the event loop that the application runs in.

    Attributes:
        app: the application.
    """

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop, made: Clients | None = None) -> None:
        clients, name = made or Clients(), process_id(settings)
        self._metrics, self._instance = ApiMetrics(), uuid4().hex
        self._fetch_process = fetch_process_of(settings)
        self._topic_lookups = TopicLookups(lambda: clients.consumer(lookup_settings(settings, name)))
        self._fetching = Fetching(
            models=settings.need_models(),
            cache=Cache(settings.need_cache_dir(), name),
            fetch=self._fetch_process.fetch,
            trial=self._fetch_process.try_bundle,
            check=partial(check_lookups, lookups=lookups_of(settings, self._topic_lookups)),
        )
        self._follower = Follower(
            lambda: clients.consumer(follower_settings(settings, name)),
            settings.need_keyring(),
            self._fetching.offer,
            lambda: self._fetching.memory.ledger,
            self._fetching.caught_up,
        )
        self._scoring = Scoring(
            arrivals=self._fetching.arrivals,
            settled=self._fetching.settled,
            lookups=lookups_of(settings, self._topic_lookups),
            maximum_batch_records=settings.maximum_batch_records,
            metrics=self._metrics,
            loop=loop,
        )
        self._service = Service(
            scoring=self._scoring,
            phases=lambda: self._fetching.phases,
            limits=Limits(requests=settings.api_requests, records=settings.api_records, size_bytes=settings.api_bytes),
            metrics=self._metrics,
        )
        self._predictions = PredictionRoutes(lambda: Predictions.open(settings.need_predictions_url()))
        self._explanations = ExplainRoutes(
            Explanations(settings.api_explanations), settings.need_models(), settings.api_explain_deadline_ms
        )
        source = self._source(settings, name)
        self._read = ReadRoutes(self._service, Versions(), partial(exposition, source))
        score = ScoreRoutes(self._service, settings)
        self.app = guarded(
            make_app(score, self._read, self._predictions, self._explanations),
            score,
            tokens=TokenFile(settings.need_tokens_file()),
            metrics_token=settings.need_metrics_token(0),  # the API's own port asks everybody for a token
            service=self._service,
            settings=settings,
        )
        self._endpoint = self._own_endpoint(settings, source)

    def start(self) -> None:
        """Start everything that runs beside the event loop."""
        if self._endpoint is not None:
            self._endpoint.start()
        self._scoring.start()
        self._fetching.start()
        self._follower.start()

    def stop(self) -> None:
        """End it: what was taken is scored before."""
        self._fetch_process.close()
        self._follower.stop()
        self._fetching.stop()
        self._scoring.stop()
        self._topic_lookups.close()
        self._predictions.close()
        self._explanations.close()
        self._read.close()
        if self._endpoint is not None:
            self._endpoint.stop()

    def silent_s(self) -> float:
        """How long the scoring thread has not come round, in seconds."""
        return self._service.silent_s()

    def _source(self, settings: Settings, name: str) -> Source:
        return Source(
            metrics=self._metrics,
            hand=self._service.hand,
            statuses=self._service.statuses,
            ready=lambda: not self._service.why_not_ready(),
            rejected=self._rejected,
            cache=lambda: cache_state(settings.need_cache_dir()),
            process=name,
            instance=self._instance,
        )

    def _rejected(self) -> dict[str, int]:
        foreign = {Rejection.OTHER_LEDGER.value: self._fetching.foreign} if self._fetching.foreign else {}
        return {**self._follower.rejected.copy(), **foreign}

    def _own_endpoint(self, settings: Settings, source: Source) -> Endpoint | None:
        """Of several processes on one port nobody knows which one answers: this one is asked by itself."""
        if not settings.api_metrics_port:
            return None
        return Endpoint(
            settings.metrics_address,
            settings.api_metrics_port + settings.slot,
            scraper=partial(exposition, source),
            view=self._view,
            token=settings.need_metrics_token(settings.api_metrics_port),
        )

    def _view(self) -> View:
        why_not = tuple(self._service.why_not_ready())
        return View(
            live=self.silent_s() <= LIVE_WITHIN_S,
            silent_s=self.silent_s(),
            models=self._service.statuses(),
            why_not=why_not,
        )
