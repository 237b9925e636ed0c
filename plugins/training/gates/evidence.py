"""What the gates judge."""

from collections.abc import Callable

import msgspec

from scoring.contract.errors import BatonError
from scoring.contract.verdict import Verdict
from training.definition import ModelDefinition
from training.results import Evaluated, Validated


class NotMeasured(BatonError):
    """There is no evidence for a gate; the message says why."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known about a candidate.

    Attributes:
        evaluated: None where nothing was trained.
    """

    definition: ModelDefinition
    validated: Validated
    evaluated: Evaluated | None

    def evaluation(self) -> Evaluated:
        """The measurements on the holdout.

        Raises:
            NotMeasured: there are none.
        """
        if self.evaluated is None:
            raise NotMeasured("not measured: nothing was trained, for the snapshot was refused")
        if self.evaluated.rows < 1:
            raise NotMeasured("not measured: the holdout has no rows")
        return self.evaluated


Gate = Callable[[Evidence], Verdict]
