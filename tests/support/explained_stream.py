"""A stream whose versions stand in a ledger, and whose scores depend on what was looked up."""

from datetime import timedelta
from pathlib import Path

import msgspec

from scoring.contract.features import FeatureSchema
from scoring.contract.notice import Kind
from scoring.promotion.ledger import Ledger
from tests.support.bundles import MOMENT, small_schema
from tests.support.decisions import proposal
from tests.support.ground import WEATHER, Ground, Warehouse


class ExplainedStream(Ground):
    """A ground with a ledger and a warehouse."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        super().__init__(bootstrap, folder)
        self.book = Ledger.open(f"sqlite:///{folder / 'ledger.db'}")
        self.ledger = self.book.identity()
        self.warehouse = Warehouse(folder / "warehouse.db")
        self.warehouse.observe([("red", MOMENT - timedelta(hours=1), 0.25), ("blue", MOMENT - timedelta(hours=1), 3.5)])
        self.variables |= {
            "BATON_CONNECTIONS__WAREHOUSE": self.warehouse.url,
            "BATON_LEDGER_URL": f"sqlite:///{folder / 'ledger.db'}",
        }

    def decide(self, version: int, kind: Kind = Kind.PROMOTE) -> None:
        """Enter a decision, announce it, and wait until it is live, where there is a worker already."""
        if version not in self.digests:
            self.register_as(version, by_wind() if version % 2 else small_schema())
        head = self.book.head(self.model)
        parent = head.sequence if head else 0
        self.book.decide(
            proposal(
                str(version), parent=parent, model=self.model, kind=kind, digest=self.digests[version], forced=True
            )
        )
        self.notify(parent + 1, version, kind=kind)
        if self.workers:
            self.wait_for_state("live", sequence=parent + 1)


def by_wind() -> FeatureSchema:
    """The wind is the first feature, which the tree asks about."""
    schema = small_schema((WEATHER,))
    return msgspec.structs.replace(schema, features=tuple(reversed(schema.features)))
