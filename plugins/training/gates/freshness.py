"""Gate: events and labels reach up to the end of the interval."""

from datetime import datetime, timedelta

from scoring.contract.verdict import Judgement, Verdict
from training.gates.evidence import Evidence

NAME = "freshness"

_HOUR = timedelta(hours=1)


def gate(evidence: Evidence) -> Verdict:
    """The newest event, and the newest label among those that could be known, are not too old."""
    found, limit = evidence.data(), evidence.definition.gates.newest_within
    checks = {
        "event": _age(found.newest_event, found.end),
        "row with a label": _age(found.newest_usable_event, found.labels_end),
    }
    what, age = max(checks.items(), key=lambda each: (each[1] is None, each[1] or timedelta(0)))
    if age is None:
        return _verdict(False, f"there is no {what} at all in the snapshot", None, limit)
    until = "end of the interval" if what == "event" else "moment up to which labels could be known"
    sentence = (
        f"the newest {what} is {_words(max(age, timedelta(0)))} older than the {until}; {_words(limit)} is allowed"
    )
    return _verdict(age <= limit, sentence, age, limit)


def _age(newest: datetime | None, until: datetime) -> timedelta | None:
    return None if newest is None else until - newest


def _verdict(holds: bool, sentence: str, age: timedelta | None, limit: timedelta) -> Verdict:  # noqa: FBT001
    return Verdict(
        gate=NAME,
        judgement=Judgement.PASS if holds else Judgement.FAIL,
        sentence=sentence,
        value=None if age is None else age / _HOUR,
        limit=limit / _HOUR,
    )


def _words(length: timedelta) -> str:
    hours = length / _HOUR
    return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} hours"
