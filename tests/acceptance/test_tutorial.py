"""The tutorial from a CSV file to a live stream, block by block as it stands there, on the real stack."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from local.ports import free_ports
from local.processes import end_marked_processes
from tests.support.airflow_home import PROJECT

TUTORIAL = PROJECT / "docs" / "tutorial" / "from-a-csv-file.md"
# What becomes of the tutorial's words with another file.
FILES: Mapping[str, Mapping[str, str]] = {
    "churn": {},
    "progression": {
        "--label left": "--label progression",
        "customer_id": "visit",
        "called_at": "date_of_visit",
        "--rate 20": "--rate 10",
    },
    "wines": {
        "--label left": "--label cultivar",
        "customer_id": "bottle_id",
        "called_at": "tasted_at",
        "--rate 20": "--rate 8",
    },
}
BLOCK_S, RUN_S = 300.0, 400.0
ENDED = {"success", "failed"}


class Reader(msgspec.Struct):
    """Somebody who types what the tutorial says into one shell, in a folder of their own."""

    folder: Path
    environment: Mapping[str, str]
    words: Mapping[str, str]

    def type(self, block: str) -> str:
        """Run a block; what is exported stays for the next ones. Returns what was written."""
        for theirs, ours in self.words.items():
            block = block.replace(theirs, ours)
        script = f"set -euo pipefail\n[ ! -f shell ] || . ./shell\n{block}\nexport -p > shell\n"
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=dict(self.environment), capture_output=True, text=True,
            check=False, timeout=BLOCK_S,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}\n{done.stdout[-3_000:]}\n{done.stderr[-3_000:]}"
        return done.stdout

    def type_once_airflow_knows(self, block: str) -> None:
        """Airflow reads new files within half a minute; a person who is quicker tries again."""
        deadline = time.monotonic() + BLOCK_S
        while True:
            try:
                self.type(block)
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(2)
            else:
                return

    def watch(self, runs: int) -> list[str]:
        """Look at the runs until so many have ended; their states."""
        deadline = time.monotonic() + RUN_S
        while True:
            told = self.type("airflow dags list-runs train_churn --output json")
            found = json.loads(told[told.index("[{") :])  # behind lines of Airflow's log
            states = [run["state"] for run in found if run["state"] in ENDED]
            if len(states) >= runs:
                return states
            assert time.monotonic() < deadline, found
            time.sleep(2)

    def predictions(self) -> list[Any]:
        """All of them, oldest first."""
        return [json.loads(line) for line in self.type("baton tail churn --last 100000").splitlines()]

    def wait_for(self, records: int) -> list[Any]:
        """Until so many predictions are there, and no more."""
        deadline = time.monotonic() + BLOCK_S
        while len(found := self.predictions()) < records:
            assert time.monotonic() < deadline, f"{len(found)} of {records} records were scored"
            time.sleep(2)
        assert len(found) == records
        return found


@pytest.fixture
def reader(tmp_path: Path, sample: str) -> Iterator[Reader]:
    """A folder that looks like the project's, with a state and ports of its own."""
    (tmp_path / ".venv").symlink_to(PROJECT / ".venv")
    (tmp_path / "Makefile").write_text(f"%:\n\t@$(MAKE) -C {PROJECT} $@\n")
    names = ("KAFKA", "KAFKA_CONTROLLER", "AIRFLOW", "MLFLOW")
    ports = {f"BATON_{name}_PORT": str(port) for name, port in zip(names, free_ports(len(names)), strict=True)}
    # What `make test` hands on to its own children is nobody's here.
    foreign = ("BATON_", "AIRFLOW", "MLFLOW", "MAKE", "MFLAGS", "ARGS")
    plain = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    own = {
        "BATON_STATE_DIR": str(tmp_path / "var"),
        "BATON_MODELS_DIR": str(tmp_path / "models"),
        "BATON_MODELS": sample,
        "OMP_NUM_THREADS": "1",
    }
    yield Reader(tmp_path, {**plain, **ports, **own}, {**FILES[sample], "churn": sample, "CHURN": sample.upper()})
    subprocess.run(["make", "down"], cwd=tmp_path, env={**plain, **ports, **own}, check=False, timeout=120)
    end_marked_processes(tmp_path / "var", grace_s=0)
    shutil.rmtree(tmp_path / "var", ignore_errors=True)


def blocks() -> list[str]:
    return re.findall(r"```sh\n(.*?)```", TUTORIAL.read_text(), re.DOTALL)


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize(
    "sample", ["churn", *(pytest.param(name, marks=pytest.mark.faults) for name in ("progression", "wines"))]
)
def test_a_stranger_gets_from_a_file_to_a_retrained_stream_by_the_tutorials_steps(reader: Reader, sample: str) -> None:
    begun = datetime.now(UTC)
    steps = iter(blocks())
    for _ in ("a file", "a definition", "a check", "a stack"):
        reader.type(next(steps))
    definition = (reader.folder / "models" / f"{sample}.py").read_text()
    assert len(definition.splitlines()) <= 40
    assert (reader.folder / "report.html").read_text().count("<svg") >= 2

    reader.type_once_airflow_knows(next(steps))
    assert reader.watch(1) == ["success"]
    assert "auc" in reader.type(next(steps)) or sample != "churn"
    sent = acknowledged(reader.type(next(steps)))
    assert sent > 50
    assert {each["version"] for each in reader.wait_for(sent)} == {"1"}
    letters = reader.type(next(steps)).splitlines()
    assert json.loads(letters[-1])["reason"]
    live_after_s = (datetime.now(UTC) - begun).total_seconds()

    sent += acknowledged(reader.type(next(steps)))
    assert reader.watch(2) == ["success", "success"]
    reader.type(next(steps))
    last = acknowledged(reader.type("python -m local.replay --model churn --days 3 --rate 1000"))
    found = reader.wait_for(sent + last)
    assert sum(each["version"] == "2" for each in found) >= last > 0
    in_order(found)
    reader.type(next(steps))
    entries = reader.type("baton ledger log churn --json")
    assert [entry["version"] for entry in json.loads(entries)] == ["1", "2", "1"]
    reader.type(next(steps))
    assert next(steps, None) is None
    print(f"{sample}: live after {live_after_s:.0f} s")


def acknowledged(text: str) -> int:
    """How many records the replay says that the broker took."""
    found = re.search(r"([\d,]+) records acknowledged", text)
    assert found, text
    return int(found[1].replace(",", ""))


def in_order(found: list[Any]) -> None:
    """Within each partition nothing is scored by a version after its successor's first."""
    places = sorted((each["input"]["partition"], each["input"]["offset"], each["sequence"]) for each in found)
    for (partition, _, sequence), (other, _, later) in pairwise(places):
        assert partition != other or sequence <= later
