"""The bodies of the tasks: each calls one step of the pipeline and hands its result on through XCom.

What a task returns is the step's result as small JSON. A task that ends red hands its result on first, so that the
verdicts stay readable, in the UI and through the REST API, whatever the run's end is.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
import structlog
from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException

from baton_airflow.request import run_request
from scoring.contract.verdict import Judgement, Verdict
from scoring.settings import Settings, read_settings
from training import pipeline
from training.definition import ModelDefinition
from training.results import (
    Evaluated,
    Gated,
    Promoted,
    Pulled,
    Registered,
    Result,
    RunRequest,
    SnapshotRef,
    Trained,
    Validated,
    from_json,
    to_json,
)

log = structlog.get_logger(__name__)

Json = Any
RESULT = "result"
"""XCom key of the results of tasks that branch, whose return value is the name of the next task."""
VERDICTS = "verdicts"
"""XCom key of the gates' verdicts: a list of gate, judgement, sentence, value, limit."""
RETURNED = "return_value"

PROMOTE, ANNOUNCE, REFUSED = "promote", "announce", "refused"


class Steps:
    """The steps of one model's DAG.

    Args:
        context: gives Airflow's ``dag_run``, ``params`` and ``ti`` of the running task.
    """

    def __init__(
        self, definition: ModelDefinition, context: Callable[[], Mapping[str, Any]] = get_current_context
    ) -> None:
        self._definition = definition
        self._context = context

    def pull(self) -> Json:
        """Read the interval's rows from the source, with lookups as of each event."""
        request, settings = self._asked()
        return _json(pipeline.pull(self._definition, request, settings))

    def snapshot(self, pulled: Json) -> Json:
        """Keep the rows under the hash of their content."""
        request, settings = self._asked()
        return _json(pipeline.snapshot(self._definition, request, settings, from_json(Pulled, pulled)))

    def validate(self, snapshot: Json) -> Json:
        """Hold the rows against the model's Great Expectations suite. Red when they do not fit."""
        request, settings = self._asked()
        found = pipeline.validate(self._definition, request, settings, from_json(SnapshotRef, snapshot))
        for sentence in found.failed:
            log.error("expectation failed", sentence=sentence)
        if found.verdict.judgement is not Judgement.PASS:
            self._hand_on(RETURNED, _json(found))
            self._tell([found.verdict])
            raise AirflowFailException(f"the data are refused: {found.verdict.sentence}")
        return _json(found)

    def train(self, snapshot: Json, validated: Json) -> Json:
        """Fit on everything before the holdout and compile to ONNX."""
        request, settings = self._asked()
        rows, checked = from_json(SnapshotRef, snapshot), from_json(Validated, validated)
        return _json(pipeline.train(self._definition, request, settings, rows, checked))

    def evaluate(self, snapshot: Json, trained: Json) -> Json:
        """Score the holdout with the candidate, its compiled form and the champion."""
        request, settings = self._asked()
        rows, candidate = from_json(SnapshotRef, snapshot), _maybe(Trained, trained)
        return _json(pipeline.evaluate(self._definition, request, settings, rows, candidate))

    def gates(self, validated: Json, evaluated: Json) -> Json:
        """Hold the evidence against every gate. Red when somebody has to look into it."""
        request, settings = self._asked()
        if validated is None:
            raise AirflowFailException("there is nothing to judge: the run failed earlier, see its first red task")
        checked, evidence = from_json(Validated, validated), _maybe(Evaluated, evaluated)
        gated = pipeline.gates(self._definition, request, settings, checked, evidence)
        self._tell(gated.verdicts)
        if gated.red:
            self._hand_on(RETURNED, _json(gated))
            raise AirflowFailException(gated.sentence)
        log.info("accepted" if gated.accepted else "refused", sentence=gated.sentence)
        return _json(gated)

    def register(self, snapshot: Json, trained: Json, evaluated: Json, gated: Json) -> str:
        """Keep the run's evidence in the registry, and an accepted candidate's bundle as a version."""
        request, settings = self._asked()
        if gated is None:
            raise AirflowFailException("there is nothing to register: no gate has judged, see the first red task")
        judged = from_json(Gated, gated)
        registered = pipeline.register(
            self._definition,
            request,
            settings,
            from_json(SnapshotRef, snapshot),
            _maybe(Trained, trained),
            _maybe(Evaluated, evaluated),
            judged,
        )
        self._hand_on(RESULT, _json(registered))
        # After a red gate the promotion is not skipped, which would end the run green: it fails with its upstream.
        return PROMOTE if judged.accepted or judged.red else REFUSED

    def promote(self, gated: Json, registered: Json) -> str:
        """Insert the ledger's next entry: this is the decision."""
        request, settings = self._asked()
        judged, version = from_json(Gated, gated), from_json(Registered, registered)
        promoted = pipeline.promote(self._definition, request, settings, judged, version)
        self._hand_on(RESULT, _json(promoted))
        if promoted.sequence is None:
            log.warning("refused", sentence=promoted.refused)
            return REFUSED
        log.info("promoted", sequence=promoted.sequence, version=promoted.version)
        return ANNOUNCE

    def announce(self, promoted: Json) -> Json:
        """Make the registry's alias and the notice equal to the ledger's head."""
        request, settings = self._asked()
        return _json(pipeline.announce(self._definition, request, settings, from_json(Promoted, promoted)))

    def wait_for_workers(self, promoted: Json) -> Json:
        """Wait until every live worker scores with the new version. Red when one refuses it or the limit is over."""
        request, settings = self._asked()
        waited = pipeline.wait(self._definition, request, settings, from_json(Promoted, promoted))
        if waited is not None and not waited.green:
            self._hand_on(RETURNED, _json(waited))
            raise AirflowFailException(waited.sentence)
        log.info("finished", sentence=waited.sentence if waited else None)
        return _json(waited)

    def _asked(self) -> tuple[RunRequest, Settings]:
        context = self._context()
        return run_request(self._definition, context["dag_run"], context["params"]), read_settings()

    def _hand_on(self, key: str, value: Json) -> None:
        self._context()["ti"].xcom_push(key, value)

    def _tell(self, verdicts: Iterable[Verdict]) -> None:
        """Put every verdict into the log and into XCom."""
        told = list(verdicts)
        for verdict in told:
            write = log.info if verdict.judgement is Judgement.PASS else log.error
            write("gate", gate=verdict.gate, judgement=verdict.judgement.value, sentence=verdict.sentence)
        self._hand_on(VERDICTS, [_json(verdict) for verdict in told])


def _json(result: msgspec.Struct | None) -> Json:
    """The result as JSON and nothing else: Airflow would wrap a tuple, which no reader of the REST API expects."""
    return msgspec.json.decode(msgspec.json.encode(to_json(result)))


def _maybe(kind: type[Result], value: Json) -> Result | None:
    return None if value is None else from_json(kind, value)
