"""A batch that fails as a whole is halved until the culprit is found; the others of it are scored."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog

from scoring.contract.errors import ConfigurationError, Unavailable

Record = TypeVar("Record")
Outcome = TypeVar("Outcome")
log = structlog.get_logger()


def halved(
    records: Sequence[Record],
    score: Callable[[Sequence[Record]], list[Outcome]],
    condemned: Callable[[Record, str], Outcome],
    *,
    model: str,
) -> list[Outcome]:
    """One outcome per record, in their order.

    Args:
        score: gives the outcomes of a batch.
        condemned: the outcome of a record that the model fails on, and why.

    Raises:
        Unavailable, ConfigurationError: a lookup cannot be answered now; the records have to wait.
    """
    try:
        return score(records)
    except (Unavailable, ConfigurationError):  # not the records' fault: as dead letters they would drain the topic
        raise
    except (MemoryError, OSError) as error:  # nor is this host's distress
        raise Unavailable(f"{type(error).__name__}: {error}") from error
    except Exception as error:  # whatever a record makes the model or a library raise condemns that record only
        if len(records) > 1:
            middle = len(records) // 2
            left = halved(records[:middle], score, condemned, model=model)
            return left + halved(records[middle:], score, condemned, model=model)
        log.warning("record.unscorable", model=model, error=type(error).__name__)
        return [condemned(records[0], f"the model failed on it: {type(error).__name__}")]
