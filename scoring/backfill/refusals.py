"""Why a backfill does not go on. ::

BatonError
├── BackfillRefused     the period cannot be scored as it is asked for
├── Busy                another run of it is at work
├── Superseded          another run of it has taken over
└── DecisionRefused
    └── OtherPlan       what was begun under its name is something else
"""

from scoring.contract.errors import BatonError, DecisionRefused


class BackfillRefused(BatonError):
    """The period cannot be scored as it is asked for; the message says why, all reasons at once, and what to do."""


class Busy(BatonError):
    """Another run of the same backfill is at work; wait for it, or end it."""


class Superseded(BatonError):
    """Another run of the same backfill has taken over; what this one still wrote was refused."""


class OtherPlan(DecisionRefused):
    """A backfill of this name was begun otherwise; give this one another name, or remove that one."""
