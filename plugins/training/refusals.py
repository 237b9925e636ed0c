"""The one table of refusals: which end a run green at ``refused``, and which somebody has to look into.

A candidate that is merely not good enough, came too late or was turned down by a person is nothing to be repaired.
Whatever is not named green here ends the run red: damaged data, a leak, a wrong conversion, an error in any gate, a
worker's refusal, a rule of the ledger that a sound run never meets.
"""

from collections.abc import Mapping
from enum import StrEnum

from scoring.contract.errors import DecisionRefused
from scoring.promotion.rules import LostRace, NotProven, OlderData, RolledBack, Unfounded


class Refusal(StrEnum):
    """Why a run promoted nothing. The first four are names of gates; other gates have names of their own."""

    MINIMUM_QUALITY = "minimum-quality"
    NOT_WORSE = "not-worse"
    SLICES = "slices"
    CALIBRATION = "calibration"
    OLDER_INTERVAL = "older-interval"
    LOST_RACE = "lost-race"
    REJECTED = "rejected"
    UNANSWERED = "unanswered"
    NOT_APPROVED = "not-approved"
    NOT_FOR_PROMOTION = "not-for-promotion"
    ROLLED_BACK = "rolled-back"
    NOT_PROVEN = "not-proven"
    UNFOUNDED = "unfounded"
    FORBIDDEN = "forbidden"


GREEN_GATES = frozenset({Refusal.MINIMUM_QUALITY, Refusal.NOT_WORSE, Refusal.SLICES, Refusal.CALIBRATION})
GREEN = GREEN_GATES | {Refusal.OLDER_INTERVAL, Refusal.LOST_RACE, Refusal.REJECTED, Refusal.UNANSWERED}

_RULES: Mapping[type[DecisionRefused], Refusal] = {
    OlderData: Refusal.OLDER_INTERVAL,
    LostRace: Refusal.LOST_RACE,
    RolledBack: Refusal.ROLLED_BACK,
    NotProven: Refusal.NOT_PROVEN,
    Unfounded: Refusal.UNFOUNDED,
}


def refusal_of(error: DecisionRefused) -> Refusal:
    """The refusal that a rule of the ledger stands for; a rule that is not known here is ``forbidden``."""
    return _RULES.get(type(error), Refusal.FORBIDDEN)


def ends_green(gate: str) -> bool:
    """Whether a failure of the gate of this name, which a definition may have made up, ends the run green."""
    return gate in GREEN_GATES
