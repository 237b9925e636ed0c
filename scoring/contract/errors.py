"""The one tree of errors that Baton raises.

::

    BatonError
    ├── ConfigurationError      a setting, definition or topic is wrong: a person has to change it
    ├── ContractError           a document does not satisfy its contract
    │   ├── EnvelopeRejected    a notice, acknowledgement or heartbeat that must not be believed
    │   └── BundleRejected      a bundle that must not score
    ├── Unavailable             a system that we depend on cannot be reached now: retry with back-off
    └── DecisionRefused         the ledger's rules forbid the promotion or rollback
"""

from enum import StrEnum

MAXIMUM_SENTENCE_CHARACTERS = 1_000


def sentence(reason: object) -> str:
    """A reason as it may travel in a message: bounded, and Unicode whatever made it.

    Somebody else's file names, field names and libraries make sentences of any length, and with lone surrogates. In
    a heartbeat or an acknowledgement these would be too large to send, or could not be encoded, for ever.
    """
    text = str(reason).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= MAXIMUM_SENTENCE_CHARACTERS else f"{text[: MAXIMUM_SENTENCE_CHARACTERS - 2]} …"


class BatonError(Exception):
    """Base of every error that Baton raises on purpose."""


class ConfigurationError(BatonError):
    """A setting, model definition or topic is wrong; the message names it and says what to change."""


class ContractError(BatonError):
    """A document does not satisfy its contract."""


class Rejection(StrEnum):
    """Why an envelope must not be believed. Values are stable: they are metric labels."""

    TOMBSTONE = "tombstone"
    UNSIGNED = "unsigned"
    UNKNOWN_KEY = "unknown-key"
    BAD_SIGNATURE = "bad-signature"
    MALFORMED = "malformed"
    UNKNOWN_VERSION = "unknown-version"
    WRONG_SUBJECT = "wrong-subject"
    OTHER_LEDGER = "other-ledger"
    TOO_LARGE = "too-large"


class EnvelopeRejected(ContractError):
    """A message on a control topic must not be believed.

    Attributes:
        reason: the stable code, for counting.
    """

    def __init__(self, reason: Rejection, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason


class BundleRejected(ContractError):
    """A bundle is damaged, incomplete or does not reproduce its golden rows, and must not score."""


class Unavailable(BatonError):
    """A system that Baton depends on cannot be reached now; the caller retries with back-off."""


class DecisionRefused(BatonError):
    """The ledger's rules forbid this promotion or rollback; the message says which rule and what to do."""
