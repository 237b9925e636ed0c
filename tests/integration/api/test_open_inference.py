"""A client that others wrote scores through the Open Inference Protocol."""

import json
import subprocess
from pathlib import Path

import pytest

from bench.environments import NotInstalled, python_of
from tests.support import triton_scores
from tests.support.bundles import score_of
from tests.support.serving import Served, records

pytestmark = pytest.mark.integration
NUMBERS = range(64)


def test_tritons_client_gets_the_scores_of_the_stream_as_bytes_and_as_json(tmp_path: Path) -> None:
    try:
        python = python_of("open_inference")
    except NotInstalled as error:
        pytest.skip(f"Triton's client cannot be installed here: {error}")
    path = tmp_path / "records.json"
    path.write_text(json.dumps(records(*NUMBERS)["records"]))
    with Served(tmp_path) as served:
        served.promote()
        done = subprocess.run(
            [str(python), triton_scores.__file__, served.url, served.both, str(path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["live"], found["ready"], found["versions"]) == (True, True, ["1"])
    scores = [score_of(1, number) for number in NUMBERS]
    expected = {"score": scores, "decision": [score >= 1.5 for score in scores]}
    assert found["bytes"] == found["json"] == expected
    assert found["refused"][0] == "422"
    assert "missing required field `id`" in found["refused"][1]
