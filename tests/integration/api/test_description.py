"""Schemathesis asks every operation of the description whatever it can think of."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scoring.api.examples import ANSWERS
from scoring.api.operations import OPERATIONS
from scoring.database.migrations import migrate
from scoring.predictions.database import MIGRATIONS, open_database
from scoring.scorer.bundle import open_bundle
from tests.support.bundles import make_bundle
from tests.support.predictions import lettered, predicted, store
from tests.support.serving import Served, active_of

pytestmark = pytest.mark.integration
EXAMPLES = 15
HOOKS = Path(__file__).parents[2] / "support" / "schemathesis_hooks.py"
# A record of the wrong kind is answered as such; what has no room or no time (a deadline may be a millisecond), too.
CONFIGURATION = """\
[checks]
not_a_server_error.expected-statuses = ["2xx", "4xx", "503", "504"]
positive_data_acceptance.expected-statuses = ["2xx", "400", "404", "408", "409", "413", "422", "503", "504"]
"""


@pytest.mark.timeout(600)
def test_no_answer_is_one_that_the_description_does_not_tell_of(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/predictions.sqlite")
    migrate(database, MIGRATIONS)
    store(database, predicted(1042, key=b"AA-0042", input_partition=2))
    store(database, lettered(0))
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    with Served(tmp_path, predictions_url=str(database.engine.url)) as served:
        served.promote()
        digest = make_bundle(tmp_path / "other", 2, model="other")
        served.bring(active_of(open_bundle(tmp_path / "other", digest)))
        listed = '[{"version":"1","standing":"candidate","sequences":[],"registered_at":"2026-03-01T00:00:00Z"'
        told = listed + ',"manifest_digest":null}]'
        command = [sys.executable, "-m", "tests.support.said", str(tmp_path / "asked"), told]
        served.versions._command = lambda _model: command
        served.explanations._command = lambda: [*command[:-1], json.dumps(ANSWERS["Explanation"])]
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(tmp_path / "schemathesis.toml")),
                *("run", f"{served.url}/openapi.json", "--header", f"Authorization: Bearer {served.both}"),
                *("--max-examples", str(EXAMPLES), "--continue-on-failure", "--seed", "20261122", "--no-color"),
            ],
            env={**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    database.engine.dispose()
    assert done.returncode == 0, done.stdout[-8_000:]
    tested = re.search(r"Tested: (\d+)", done.stdout)
    assert tested is not None
    assert int(tested[1]) >= len(OPERATIONS) - 1  # but for the description itself
