"""The trial: a process that a bundle may bring down, and what its end means."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scoring.contract.encoder import Floats
from scoring.contract.errors import BundleRejected, Unavailable
from scoring.contract.manifest import MODEL_FILE
from scoring.scorer import library, trial
from scoring.scorer.scorer import Scorer
from scoring.scorer.trial import TrialLimits, judge, trial_command, try_bundle
from scoring.settings import read_settings
from scoring.worker.fetch_process import FetchProcess
from scoring.worker.supply import fetch_process_of
from tests.faults.hostile.graphs import make as make_graph
from tests.support.bundles import make_bundle
from tests.support.forge import MODEL, Forge
from tests.support.kernels import needs_library


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "bundle"


def forge(tmp_path: Path, seed: int = 1) -> Forge:
    import random

    return Forge(tmp_path, random.Random(seed))


def test_a_good_bundle_passes_in_a_process_of_its_own(folder: Path) -> None:
    digest = make_bundle(folder, 1)
    FetchProcess().try_bundle(MODEL, digest, folder)


def test_a_bundle_that_fails_is_refused_with_its_reason(folder: Path) -> None:
    digest = make_bundle(folder, 1, golden_error=1e-9)
    with pytest.raises(BundleRejected, match="golden rows differ"):
        FetchProcess().try_bundle(MODEL, digest, folder)


def test_a_bundle_of_another_model_or_digest_is_refused(folder: Path) -> None:
    digest = make_bundle(folder, 1)
    assert "is of model small, not of other" in (try_bundle(folder, digest, "other", 10) or "")
    assert "was announced" in (try_bundle(folder, "0" * 64, MODEL, 10) or "")
    assert try_bundle(folder, digest, MODEL, 10) is None


@needs_library
def test_the_trial_scores_with_the_kernel_that_will_score_for_the_worker(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, right = make_bundle(folder, 1), library.call

    def wrong_in_company(kernel: Any, tables: int, matrix: Floats, columns: int) -> Floats:
        return right(kernel, tables, matrix, columns) + (1e-9 if len(matrix) == 77 else 0.0)

    monkeypatch.setattr(library, "call", wrong_in_company)
    assert try_bundle(folder, digest, MODEL, 76) is None
    assert "in a micro-batch of 77 the golden rows differ" in (try_bundle(folder, digest, MODEL, 77) or "")


def test_a_graph_that_crashes_the_library_brings_down_its_trial_only(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the rules for graphs, a list of nodes that calls itself a tree overflows ONNX Runtime's stack."""
    parts = forge(tmp_path).parts()
    variant = ""
    for seed in range(50):
        variant, parts.files[MODEL_FILE] = make_graph("references out of range", forge(tmp_path, seed), 7)
        if len(parts.files[MODEL_FILE]) > 1_000_000:
            break
    assert variant == "a tree without end"
    digest = parts.write(folder)
    assert "deeper than" in (try_bundle(folder, digest, MODEL, 10) or "")
    program = (
        "import sys; from scoring.scorer import compiled, trial; compiled.check_graph = lambda *_: 3; "
        "sys.exit(trial.main(sys.argv[1:]))"
    )
    limits = TrialLimits()
    command = trial_command(folder, digest, MODEL, limits)
    ended = subprocess.run(
        [command[0], "-c", program, *command[3:]], check=False, capture_output=True, timeout=60, cwd=Path.cwd()
    )
    assert ended.returncode == -signal.SIGSEGV
    with pytest.raises(BundleRejected, match="brought its process down"):
        judge(ended.returncode, ended.stdout)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGXCPU])
def test_a_process_that_dies_of_what_it_does_condemns_the_bundle(number: int) -> None:
    with pytest.raises(BundleRejected, match=signal.Signals(number).name):
        judge(-number, b"")


@pytest.mark.parametrize(("status", "output"), [(-signal.SIGKILL, b""), (-signal.SIGTERM, b""), (1, b"x"), (0, b"")])
def test_a_process_that_somebody_ended_says_nothing_about_the_bundle(status: int, output: bytes) -> None:
    with pytest.raises(Unavailable, match="no verdict"):
        judge(status, output)


def test_what_a_library_writes_before_the_verdict_does_no_harm() -> None:
    judge(0, b'noise\n{"refused":null}\n')
    with pytest.raises(BundleRejected, match=r"^because$"):
        judge(0, b'{"refused":null}\n{"refused":"because"}\n')


def test_a_reason_of_any_length_and_with_any_bytes_can_be_told(folder: Path) -> None:
    digest = make_bundle(folder, 1)
    for number in range(40):
        (folder / ("x" * 200 + str(number))).touch()
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe")).touch()
    reason = try_bundle(folder, digest, MODEL, 10)
    assert reason is not None
    assert len(reason) <= 1_000
    assert msgspec.json.encode(reason)


def test_memory_is_limited() -> None:
    program = "from scoring.scorer.trial import limit\nlimit(2**30, 60)\nbytearray(2**30)"
    ended = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    assert ended.returncode == 1
    assert ended.stderr.rstrip().endswith(b"MemoryError")


def test_processor_time_is_limited(folder: Path) -> None:
    digest = make_bundle(folder, 1)
    program = "from scoring.scorer.trial import limit\nlimit(2**33, 1)\nwhile True: pass"
    ended = subprocess.run([*trial_command(folder, digest, MODEL, TrialLimits())[:1], "-c", program], check=False)
    assert ended.returncode == -signal.SIGXCPU


def test_a_trial_that_is_not_finished_in_time_is_repeated(folder: Path) -> None:
    digest = make_bundle(folder, 1)
    with pytest.raises(Unavailable, match="is the machine busy"):
        FetchProcess(limits=TrialLimits(patience_s=0.001)).try_bundle(MODEL, digest, folder)


def test_a_model_that_is_too_slow_for_a_full_batch_is_refused(folder: Path) -> None:
    digest = make_bundle(folder, 1)
    readings = iter([0.0, trial.SLOWEST_BATCH_S + 1])
    assert "took 11.0 s" in (try_bundle(folder, digest, MODEL, 10, lambda: next(readings)) or "")


def test_a_score_that_depends_on_the_size_of_the_batch_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = make_bundle(folder, 1)
    score = Scorer.score
    monkeypatch.setattr(Scorer, "score", lambda self, columns, rows: score(self, columns, rows) + (rows > 500) * 1e-12)
    assert try_bundle(folder, digest, MODEL, 100) is None
    assert "in a micro-batch of 501 the golden rows differ" in (try_bundle(folder, digest, MODEL, 501) or "")


def test_an_ended_worker_starts_no_trial(folder: Path) -> None:
    process = FetchProcess()
    process.close()
    with pytest.raises(Unavailable, match="stopping"):
        process.try_bundle(MODEL, "0" * 64, folder)


@pytest.mark.parametrize(("batch", "tried"), [("256", 4_096), ("5000", 5_000)])
def test_a_worker_tries_its_largest_batch_and_never_less_than_a_usual_one(
    monkeypatch: pytest.MonkeyPatch, batch: str, tried: int
) -> None:
    for name, value in {"MAXIMUM_BATCH_RECORDS": batch, "TRIAL_MEMORY_BYTES": str(2**31)}.items():
        monkeypatch.setenv(f"BATON_{name}", value)
    limits = fetch_process_of(read_settings())._limits
    assert (limits.records, limits.memory_bytes, limits.processor_s) == (tried, 2**31, 60)
