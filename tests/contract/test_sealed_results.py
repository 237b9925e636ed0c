"""A sealed result counts after the databases that Airflow keeps it in."""

import json
import math
from typing import Any

import pytest
import sqlalchemy as sa

from baton_airflow.seals import Seals
from scoring.contract.envelope import Keyring
from scoring.contract.verdict import Judgement, Verdict
from tests.support.postgres import MakeDatabase
from training.results import Gated

# What a first model's not-worse gate allows is -0.0; the others are what gates may measure.
NUMBERS = (-0.0, 0.0, 72.0, 0.1, -1e-7, 5e-324, 1e16, 2.0**53 + 2, 1.7976931348623157e308, math.pi)


@pytest.fixture(params=["json", "jsonb"])
def stored(request: pytest.FixtureRequest, make_postgres_database: MakeDatabase) -> Any:
    """What becomes of a document in PostgreSQL."""
    engine = sa.create_engine(make_postgres_database(), poolclass=sa.NullPool)

    def there_and_back(document: Any) -> Any:
        with engine.connect() as connection:
            text = sa.text(f"select cast(cast(:document as {request.param}) as text)")
            return json.loads(connection.execute(text, {"document": json.dumps(document)}).scalar_one())

    return there_and_back


def test_a_result_keeps_its_seal_in_a_database_that_writes_numbers_its_own_way(stored: Any) -> None:
    verdicts = tuple(
        Verdict(gate=f"gate-{place}", judgement=Judgement.PASS, sentence="é", value=number, limit=-number)
        for place, number in enumerate(NUMBERS)
    )
    result = Gated(verdicts=verdicts, sentence="accepted", red=False, parent=0)
    seals = Seals(Keyring("k1", {"k1": b"1" * 32}), "fare", "r1")
    assert seals.take(Gated, "gates", stored(seals.give("gates", result))) == result
