from pathlib import Path

import pytest

from local.settings import StackSettings, read_settings


@pytest.fixture
def settings(tmp_path: Path) -> StackSettings:
    return read_settings({"BATON_STATE_DIR": str(tmp_path / "var")}, project_dir=tmp_path / "project")
