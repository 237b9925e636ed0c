import pytest
from airflow.sdk import RetryAction

from baton_airflow.house import RETRY_POLICY
from scoring.contract.errors import BatonError, Unavailable
from training.errors import SnapshotDamaged, TrainingImpossible


@pytest.mark.parametrize("error", [SnapshotDamaged("gone"), TrainingImpossible("only one class")])
def test_an_error_that_no_retry_mends_fails_the_task_at_once(error: BatonError) -> None:
    assert RETRY_POLICY.evaluate(error, try_number=1, max_tries=3).action is RetryAction.FAIL


def test_a_system_that_is_away_is_tried_again() -> None:
    assert RETRY_POLICY.evaluate(Unavailable("away"), try_number=1, max_tries=3).action is RetryAction.DEFAULT
