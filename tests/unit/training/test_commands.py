"""The commands of the training side where that side is not installed."""

import subprocess
import sys

import pytest

HIDING = """
import sys
for name in ("pyarrow", "sklearn", "pandas", "great_expectations"):
    sys.modules[name] = None
from scoring.cli import main
sys.argv = ["baton", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize("command", ["check", "new"])
def test_the_scoring_side_alone_explains_them_and_says_what_they_need(command: str) -> None:
    told = subprocess.run([sys.executable, "-c", HIDING, command, "--help"], capture_output=True, text=True, check=True)
    assert "Usage: baton" in told.stdout
    done = subprocess.run(
        [sys.executable, "-c", HIDING, command, "parcel"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"baton {command} needs the training side: pip install 'baton[training]'" in done.stderr
