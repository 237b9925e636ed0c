"""Repair: makes the copies of the ledger's heads, alias and notice, equal to them again (protocol A.6)."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import structlog
from airflow.sdk import DAG, DeltaTriggerTimetable, task

from baton_airflow.house import RUN_FAILED, TAG, TASK_DEFAULTS
from scoring.contract.errors import Unavailable
from scoring.settings import read_settings

log = structlog.get_logger(__name__)

Json = Any
INTERVAL = timedelta(minutes=15)
_HOW = """
The ledger decides which version scores. The registry's alias and the notice in Kafka are copies of its newest entry,
made after it. This DAG compares them for every model and mends what differs, for example after a promotion was killed
half way. It never decides anything, and finds nothing to do on most days.
"""


def repair_models(models: Sequence[str] | None = None) -> Json:
    """Repair the copies of each model's head. Returns what was done, by model; models without an entry need nothing.

    Args:
        models: None is all that the ledger knows, whether their definitions can be loaded or not.

    Raises:
        Unavailable: the ledger, the registry or the broker cannot be reached; what could be repaired was.
    """
    # Imported when it runs: the DAG processor reads this file every few minutes.
    from scoring.promotion.ledger import Ledger  # noqa: PLC0415
    from scoring.promotion.notices import KafkaNotices  # noqa: PLC0415
    from scoring.promotion.repair import repair_all  # noqa: PLC0415
    from scoring.registry.open import open_registry  # noqa: PLC0415

    settings = read_settings()
    ledger = Ledger.open(settings.need_ledger_url())
    decided = ledger.models() if models is None else [model for model in models if ledger.head(model) is not None]
    if not decided:
        log.info("nothing to repair", models=models, reason="the ledger has no entry yet")
        return {}
    registry = open_registry(settings.need_registry_uri())
    board = KafkaNotices(settings.need_kafka(), settings.need_keyring(), ledger)
    done = repair_all(decided, ledger, registry, board)
    for repaired in done:
        log.info("repaired" if repaired.actions else "in order", **msgspec.to_builtins(repaired))
    failed = [f"{repaired.model}: {repaired.error}" for repaired in done if repaired.error]
    if failed:
        raise Unavailable("not repaired: " + "; ".join(failed))
    return {repaired.model: msgspec.to_builtins(repaired) for repaired in done}


def build_reconcile_dag() -> DAG:
    """The DAG ``baton_reconcile``, which repairs the copies of all models every quarter of an hour."""
    with DAG(
        dag_id="baton_reconcile",
        description="Makes alias and notice of every model equal to the ledger's head",
        doc_md=_HOW,
        schedule=DeltaTriggerTimetable(INTERVAL),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=INTERVAL,
        is_paused_upon_creation=False,
        default_args=TASK_DEFAULTS,
        on_failure_callback=RUN_FAILED,
        tags={TAG},
    ) as dag:
        task(task_id="repair")(repair_models)()
    return dag
