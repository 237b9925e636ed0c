"""Property tests are repeatable, a busy machine does not fail them, and no test keeps another one's log."""

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

settings.register_profile("baton", deadline=None, derandomize=True, database=None)
settings.load_profile("baton")


@pytest.fixture(autouse=True)
def _log_of_its_own() -> Iterator[None]:
    yield
    structlog.reset_defaults()
