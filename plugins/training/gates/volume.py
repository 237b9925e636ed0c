"""Gate: no rows are missing, none are there several times, and the past is what it was."""

from scoring.contract.verdict import Judgement, Verdict
from training.definition import Gates
from training.gates.evidence import Evidence
from training.measured import DataFacts, SharedPeriod

NAME = "volume"
FEWEST_WEEKS = 3


def gate(evidence: Evidence) -> Verdict:
    """Enough rows, no thin week, and of the champion's time as many rows as its snapshot had, with the same values."""
    found, gates = evidence.data(), evidence.definition.gates
    for verdict in (_rows(found, gates), _weeks(found, gates)):
        if verdict is not None:
            return verdict
    shared = evidence.evaluation().shared_period
    return _then_and_now(shared, gates) or _rewritten(shared, gates) or _passed(found, shared)


def _rows(found: DataFacts, gates: Gates) -> Verdict | None:
    if found.usable_rows >= gates.minimum_rows:
        return None
    return _failed(
        f"the snapshot has {found.usable_rows:,} usable rows (of {found.rows:,}; the others lack the label or a "
        f"required field), at least {gates.minimum_rows:,} are required",
        found.usable_rows,
        gates.minimum_rows,
    )


def _weeks(found: DataFacts, gates: Gates) -> Verdict | None:
    """Only where there are enough weeks to tell a usual one."""
    if found.weeks < FEWEST_WEEKS:
        return None
    least = gates.thinnest_week * found.median_week_rows
    if found.median_week_rows > 0 and found.thinnest_week_rows >= least:
        return None
    return _failed(
        f"the seven days from {found.thinnest_week_start:%Y-%m-%d} has {found.thinnest_week_rows:,} usable rows, the "
        f"median week {found.median_week_rows:,.0f}; at least {gates.thinnest_week:.0%} of that is required",
        found.thinnest_week_rows,
        least,
    )


def _then_and_now(shared: SharedPeriod | None, gates: Gates) -> Verdict | None:
    if shared is None or shared.rows_then is None:
        return None
    least, most = gates.rows_as_before
    ratio = shared.rows_now / shared.rows_then if shared.rows_then else (1.0 if shared.rows_now == 0 else None)
    if ratio is not None and least <= ratio <= most:
        return None
    return _failed(
        f"of {shared.start:%Y-%m-%d} to {shared.end:%Y-%m-%d} there are {shared.rows_now:,} rows now, champion "
        f"{shared.version}'s snapshot had {shared.rows_then:,}; {least:g} to {most:g} times as many are allowed",
        ratio,
        least if ratio is not None and ratio < least else most,
    )


def _rewritten(shared: SharedPeriod | None, gates: Gates) -> Verdict | None:
    """A column that was rewritten: another unit, another join, labels of other rows."""
    most = 1.0 - gates.values_as_before
    if shared is None or not shared.changed:
        return None
    name, share = max(shared.changed.items(), key=lambda each: each[1])
    if 1.0 - share >= gates.values_as_before:
        return None
    others = sum(1.0 - each < gates.values_as_before for each in shared.changed.values()) - 1
    more = f" (and {others} more columns)" if others else ""
    return _failed(
        f"{name!r} has another value now in {share:.0%} of the {shared.common_rows:,} rows that champion "
        f"{shared.version}'s snapshot has as well; {most:.0%} is allowed{more}",
        share,
        most,
    )


def _passed(found: DataFacts, shared: SharedPeriod | None) -> Verdict:
    sentence = f"{found.usable_rows:,} usable rows"
    if found.weeks >= FEWEST_WEEKS:
        sentence += f", at least {found.thinnest_week_rows:,} in any seven days of {found.weeks} weeks"
    if shared is not None and shared.rows_then is not None:
        sentence += f"; {shared.rows_now:,} of the time of which champion {shared.version} had {shared.rows_then:,}"
    elif shared is not None:
        sentence += f"; the snapshot of champion {shared.version} is not in the store, so nothing was held against it"
    return Verdict(gate=NAME, judgement=Judgement.PASS, sentence=sentence, value=float(found.usable_rows))


def _failed(sentence: str, value: float | None, limit: float) -> Verdict:
    return Verdict(
        gate=NAME,
        judgement=Judgement.FAIL,
        sentence=sentence,
        value=None if value is None else float(value),
        limit=float(limit),
    )
