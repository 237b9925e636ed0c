"""The house's rules: what every DAG and task has, and a test checks."""

from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from baton_airflow.notify import BatonNotifier
from scoring.backfill.refusals import BackfillRefused, Superseded
from scoring.contract.alert import AlertKind
from scoring.contract.errors import ConfigurationError, ContractError, DecisionRefused
from training.errors import SnapshotDamaged, TrainingImpossible

OWNER = "baton"
TAG = "baton"
# How long a run may take; what it waits for a person comes on top.
RUN_LIMIT = timedelta(hours=6)

# What a person has to change is not tried again.
FINAL_ERRORS = (
    BackfillRefused,
    ConfigurationError,
    ContractError,
    DecisionRefused,
    SnapshotDamaged,
    Superseded,
    TrainingImpossible,
)
RETRY_POLICY = ExceptionRetryPolicy([RetryRule([*FINAL_ERRORS], RetryAction.FAIL, reason="a retry cannot help")])
TASK_DEFAULTS: dict[str, Any] = {
    "owner": OWNER,
    "retries": 3,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=5),
    "retry_policy": RETRY_POLICY,
    "execution_timeout": timedelta(hours=1),
    "on_failure_callback": [BatonNotifier(AlertKind.TASK_FAILED)],
}
# Of every DAG, for what fails without a task that fails: a run that takes too long, say.
RUN_FAILED = BatonNotifier(AlertKind.RUN_FAILED)
