"""The probe of a bundle: what it measures, and that nothing but the scoring side can be imported in its process."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from scoring.contract.errors import BundleRejected
from scoring.scorer.alone import Hidden, hidden_modules, needed_distributions
from scoring.scorer.probe import limit, main, percentile, probe, tick_s
from scoring.scorer.probed import ProbeFailed, probe_command, read_answer
from tests.support.bundles import make_bundle

MEBIBYTE = 2**20


def run(*command: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, capture_output=True, check=False, cwd="/", timeout=100)


def test_a_bundle_is_measured_from_the_files_to_the_largest_micro_batch(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", 1)
    found = probe(tmp_path / "bundle", sizes=(1, 64, 200))
    assert [batch.records for batch in found.batches] == [1, 64, 200]
    for batch in found.batches:
        assert batch.runs >= 5
        assert 0 < batch.p50_ms <= batch.p99_ms
        assert batch.p50_ms <= batch.wall_p50_ms <= batch.wall_p99_ms
    assert found.load_s > 0
    assert found.first_prediction_ms > 0
    assert 10 * MEBIBYTE < found.resident_bytes <= found.peak_bytes
    assert {"python", "numpy", "onnxruntime"} <= set(found.versions)


def test_processor_time_is_measured_to_a_tick_and_never_above_the_time_that_passed(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", 1)
    wall, busy = itertools.count(), itertools.count()
    found = probe(
        tmp_path / "bundle", sizes=(1,), clock=lambda: float(next(wall)), processor_clock=lambda: next(busy) * 0.25
    )
    (batch,) = found.batches
    assert batch.runs == 5
    assert (batch.wall_p50_ms, batch.p50_ms, batch.p99_ms) == (1_000.0, 500.0, 500.0)
    assert (found.load_s, found.first_prediction_ms) == (1.0, 250.0)


def test_the_tick_is_the_smallest_step_of_the_clock() -> None:
    readings = iter([0.0, 0.0, 0.5, 0.5, 0.75, 1.0, 1.5, 2.0])
    assert tick_s(lambda: next(readings)) == 0.25


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_a_value_that_was_measured(share: float, expected: int) -> None:
    assert percentile(range(1, 101), share) == expected
    assert percentile([7.0], share) == 7.0


def test_a_damaged_bundle_is_rejected_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_bundle(tmp_path / "bundle", 1, golden_error=0.5)
    status = main(["--sizes", "1", str(tmp_path / "bundle")])
    written = capsys.readouterr().out.encode()
    assert status == 1
    with pytest.raises(BundleRejected, match=r"golden rows differ by 0\.5"):
        read_answer(status, written, b"")


def test_a_process_that_dies_without_a_word_is_told_from_one_that_rejects() -> None:
    with pytest.raises(ProbeFailed, match="ended with signal 11: Segmentation fault"):
        read_answer(-11, b"", b"Segmentation\nfault\n")
    with pytest.raises(ProbeFailed, match="ended with status 2: no word"):
        read_answer(2, b"garbage", b"")


def test_an_answer_with_a_status_that_contradicts_it_is_not_believed(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", 1)
    done = run(*probe_command(tmp_path / "bundle", sizes=(1,)))
    assert read_answer(done.returncode, done.stdout, done.stderr).batches[0].records == 1
    with pytest.raises(BundleRejected, match="status 3"):
        read_answer(3, done.stdout, b"")


def test_sizes_that_are_none_are_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--sizes", "0", str(tmp_path)])
    assert ended.value.code == 2


# --- alone --------------------------------------------------------------------------------------------------------


def test_the_base_requirements_are_needed_and_those_of_the_extras_are_not() -> None:
    needed = needed_distributions()
    assert {"baton", "numpy", "onnxruntime", "msgspec", "mlflow-skinny", "confluent-kafka", "click"} <= needed
    assert not {"scikit-learn", "pandas", "apache-airflow", "onnx", "skl2onnx", "pytest", "mlflow"} & needed


def test_a_module_is_hidden_unless_a_needed_distribution_provides_it() -> None:
    providers = {"numpy": ["numpy"], "sklearn": ["scikit-learn"], "google": ["protobuf", "google-api"], "yaml": ["X"]}
    assert {"sklearn", "yaml"} <= hidden_modules(frozenset({"numpy", "protobuf"}), providers)
    assert not {"numpy", "google"} & hidden_modules(frozenset({"numpy", "protobuf"}), providers)


def test_hiding_refuses_a_module_and_all_below_it_and_nothing_else() -> None:
    finder = Hidden(frozenset({"sklearn"}))
    for name in ("sklearn", "sklearn.ensemble"):
        with pytest.raises(ModuleNotFoundError, match=f"{name} is not part of the scoring side"):
            finder.find_spec(name, None)
    assert finder.find_spec("sklearnish", None) is None


@pytest.mark.parametrize("module", ["sklearn", "pandas", "onnx", "training", "airflow"])
def test_what_needs_the_training_side_fails_where_it_is_hidden(tmp_path: Path, module: str) -> None:
    """The planted bug: a scorer that imports a library which is only there for training."""
    (tmp_path / "needy.py").write_text(f"import {module}\n")
    start = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from scoring.scorer.alone import main; "
    done = run(sys.executable, "-P", "-c", start + "main(['needy'])")
    assert done.returncode == 1
    assert f"{module} is not part of the scoring side" in done.stderr.decode()
    assert run(sys.executable, "-P", "-c", start + "import needy").returncode == 0, "it must be there when not hidden"


def test_without_a_module_to_run_its_usage_is_told() -> None:
    done = run(sys.executable, "-P", "-m", "scoring.scorer.alone")
    assert done.returncode == 2
    assert b"scoring.scorer.alone MODULE" in done.stderr


# --- limits -------------------------------------------------------------------------------------------------------


def test_a_bundle_that_needs_too_much_memory_does_not_load(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", 1)
    ample = run(*probe_command(tmp_path / "bundle", memory_bytes=1_000 * MEBIBYTE, sizes=(1,)))
    assert ample.returncode == 0, ample.stderr
    done = run(*probe_command(tmp_path / "bundle", memory_bytes=MEBIBYTE // 4, sizes=(4_096,)))
    with pytest.raises((BundleRejected, ProbeFailed)):
        read_answer(done.returncode, done.stdout, done.stderr)


def test_a_process_that_takes_too_much_processor_time_is_ended() -> None:
    code = "from scoring.scorer.probe import limit\nlimit(None, 1)\nwhile True: pass"
    assert run(sys.executable, "-c", code).returncode < 0


def test_no_limit_is_set_where_none_is_asked_for() -> None:
    limit(None, None)


def test_the_answer_is_one_line_of_json(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", 1)
    done = run(*probe_command(tmp_path / "bundle", sizes=(1,)))
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["probed"]["batches"][0]["records"] == 1
