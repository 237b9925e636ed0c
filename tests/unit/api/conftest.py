"""The API with version 1 of a model live."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.serving import Served


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with Served(tmp_path) as made:
        made.promote()
        yield made
