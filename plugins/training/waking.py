"""Whether a run is to be started for events, and what it covers: the requests on Kafka and the labels in the source."""

from datetime import datetime
from typing import Any

import msgspec
import structlog

from scoring.contract.digest import digest_of
from scoring.settings import Settings
from training.definition import ModelDefinition
from training.new_labels import new_labels
from training.requests import Pending, Requests
from training.results import from_json, to_json
from training.wake import Covered, Step, WakeUp, next_step, wake_up

log = structlog.get_logger(__name__)


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is to be started.

    Attributes:
        run_id: the same as long as nothing more waits, so that it is started once.
        end: the mark moves there once it is.
    """

    run_id: str
    woken: WakeUp
    at: datetime
    end: int


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a look found.

    Attributes:
        start: a ``Start`` as JSON, where the step is to start.
        again_at: when to look again, where that is known.
        sentence: what is waited for, for people.
    """

    step: Step
    start: Any = None
    again_at: datetime | None = None
    sentence: str = ""


def look(definition: ModelDefinition, settings: Settings, *, active: bool, now: datetime) -> Found:
    """What is to be done now about the events of a model.

    Args:
        active: a run of the model goes on, or waits to begin.

    Raises:
        Unavailable: the broker, or the source of the labels, cannot be reached.
        ConfigurationError: a person has to change something about them.
    """
    with Requests(settings.need_kafka(), settings.need_keyring(), definition.name) as requests:
        pending = requests.pending()
        woken = _woken(definition, settings, pending, now)
        step, again_at = next_step(
            pending=woken is not None, active=active, covered=pending.covered, cool_down=definition.cool_down, now=now
        )
        if woken is None:
            # Kafka forgets a mark that nobody moves for a week.
            requests.cover(pending.end, pending.covered)
            return Found(step=step)
    if step is Step.WAIT:
        what = "a run of the model to end" if again_at is None else "the cool-down to be over"
        return Found(step=step, again_at=again_at, sentence=f"{woken.sentence}; waiting for {what}")
    start = Start(run_id=_run_id(pending, woken), woken=woken, at=now, end=pending.end)
    return Found(step=step, start=to_json(start))


def cover(model: str, settings: Settings, start: Any) -> None:
    """Mark what a run covers, after it was started.

    Args:
        start: a ``Start`` as JSON.

    Raises:
        Unavailable: the broker cannot be reached.
    """
    started = from_json(Start, start)
    covered = Covered(run_id=started.run_id, at=started.at, until=started.woken.until)
    with Requests(settings.need_kafka(), settings.need_keyring(), model) as requests:
        requests.cover(started.end, covered)
    log.info("retrain.covered", model=model, run=started.run_id, messages=started.woken.messages, mark=started.end)


def _woken(definition: ModelDefinition, settings: Settings, pending: Pending, now: datetime) -> WakeUp | None:
    """What asks for a run; None where nothing does."""
    if pending.asked:
        return wake_up(pending.asked, now)
    if definition.retrain_on is None:
        return None
    labels = new_labels(definition, settings, pending.covered, now)
    return WakeUp(until=now, labels=labels) if labels >= definition.retrain_on.rows else None


def _run_id(pending: Pending, woken: WakeUp) -> str:
    """From what the run covers: two looks at the same requests start one run, and a topic that is made anew others."""
    if not woken.messages:
        return f"labels__{woken.until:%Y-%m-%dT%H:%M:%S}"
    place = [str(pending.mark), str(pending.end), *(asked.event_id for asked in pending.asked)]
    return f"asked__{digest_of(msgspec.json.encode(place))[:16]}"
