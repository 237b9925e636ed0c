"""A check as the command runs it: with the clock, without what libraries say, its answer as lines and as a page."""

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import structlog

from scoring.settings import Settings
from training.check.checking import check
from training.check.findings import Checked
from training.check.rehearsal import Watch
from training.check.report import render
from training.check.telling import lines

Answer = tuple[Checked, Iterator[str], Callable[[], str]]


def run(folder: Path, model: str, settings: Settings, most: int, *, tell: Callable[[str], None] | None) -> Answer:
    """The answer, its lines, and what renders its page.

    Args:
        tell: told of each step before it runs.

    Raises:
        ConfigurationError: no file of the folder defines the model.
    """
    now = datetime.now(UTC)
    with quiet():
        checked = check(folder, model, settings, most=most, now=now, watch=Watch(tell or _nobody))
    return checked, lines(checked), lambda: render(checked, now)


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings and logs: a person who checks a definition can mend neither."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before scikit-learn is loaded: its threads would spin
    before, level = structlog.get_config(), logging.root.manager.disable
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        structlog.configure(**before)


def _nobody(_step: str) -> None:
    """Nobody is told."""
