"""The real sink with clients and steps that follow a plan, or with a planted bug: see ``tests.support.fault_plan``."""

import faulthandler
import signal
import sys
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer

from scoring.contract.errors import ConfigurationError
from scoring.predictions import latest, writing
from scoring.predictions.writing import Batch, Tables
from scoring.settings import read_settings
from scoring.sink.process import Made, live
from tests.support.fault_plan import FaultPlan, planned

_CONSUMER = ("poll", "consume", "subscribe", "assign", "unassign", "get_watermark_offsets", "close")
_TABLES = ("identity", "begin", "write")
# Inside the transaction, by the function that does it.
_STEPS = {"moved": "_move", "appended": "_append", "replaced": "_replace_latest"}


def _both(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}.{when}" for name in names for when in ("before", "after"))


POINTS = _both(*_CONSUMER, *_TABLES, *_STEPS, "commit")


def main() -> int:
    """Run the sink as ``baton sink`` does; comes back with a wrong configuration only."""
    faulthandler.register(signal.SIGUSR2)
    plan = planned()
    if plan.bug is not None:
        BUGS[plan.bug]()
    _plant_steps(plan)
    try:
        live(read_settings(), Made(consumer=_consumer(plan), tables=_tables(plan)))
    except ConfigurationError as error:
        print(f"configuration: {error}", file=sys.stderr)
        return 2


def _consumer(plan: FaultPlan) -> Callable[[dict[str, Any]], Consumer]:
    return type("Faulty", (Consumer,), {name: _around(plan, name, getattr(Consumer, name)) for name in _CONSUMER})


def _tables(plan: FaultPlan) -> Callable[[str], Tables]:
    for name in _TABLES:
        setattr(Tables, name, _around(plan, name, getattr(Tables, name)))
    return Tables.open


def _plant_steps(plan: FaultPlan) -> None:
    for point, name in _STEPS.items():
        setattr(writing, name, _around(plan, point, getattr(writing, name)))
    import sqlalchemy as sa

    commit = sa.engine.default.DefaultDialect.do_commit
    sa.engine.default.DefaultDialect.do_commit = _around(plan, "commit", commit)  # type: ignore[method-assign]


def _around(plan: FaultPlan, point: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def passes(*arguments: Any, **named: Any) -> Any:
        plan.reach(f"{point}.before")
        answer = call(*arguments, **named)
        plan.reach(f"{point}.after")
        return answer

    return passes


# --- planted bugs -------------------------------------------------------------------------------------------------


def _offsets_outside() -> None:
    """The offsets have a transaction of their own, before that of the rows."""
    write = Tables.write

    def apart(self: Tables, batch: Batch) -> None:
        write(self, Batch(batch.moves))
        write(self, Batch([], batch.predictions, batch.dead_letters, batch.unreadable))

    Tables.write = apart  # type: ignore[method-assign]


def _latest_by_arrival() -> None:
    """The prediction that came last is the latest of its key."""
    import sqlalchemy as sa

    vars(latest)["newer"] = lambda _row, _known: True
    vars(writing)["newer_in_sql"] = lambda _row, _known: sa.true()


def _no_compare_and_set() -> None:
    """Offsets are set, whatever they were."""
    from scoring.predictions import tables

    def moves(connection: Any, wanted: Any) -> None:
        columns = tables.offsets.c
        for move in sorted(wanted):
            place = (columns.topic_id == move.partition.topic_id) & (columns.topic_partition == move.partition.number)
            connection.execute(tables.offsets.update().where(place).values(next_offset=move.next_offset))

    vars(writing)["_move"] = moves


BUGS: dict[str, Callable[[], None]] = {
    "offsets-outside": _offsets_outside,
    "latest-by-arrival": _latest_by_arrival,
    "no-compare-and-set": _no_compare_and_set,
}


if __name__ == "__main__":
    sys.exit(main())
