"""The DAG ``baton_backfill``: a past period scored in mapped tasks, wherever Airflow's executor runs them. ::

    begin -> score [each part] -> end

What is scored with what, and what is refused, is ``scoring.backfill``'s business, the same as for the command.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import structlog
from airflow.sdk import DAG, Param, get_current_context, task
from airflow.sdk.definitions.param import ParamsDict

from baton_airflow.house import RUN_FAILED, RUN_LIMIT, TAG, TASK_DEFAULTS
from scoring.contract.errors import ConfigurationError

log = structlog.get_logger(__name__)

Json = Any
DAG_ID = "baton_backfill"
BEGIN, SCORE, END = "begin", "score", "end"
PARTS = 16
_TIME: dict[str, Any] = {"type": ["null", "string"], "format": "date-time"}
_TEXT: dict[str, Any] = {"type": ["null", "string"]}

_HOW = """
Scores the records of a past period with the versions that were champion then, or with one that is named, into a table
of its own beside the live ones: what the command `baton backfill` does, in tasks that Airflow's executor spreads over
its machines. Start it by hand with *Trigger*; its form asks which model and which period.

| task | |
|---|---|
| `begin` | works out which version scores when, refuses what looks ahead, and cuts the period into parts |
| `score` | scores the chunks of a part that are not done; an instance for each part |
| `end` | counts the rows once more, and says what it came to |

Every machine needs the settings of the registry, the ledger and the predictions' database, and reaches the sources. A
retry of any task is safe: a chunk is kept as a whole, with the note that it is done. It never touches live topics and
tables, the ledger or the champion.
"""


def build_backfill_dag() -> DAG:
    """The DAG ``baton_backfill``, one for all models; it is started by hand only."""
    with DAG(
        dag_id=DAG_ID,
        description="Scores a past period with the versions that were champion then",
        doc_md=_HOW,
        schedule=None,
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=RUN_LIMIT,
        is_paused_upon_creation=False,
        default_args=TASK_DEFAULTS,
        on_failure_callback=RUN_FAILED,
        tags={TAG},
    ) as dag:
        parts = task(task_id=BEGIN)(begin)()
        scored = task(task_id=SCORE)(score).expand(part=parts)
        scored >> task(task_id=END)(end)()
    dag.params = ParamsDict(form())
    return dag


def form() -> dict[str, Param]:
    """The form of a run."""
    return {
        "model": Param(
            "", type="string", title="Model", description="The model whose records are scored.", minLength=1
        ),
        "start": Param(None, title="From", description="Event time at which the period begins; included.", **_TIME),
        "end": Param(None, title="To", description="Event time at which the period ends; not included.", **_TIME),
        "version": Param(
            None,
            title="Version",
            description="Scores all of it with this one. Empty: with the champion of each event's time.",
            **_TEXT,
        ),
        "name": Param(
            None,
            title="Name",
            description="Part of the table's name. Empty: made of what is asked, so that asking again goes on.",
            **_TEXT,
        ),
        "from_topic": Param(
            False,
            type="boolean",
            title="From the topic",
            description="Takes the records from the input topic instead of the sources.",
        ),
        "allow_lookahead": Param(
            False,
            type="boolean",
            title="Allow look-ahead",
            description="Also scores with versions that may know something of the period, and marks these rows.",
        ),
        "parts": Param(
            PARTS,
            type="integer",
            minimum=1,
            maximum=1_000,
            title="Parts",
            description="How many tasks share the work, at the most.",
        ),
    }


def begin() -> Json:
    """Plan, and begin; the parts."""
    from scoring.backfill import cluster  # noqa: PLC0415  it loads clients, and DAG files are read all the time

    context = get_current_context()
    params, run = context["params"], context["dag_run"]
    actor = getattr(run, "triggering_user_name", None) or "airflow"
    parts = cluster.begin(*_asked(params), actor=f"{actor} by {DAG_ID}", run=run.run_id, parts=int(params["parts"]))
    log.info("begun", parts=len(parts), chunks=parts[-1].end)
    return [{"first": part.first, "end": part.end} for part in parts]


def score(part: Mapping[str, int]) -> Json:
    """Do the chunks of a part."""
    from scoring.backfill import cluster  # noqa: PLC0415

    context = get_current_context()
    told = cluster.do(*_asked(context["params"]), run=context["dag_run"].run_id, part=cluster.Part(**part))
    log.info("scored", chunks=told.chunks, rows=told.rows, failures=told.failures)
    return {"chunks": told.chunks, "rows": told.rows, "failures": told.failures}


def end() -> Json:
    """Take note that it is complete."""
    from scoring.backfill import cluster  # noqa: PLC0415

    context = get_current_context()
    _, place, _ = _asked(context["params"])
    found = cluster.end(place, run=context["dag_run"].run_id)
    log.info("complete", where=place.where, rows=found.rows, failures=found.failures, digest=found.digest)
    return {"where": place.where, "rows": found.rows, "failures": found.failures, "digest": found.digest}


def _asked(params: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """What is asked, where it is kept, and the settings."""
    from baton_airflow.connections import from_airflow  # noqa: PLC0415
    from scoring.backfill.asked import Origin, asked_for, name_of  # noqa: PLC0415
    from scoring.backfill.chunks import Place  # noqa: PLC0415
    from scoring.settings import read_settings  # noqa: PLC0415

    start, until = (_moment(params, name) for name in ("start", "end"))
    asked = asked_for(
        params["model"],
        start,
        until,
        origin=Origin.TOPIC if params["from_topic"] else Origin.SOURCES,
        version=params["version"] or None,
        allow_lookahead=params["allow_lookahead"],
    )
    settings = read_settings().looking_further(from_airflow)
    place = Place(model=asked.model, name=name_of(asked, params["name"] or None), url=settings.need_predictions_url())
    return asked, place, settings


def _moment(params: Mapping[str, Any], name: str) -> datetime:
    """A moment of the form.

    Raises:
        ConfigurationError: it is empty, or has no offset from UTC.
    """
    text = params[name]
    found = None if text is None else datetime.fromisoformat(text)
    if found is None or found.tzinfo is None:
        raise ConfigurationError(f"{name} is {text!r}; write a moment such as 2013-04-01T00:00:00Z")
    return found
