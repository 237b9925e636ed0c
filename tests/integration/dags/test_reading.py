"""What reading the DAG files does: it makes DAGs, and touches nothing but the files of code and of definitions.

How long it takes is measured by ``bench/parse.py``.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.airflow_home import PROJECT
from tests.support.many_definitions import NAME, write_definitions

DEFINITIONS = 50
# Everything beyond reading files of code that Python itself reports, once Airflow's own modules are there.
PROGRAM = """
import json, sys
import airflow.sdk
import airflow.providers.standard.operators.hitl
import airflow.providers.standard.operators.trigger_dagrun
airflow.sdk.DAG, airflow.sdk.task, airflow.sdk.BaseSensorOperator, airflow.sdk.AssetOrTimeSchedule
airflow.sdk.DeltaTriggerTimetable, airflow.sdk.AssetWatcher, airflow.sdk.BaseNotifier

DONE = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "sqlite3.", "urllib.", "http.",
        "shutil.", "os.mkdir", "os.remove", "os.rename", "ctypes.dlopen")
found = []

def hook(event, arguments):
    if event == "open":
        path, mode, _ = arguments
        if mode is not None and set(mode) & set("wax+") or not str(path).endswith((".py", ".pyc", ".so", ".pyi")):
            found.append((event, str(path), str(mode)))
    elif event.startswith(DONE):
        found.append((event, *map(str, arguments)))

sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
sys.addaudithook(hook)
import baton
hooked, found = found, []
dags = [value for value in vars(baton).values() if type(value).__name__ == "DAG"]
print(json.dumps({"touched": hooked, "dags": sorted({dag.dag_id for dag in dags})}))
"""


def read(models: Path, home: Path) -> dict[str, Any]:
    """What a fresh process touches when it reads the DAG files."""
    paths = os.pathsep.join([str(PROJECT), str(PROJECT / "plugins")])
    environment = {**os.environ, "BATON_MODELS_DIR": str(models), "PYTHONPATH": paths, "AIRFLOW_HOME": str(home)}
    command = [sys.executable, "-c", PROGRAM, str(PROJECT / "dags")]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=100)
    found: dict[str, Any] = json.loads(ran.stdout.strip().splitlines()[-1])
    return found


def touched(found: dict[str, Any]) -> list[list[str]]:
    """Without what installed libraries read of themselves when they are imported."""
    own = sys.prefix, sys.base_prefix, "/proc/", "/sys/", "/etc/"
    return [event for event in found["touched"] if event[0] != "open" or not event[1].startswith(own)]


def test_reading_50_definitions_makes_all_dags_and_touches_nothing_but_code(tmp_path: Path) -> None:
    found = read(write_definitions(tmp_path, DEFINITIONS), tmp_path / "airflow")
    assert touched(found) == []
    own = {f"{what}_{NAME}_{number:03}" for number in range(DEFINITIONS) for what in ("train", "retrain")}
    assert set(found["dags"]) == own | {"baton_reconcile", "baton_backfill"}


PLANTED = """

import socket, sqlite3, subprocess
from pathlib import Path

socket.getaddrinfo("127.0.0.1", 9)
subprocess.run(["true"])
sqlite3.connect(":memory:")
Path(__file__).with_suffix(".txt").write_text("here")
open("/dev/null").read()
"""


def test_a_definition_that_touches_something_when_it_is_read_is_caught(tmp_path: Path) -> None:
    models = write_definitions(tmp_path, 1)
    (file,) = models.iterdir()
    file.write_text(file.read_text() + PLANTED)
    found = touched(read(models, tmp_path / "airflow"))
    assert {"socket.getaddrinfo", "subprocess.Popen", "sqlite3.connect", "open"} <= {event[0] for event in found}
    assert {event[1] for event in found if event[0] == "open"} == {str(file.with_suffix(".txt")), "/dev/null"}
