"""The table of active bundles: what is live, and since which acknowledgement."""

from datetime import UTC, datetime
from uuid import UUID

from scoring.contract.acknowledgement import Outcome
from scoring.worker.models import ModelTable, Pending, Retired


def test_an_acknowledgement_that_is_committed_after_the_model_was_retired_does_not_make_it_live_again() -> None:
    table = ModelTable()
    table.live["small"] = 4
    late = Pending(
        model="small",
        ledger=UUID(int=7),
        sequence=5,
        version="5",
        digest="ab" * 32,
        noticed_at=datetime(2026, 3, 1, tzinfo=UTC),
        outcome=Outcome.LIVE,
    )
    table.apply(
        Retired(
            model="small",
            ledger=UUID(int=7),
            sequence=6,
            version="5",
            digest="ab" * 32,
            noticed_at=datetime(2026, 3, 1, tzinfo=UTC),
        )
    )
    table.settle(late)
    assert table.live == {}
