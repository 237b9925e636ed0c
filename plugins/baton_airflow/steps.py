"""The bodies of the tasks: each calls one step of the pipeline and hands its result on through XCom.

What a task returns is the step's result as small JSON. A task that ends red hands its result on first, so that the
verdicts stay readable, in the UI and through the REST API, whatever the run's end is.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

import structlog
from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException

from baton_airflow import question
from baton_airflow.connections import from_airflow
from baton_airflow.notify import tell_refused
from baton_airflow.pulls import not_pulled
from baton_airflow.request import run_request
from baton_airflow.seals import Seals, plain
from scoring.contract import errors
from scoring.contract.errors import ConfigurationError, Unavailable
from scoring.contract.verdict import Judgement, Verdict
from scoring.settings import Settings, read_settings
from training import pipeline
from training.definition import ModelDefinition
from training.refusals import Refusal
from training.results import (
    Answered,
    Evaluated,
    Gated,
    Kept,
    Promoted,
    Pulled,
    PulledSource,
    Purpose,
    Refused,
    Registered,
    Result,
    RunRequest,
    SnapshotRef,
    Trained,
    Validated,
    Waited,
    from_json,
)
from training.tunable import tuned

log = structlog.get_logger(__name__)

Json = Any
RESULT = "result"
"""XCom key of the results of tasks that branch, whose return value is the name of the next task."""
VERDICTS = "verdicts"
"""XCom key of the gates' verdicts: a list of gate, judgement, sentence, value, limit."""
RETURNED = "return_value"
FORESEEN = "foreseen"
"""XCom key of the refusal that needs no person's answer."""
NOT_PULLED = "not_pulled"
"""XCom key of the reason why a source could not be pulled."""

PULL, ASSEMBLE = "pull", "assemble"
SNAPSHOT, VALIDATE, TRAIN, EVALUATE = "snapshot", "validate", "train", "evaluate"
GATES, REGISTER, APPROVE, PROMOTE = "gates", "register", "approve", "promote"
ANNOUNCE, WAIT, REFUSED, KEEP = "announce", "wait_for_workers", "refused", "keep"
# Handing a wait over and taking it back costs two starts of a process, so the task looks by itself for a moment.
LOOK_S = 5.0
# Keys of the trigger's event: what became of the wait, or why it could not be watched and whether a retry may help.
WAITED, ERROR, AGAIN = "waited", "error", "again"


class Asked(NamedTuple):
    """What every step of the pipeline begins with.

    Attributes:
        definition: with the estimator's parameters that the run's form sets.
    """

    definition: ModelDefinition
    request: RunRequest
    settings: Settings


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

    def pull(self, source: str) -> Json:
        """Read one source's rows of the interval, unless they were pulled before."""
        try:
            pulled = pipeline.pull_source(*self._asked(), source)
        except Exception as error:
            why = errors.sentence(str(error) or type(error).__name__)
            self._hand_on(NOT_PULLED, why)
            log.warning("not pulled", source=source, sentence=why)
            raise
        log.info("pulled", source=source, rows=pulled.rows, newest=pulled.newest, sentence=pulled.sentence)
        return plain(pulled)

    def assemble(self, pulled: Json) -> Json:
        """Make records of what was pulled of all sources. Red, with their names, where some were not pulled."""
        found = [from_json(PulledSource, each) for each in pulled]
        reasons = partial(self._handed_on, PULL, NOT_PULLED)
        lacking = not_pulled(self._definition, {each.source for each in found}, reasons)
        if lacking is not None:
            raise AirflowFailException(lacking)
        return plain(pipeline.assemble(*self._asked(), found))

    def snapshot(self, pulled: Json) -> Json:
        """Keep the rows under the hash of their content."""
        return self._seals().give(SNAPSHOT, pipeline.snapshot(*self._asked(), from_json(Pulled, pulled)))

    def validate(self, snapshot: Json) -> Json:
        """Hold the rows against the model's Great Expectations suite. Red when they do not fit."""
        seals = self._seals()
        found = pipeline.validate(*self._asked(), seals.take(SnapshotRef, SNAPSHOT, snapshot))
        for sentence in found.failed:
            log.error("expectation failed", sentence=sentence)
        validated = seals.give(VALIDATE, found, snapshot)
        if found.verdict.judgement is not Judgement.PASS:
            self._hand_on(RETURNED, validated)
            self._tell([found.verdict])
            again = "once a source is mended, start a run that pulls again"
            raise AirflowFailException(f"the data are refused: {found.verdict.sentence}; {again}")
        return validated

    def train(self, snapshot: Json, validated: Json) -> Json:
        """Fit on everything before the holdout and compile to ONNX."""
        seals = self._seals()
        rows = seals.take(SnapshotRef, SNAPSHOT, snapshot)
        checked = seals.take_over(Validated, VALIDATE, validated, snapshot)
        trained = pipeline.train(*self._asked(), rows, checked)
        if trained is not None and trained.reused:
            log.info("reused", sentence="an earlier run trained this candidate from the same rows with the same code")
        return None if trained is None else seals.give(TRAIN, trained, snapshot)

    def evaluate(self, snapshot: Json, trained: Json) -> Json:
        """Score the holdout with the candidate, its compiled form and the champion."""
        seals = self._seals()
        rows = seals.take(SnapshotRef, SNAPSHOT, snapshot)
        candidate = None if trained is None else seals.take_over(Trained, TRAIN, trained, snapshot)
        evaluated = pipeline.evaluate(*self._asked(), rows, candidate)
        return None if evaluated is None else seals.give(EVALUATE, evaluated, snapshot, trained)

    def gates(self, validated: Json, evaluated: Json) -> Json:
        """Hold the evidence against every gate. Red when somebody has to look into it."""
        if validated is None:
            raise AirflowFailException("there is nothing to judge: the run failed earlier, see its first red task")
        seals = self._seals()
        checked = seals.take(Validated, VALIDATE, validated)
        evidence = None if evaluated is None else seals.take(Evaluated, EVALUATE, evaluated)
        judged = pipeline.gates(*self._asked(), checked, evidence)
        self._tell(judged.verdicts)
        gated = seals.give(GATES, judged, validated, evaluated)
        if judged.red:
            self._hand_on(RETURNED, gated)
            raise AirflowFailException(judged.sentence)
        log.info("accepted" if judged.accepted else "refused", sentence=judged.sentence)
        return gated

    def register(self, snapshot: Json, validated: Json, trained: Json, evaluated: Json, gated: Json) -> str:
        """Keep the run's evidence in the registry, and an accepted candidate's bundle as a version."""
        asked, seals = self._asked(), self._seals()
        if gated is None:
            raise AirflowFailException("there is nothing to register: no gate has judged, see the first red task")
        rows = seals.take(SnapshotRef, SNAPSHOT, snapshot)
        seals.take_over(Validated, VALIDATE, validated, snapshot)
        candidate = None if trained is None else seals.take_over(Trained, TRAIN, trained, snapshot)
        evidence = None if evaluated is None else seals.take_over(Evaluated, EVALUATE, evaluated, snapshot, trained)
        judged = seals.take_over(Gated, GATES, gated, validated, evaluated)
        registered = pipeline.register(*asked, rows, candidate, evidence, judged)
        self._hand_on(RESULT, seals.give(REGISTER, registered, gated))
        # After a red gate the promotion is not skipped, which would end the run green: it fails with its upstream.
        if not judged.accepted and not judged.red:
            return REFUSED
        if asked.request.purpose is not Purpose.PROMOTION and judged.accepted:
            return KEEP
        return self._asks(asked, judged, registered) if self._definition.approval else PROMOTE

    def keep(self, registered: Json) -> Json:
        """Say that the candidate is kept and was not meant to be promoted."""
        _, request, _ = self._asked()
        kept = self._seals().take(Registered, REGISTER, registered)
        why = "a dry run" if request.purpose is Purpose.DRY_RUN else "a backfill"
        again = f"; version {kept.version} is an earlier run's, of the same data and code" if kept.reused else ""
        log.info("kept", version=kept.version, sentence=f"every gate passed; {why} promotes nothing{again}")
        return plain(Kept(version=kept.version, purpose=request.purpose, reused=kept.reused))

    def _asks(self, asked: Asked, judged: Gated, registered: Registered) -> str:
        """The task that asks a person, who is not asked for what the ledger refuses whatever is said."""
        foreseen = pipeline.foresee(*asked, judged, registered)
        if foreseen is None:
            return APPROVE
        self._hand_on(FORESEEN, plain(foreseen))
        if foreseen.red:
            raise AirflowFailException(str(foreseen.refused))
        return REFUSED

    def question(self, gated: Json, evaluated: Json, registered: Json) -> tuple[str, str]:
        """What the person who approves is asked: a headline, and the evidence as Markdown."""
        _, request, _ = self._asked()
        seals = self._seals()
        judged = seals.take(Gated, GATES, gated)
        version = seals.take_over(Registered, REGISTER, registered, gated)
        evidence = None if evaluated is None else seals.take(Evaluated, EVALUATE, evaluated)
        return question.subject(self._definition, version), question.body(
            self._definition, request, judged, evidence, version
        )

    def candidate(self, registered: Json) -> str:
        """Digest of the candidate that a person is asked about."""
        digest = self._seals().take(Registered, REGISTER, registered).manifest_digest
        if digest is None:
            raise AirflowFailException("there is no candidate to approve: none was registered")
        return digest

    def answer(self, registered: Json, event: Mapping[str, Any], *, shown: str | None, approved: bool) -> None:
        """Hand on what the person answered, or that nobody did; it holds for the candidate that was shown.

        Args:
            shown: digest of that candidate; None where it is not on record.
        """
        digest = self.candidate(registered)
        unseen = question.unseen(digest, shown)
        if unseen:
            raise AirflowFailException(unseen)
        answered = question.answered(digest, event, approved=approved)
        write = log.info if answered.approved else log.warning
        write("answered", sentence=answered.sentence)
        self._hand_on(RESULT, self._seals().give(APPROVE, answered, registered))

    def promote(self, gated: Json, registered: Json) -> str:
        """Insert the ledger's next entry: this is the decision. Red when somebody has to look into a refusal."""
        seals = self._seals()
        judged = seals.take(Gated, GATES, gated)
        version = seals.take_over(Registered, REGISTER, registered, gated)
        said = self._handed_on(APPROVE) if self._definition.approval else None
        answered = None if said is None else seals.take_over(Answered, APPROVE, said, registered)
        promoted = pipeline.promote(*self._asked(), judged, version, answered)
        self._hand_on(RESULT, plain(promoted))
        if promoted.sequence is not None:
            log.info("promoted", sequence=promoted.sequence, version=promoted.version)
            return ANNOUNCE
        if promoted.red:
            raise AirflowFailException(str(promoted.refused))
        return REFUSED

    def announce(self, promoted: Json) -> Json:
        """Make the registry's alias and the notice equal to the ledger's head."""
        return plain(pipeline.announce(*self._asked(), from_json(Promoted, promoted)))

    def watch(self, promoted: Json) -> tuple[Json, timedelta]:
        """What the triggerer is to watch, None where nothing was promoted, and for how long at most."""
        from training.watch import utc_now, watch_for  # noqa: PLC0415  it loads clients

        limit = pipeline.CONVERGENCE_LIMIT
        return plain(watch_for(self._definition, from_json(Promoted, promoted), utc_now(), limit)), limit

    def look(self, watch: Json) -> Json:
        """What became of the wait where that shows within a few seconds, as it usually does; None otherwise."""
        from training.watch import Watch, Watcher  # noqa: PLC0415

        return plain(Watcher(from_json(Watch, watch)).look(LOOK_S))

    def watched(self, event: Mapping[str, Any]) -> Json:
        """What became of the wait. Red when a worker refused the version or the limit is over."""
        if ERROR in event:
            raise (Unavailable if event.get(AGAIN) else ConfigurationError)(str(event[ERROR]))
        waited = from_json(Waited, event[WAITED])
        if not waited.green:
            self._hand_on(RETURNED, plain(waited))
            raise AirflowFailException(waited.sentence)
        log.info("finished", sentence=waited.sentence)
        return plain(waited)

    def refuse(self) -> Json:
        """Say in the log and in the registry's run why the candidate was not promoted, and by what or whom."""
        settings = self._asked().settings
        why = self._why_refused()
        log.warning("refused", refusal=", ".join(why.refusals), sentence=why.sentence)
        registered = _maybe(Registered, self._handed_on(REGISTER))
        # What the gates refused was recorded as refused, and has no version.
        if registered is not None and registered.registry_run is not None and registered.version is not None:
            pipeline.record_refusal(settings, registered.registry_run, why)
        tell_refused(why, self._context())
        return plain(why)

    def _why_refused(self) -> Refused:
        promoted = _maybe(Promoted, self._handed_on(PROMOTE) or self._handed_on(REGISTER, FORESEEN))
        if promoted is not None and promoted.refused is not None:
            return Refused(refusals=(promoted.refusal or "",), sentence=promoted.refused)
        answered = _maybe(Answered, self._handed_on(APPROVE))
        if answered is not None:
            kind = Refusal.UNANSWERED if answered.by is None else Refusal.REJECTED
            return Refused(refusals=(kind,), sentence=answered.sentence, by=answered.by)
        gated = from_json(Gated, self._handed_on(GATES, RETURNED))
        against = tuple(verdict.gate for verdict in gated.verdicts if verdict.judgement is Judgement.FAIL)
        return Refused(refusals=against, sentence=gated.sentence)

    def _asked(self) -> Asked:
        context = self._context()
        request = run_request(self._definition, context["dag_run"], context["params"])
        settings = read_settings().looking_further(from_airflow)
        return Asked(tuned(self._definition, request.parameters), request, settings)

    def _seals(self) -> Seals:
        """Of this run."""
        run_id = str(self._context()["dag_run"].run_id)
        return Seals(read_settings().need_keyring(), self._definition.name, run_id)

    def _hand_on(self, key: str, value: Json) -> None:
        self._context()["ti"].xcom_push(key, value)

    def _handed_on(self, task_id: str, key: str = RESULT, place: int = -1) -> Json:
        """What another task of this run handed on; None where it did not run, or did not get so far.

        Args:
            place: of a mapped instance.
        """
        return self._context()["ti"].xcom_pull(task_ids=task_id, key=key, map_indexes=place)

    def _tell(self, verdicts: Iterable[Verdict]) -> None:
        """Put every verdict into the log and into XCom."""
        told = list(verdicts)
        for verdict in told:
            write = log.info if verdict.lets_through else log.error
            write("gate", gate=verdict.gate, judgement=verdict.judgement.value, sentence=verdict.sentence)
        self._hand_on(VERDICTS, [plain(verdict) for verdict in told])


def _maybe(kind: type[Result], value: Json) -> Result | None:
    return None if value is None else from_json(kind, value)
