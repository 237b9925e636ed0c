"""When a button's work is tried again by itself: a person should not have to press twice."""

from collections.abc import Callable
from typing import Any

import tenacity

# A database that is locked or fails over is back within seconds.
FOR_S = 10.0
EVERY_S = 0.5


def again_where(worth: Callable[[BaseException], bool]) -> dict[str, Any]:
    """How tenacity tries again, awaited or not, where ``worth`` says so of an error; the last error is raised."""
    return {
        "retry": tenacity.retry_if_exception(worth),
        "stop": tenacity.stop_after_delay(FOR_S),
        "wait": tenacity.wait_fixed(EVERY_S),
        "reraise": True,
    }
