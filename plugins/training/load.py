"""Load: the candidate as the bundle that it would become, in a fresh process that has only the scoring side.

The process has no settings and no secrets, limits on memory and processor time at three times the budget, and an end
on the wall clock; whatever becomes of it, the run goes on and the gate ``load`` judges.
"""

import os
import subprocess
import sys
from pathlib import Path

import msgspec

from scoring.contract.digest import digest_of
from scoring.contract.errors import BundleRejected
from scoring.contract.manifest import MANIFEST_FILE, decode_manifest
from scoring.scorer.probed import ProbeFailed, probe_command, read_answer
from scoring.settings import Settings
from training.budget import LoadBudget
from training.definition import ModelDefinition
from training.pull import run_folder
from training.results import Evaluated, Gated, LoadProbe, RunRequest, SnapshotRef, Trained

# The child is ended when it needs this many times its budget.
OVER = 3
# What starting Python, importing and measuring take beside the budget, generously.
_START_S = 20.0
# Runs of each size that are measured at the least, with those that warm up.
_RUNS = 7
# A machine that is this busy is too busy to train on.
_WALL_PER_PROCESSOR_S = 5
_NO_VERDICT = Gated(verdicts=(), sentence="not judged yet", red=False, parent=None)
_HANDED_ON = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ")
_SINGLE_THREADED = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_REMEMBERED = "load.json"


def measure(
    definition: ModelDefinition,
    request: RunRequest,
    settings: Settings,
    snapshot: SnapshotRef,
    trained: Trained | None,
    evaluated: Evaluated | None,
) -> Evaluated | None:
    """The evidence with what loading the candidate costs; None where nothing was evaluated.

    A retry of the run finds what the first try measured of the same bundle: the verdicts are part of the manifest, and
    with other numbers in them it would be another candidate.
    """
    if trained is None or evaluated is None:
        return None
    from training.bundle import make_bundle  # noqa: PLC0415  it needs the evaluation, which this is the end of

    folder = run_folder(settings, "provisional", request)
    bundle, budget = folder / "bundle", definition.gates.load
    try:
        make_bundle(bundle, definition, request, snapshot, trained, evaluated, _NO_VERDICT)
    except BundleRejected as error:
        return msgspec.structs.replace(evaluated, load=LoadProbe(refused=str(error)))
    key = _key(bundle, budget, settings.scoring_python)
    found = _recall(folder, key)
    if found is None:
        found = probe(bundle, budget=budget, python=settings.scoring_python)
        _remember(folder, key, found)
    return msgspec.structs.replace(evaluated, load=found)


def probe(folder: Path, *, budget: LoadBudget | None = None, python: Path | None = None) -> LoadProbe:
    """Load and time the bundle in ``folder`` in a process of its own.

    Args:
        python: interpreter of an environment that has only the scoring side; None is this one, with all hidden that
            the scoring side does not need.
    """
    budget = budget or LoadBudget()
    seconds = allowed_s(budget)
    command = probe_command(
        folder, python=python, memory_bytes=OVER * budget.resident_bytes, seconds=seconds, sizes=budget.sizes
    )
    try:
        built_for = decode_manifest((folder / MANIFEST_FILE).read_bytes()).environment
        done = subprocess.run(
            command,
            capture_output=True,
            check=False,
            cwd="/",
            env=_environment(inheriting=python is None),
            stdin=subprocess.DEVNULL,
            timeout=seconds * _WALL_PER_PROCESSOR_S,
        )
        probed = read_answer(done.returncode, done.stdout, done.stderr)
    except subprocess.TimeoutExpired:
        return LoadProbe(refused=f"it was ended after {seconds * _WALL_PER_PROCESSOR_S:.0f} s without an answer")
    except (BundleRejected, ProbeFailed) as error:
        return LoadProbe(refused=str(error))
    except OSError as error:
        return LoadProbe(error=f"the process that loads the bundle cannot be started: {error}")
    return LoadProbe(built_for=built_for, probed=probed)


def allowed_s(budget: LoadBudget) -> float:
    """Processor time after which the process is ended: three times what the budget comes to, and some for its start."""
    runs_ms = sum(_RUNS * max(budget.p50_ms.get(size, 0.0), budget.p99_ms.get(size, 0.0)) for size in budget.sizes)
    return _START_S + OVER * (budget.load_s + (budget.first_prediction_ms + runs_ms) / 1e3)


def _environment(*, inheriting: bool) -> dict[str, str]:
    """What the process gets of this one's environment: no setting and no secret.

    ``PYTHONPATH`` may be how this interpreter finds baton; another one has its own.
    """
    names = (*_HANDED_ON, "PYTHONPATH") if inheriting else _HANDED_ON
    return {name: os.environ[name] for name in names if name in os.environ} | _SINGLE_THREADED


class _Memory(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    found: LoadProbe


def _key(bundle: Path, budget: LoadBudget, python: Path | None) -> str:
    manifest = digest_of((bundle / MANIFEST_FILE).read_bytes())
    return digest_of(
        msgspec.json.encode(
            [manifest, msgspec.to_builtins(budget, str_keys=True), str(python or sys.executable)], order="sorted"
        )
    )


def _recall(folder: Path, key: str) -> LoadProbe | None:
    try:
        memory = msgspec.json.decode((folder / _REMEMBERED).read_bytes(), type=_Memory)
    except (OSError, msgspec.MsgspecError):
        return None
    return memory.found if memory.key == key else None


def _remember(folder: Path, key: str, found: LoadProbe) -> None:
    if found.probed is None:  # a retry tries again
        return
    partial = folder / f".{_REMEMBERED}"
    partial.write_bytes(msgspec.json.encode(_Memory(key=key, found=found)))
    partial.replace(folder / _REMEMBERED)
