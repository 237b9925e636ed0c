"""What reading the DAG files costs beside importing Airflow: processor time, in processes of their own.

Every figure is of a fresh process that has imported Airflow's SDK and the operators that the DAGs use, and then reads
``dags/baton.py`` with so many model definitions (the project's own, under other names). The modules of Baton are loaded
by then in none of them.

    python -m bench.parse
    python -m bench.parse --definitions 1,50,200 --rounds 9 --run 20261122p
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.measurements import PROJECT, Line, medians, table
from bench.options import parser, results_of, settle
from tests.support.many_definitions import write_definitions

DEFINITIONS = (1, 50)
# Before the clock runs: what every Airflow that has such DAGs imports.
_PROGRAM = """
import json, sys, time
began = time.process_time()
import airflow.sdk
import airflow.providers.standard.operators.hitl
import airflow.providers.standard.operators.trigger_dagrun
airflow.sdk.DAG, airflow.sdk.task, airflow.sdk.BaseSensorOperator, airflow.sdk.AssetOrTimeSchedule
imported = time.process_time()
sys.path.insert(0, {dags!r})
import baton
read = time.process_time()
dags = len({{found.dag_id for found in vars(baton).values() if type(found).__name__ == "DAG"}})
print(json.dumps({{"airflow_s": imported - began, "parse_s": read - imported, "dags": dags}}))
"""


def measure(definitions: int) -> Line:
    """Read the DAG files once."""
    with tempfile.TemporaryDirectory(prefix="baton-parse-") as folder:
        models = write_definitions(Path(folder), definitions)
        environment = {
            **os.environ,
            "AIRFLOW_HOME": str(Path(folder) / "airflow"),
            "BATON_MODELS_DIR": str(models),
            "PYTHONPATH": os.pathsep.join([str(PROJECT), str(PROJECT / "plugins")]),
        }
        command = [sys.executable, "-c", _PROGRAM.format(dags=str(PROJECT / "dags"))]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: Line = json.loads(ran.stdout.strip().splitlines()[-1])
    return {"definitions": definitions, **found}


def summary(lines: list[Line]) -> str:
    """The medians, as the docs quote them."""
    parse, airflow = (medians(lines, "definitions", value) for value in ("parse_s", "airflow_s"))
    rows = [(count, f"{seconds:.2f}", f"{airflow[count]:.2f}") for count, seconds in parse.items()]
    return table(("definitions", "reading the DAG files, s", "Airflow's own import, s"), rows)


def main() -> None:
    settle()
    options = parser("parse", __doc__ or "", rounds=5)
    options.add_argument("--definitions", default=",".join(map(str, DEFINITIONS)), help="how many, comma-separated")
    asked = options.parse_args()
    results = results_of(asked)
    for number in range(0 if asked.summary else 1 if asked.short else asked.rounds):
        for count in map(int, asked.definitions.split(",")):
            if not results.has(round=number, definitions=count):
                results.add(round=number, **measure(count))
    print(summary(list(results.lines)))


if __name__ == "__main__":
    main()
