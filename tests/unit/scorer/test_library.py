"""The compiled library: built where it can be, and kept inside its tables and the records that it is given."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hatch_build
from scoring.contract.records import ORDINARY
from scoring.scorer import library
from scoring.scorer.compiled import CompiledModel
from scoring.scorer.scan import Scanner
from tests.support.kernels import WITHOUT_COMPILER, needs_library
from tests.support.records import FIELDS, ODD, PLAIN
from tests.support.tree_models import NAMES, model, rows_for, same_bits

PROJECT = Path(__file__).parents[3]
SOURCES = {path.name for path in hatch_build.SOURCES}
SCRIPT = PROJECT / "tests" / "support" / "sanitized.py"


def test_a_library_that_is_none_or_of_another_source_is_not_loaded(tmp_path: Path) -> None:
    assert library.load(tmp_path / "nowhere.so") is None
    (tmp_path / "text.so").write_text("no library")
    assert library.load(tmp_path / "text.so") is None
    strange = next(Path(np.__file__).parent.rglob("_multiarray_umath*.so"))
    assert library.load(strange) is None


def clone(folder: Path) -> Path:
    """As much of a clone as the library is made from."""
    (folder / hatch_build.LIBRARY).parent.mkdir(parents=True)
    for source in hatch_build.SOURCES:
        shutil.copy(PROJECT / source, folder / source)
    return folder


@needs_library
def test_the_library_is_made_where_there_is_a_compiler(tmp_path: Path) -> None:
    assert hatch_build.compile_library(clone(tmp_path)) is None
    assert library.load(tmp_path / hatch_build.LIBRARY) is not None
    assert {path.name for path in (tmp_path / hatch_build.LIBRARY).parent.iterdir()} == {*SOURCES, "libscorer.so.1"}


@pytest.mark.parametrize(("compiler", "why"), [("/nonexistent/cc", "no C compiler"), ("false", "false")])
def test_without_a_compiler_there_is_no_library_not_even_an_old_one(
    compiler: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = clone(tmp_path) / hatch_build.LIBRARY
    made.write_bytes(b"an old one")
    monkeypatch.setenv("CC", compiler)
    assert why in str(hatch_build.compile_library(tmp_path))
    assert {path.name for path in made.parent.iterdir()} == SOURCES


@pytest.fixture(scope="module")
def sanitizer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The library built so that it watches its memory, and the environment in which it loads."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip(WITHOUT_COMPILER)
    made = tmp_path_factory.mktemp("sanitized") / "libscorer.so"
    flags = ["-std=c99", "-O1", "-g", "-ffp-contract=off", "-fPIC", "-shared"]
    watched = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = [compiler, *flags, *watched, "-o", str(made), *(str(PROJECT / source) for source in hatch_build.SOURCES)]
    if subprocess.run(command, capture_output=True, check=False, timeout=60).returncode:
        pytest.skip("this machine's C compiler has no sanitizers")
    asked = [compiler, "-print-file-name=libasan.so"]
    runtime = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    if not Path(runtime).is_absolute():
        pytest.skip("this machine's sanitizers cannot be loaded into Python")
    settings = {"LD_PRELOAD": runtime, "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"}
    return made, {**os.environ, **settings, "PYTHONPATH": str(PROJECT)}


def run(sanitizer: tuple[Path, dict[str, str]], folder: Path, *program: str) -> subprocess.CompletedProcess[str]:
    """Run the script, or another program, with the library that watches its memory."""
    library_path, environment = sanitizer
    command = [sys.executable, *(program or (str(SCRIPT),)), str(library_path), str(folder)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=100)


def test_the_library_stays_within_its_tables_under_a_sanitizer(
    sanitizer: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    for name in NAMES:
        (tmp_path / f"{name}.onnx").write_bytes(model(name)[2])
        np.save(tmp_path / f"{name}.npy", rows_for(name))
    done = run(sanitizer, tmp_path)
    assert done.returncode == 0, done.stderr[-3_000:]
    for name in NAMES:
        *_, graph, output = model(name)
        expected = CompiledModel(graph, output, kernel=False).run(rows_for(name))
        for found in tmp_path.glob(f"{name}.*.npy"):
            assert same_bits(np.load(found), expected), found.name
    assert len(list(tmp_path.glob("*.walk.npy"))) == len(NAMES)
    assert len(list(tmp_path.glob("*.bits.npy"))) >= 6


def test_the_sanitizer_would_have_noticed(sanitizer: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    (tmp_path / "one.onnx").write_bytes(model("31 leaves")[2])
    np.save(tmp_path / "one.npy", model("31 leaves")[1])
    planted = "import sys, pathlib; from scoring.scorer import walk; from tests.support import sanitized\n"
    planted += "walk.check = lambda tables: tables.nodes['value'].__imul__(64)\n"
    planted += "sanitized.main(*map(pathlib.Path, sys.argv[1:]))"
    done = run(sanitizer, tmp_path, "-c", planted)
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr


def hostile(seed: int, count: int) -> list[bytes]:
    """Records that were cut off, damaged, or are hostile throughout."""
    chooser = random.Random(seed)
    found = []
    for _ in range(count):
        value = bytearray(chooser.choice([PLAIN, *ODD]))
        for _ in range(chooser.randrange(4)):
            place = chooser.randrange(len(value) + 1)
            value[place : place + chooser.randrange(3)] = chooser.choice([b'"', b"\\", b"{", b"9", b"e", b"", b"\xff"])
        found.append(bytes(value[: chooser.randrange(len(value) + 1)] if chooser.random() < 0.5 else value))
    return found


def test_the_scan_stays_within_its_records_under_a_sanitizer(
    sanitizer: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    records = hostile(seed=7, count=4_000)
    (tmp_path / "records.json").write_text(json.dumps([record.hex() for record in records]))
    done = run(sanitizer, tmp_path)
    assert done.returncode == 0, done.stderr[-3_000:]
    others = json.loads((tmp_path / "records.others.json").read_text())
    assert others == Scanner(library.load(), FIELDS, ORDINARY).scan(records).others
    assert 1_000 < len(others) < len(records)


def test_the_sanitizer_would_have_noticed_a_scan_that_goes_on(
    sanitizer: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    (tmp_path / "records.json").write_text(json.dumps([PLAIN[:8].hex()]))
    planted = "import sys, pathlib; import numpy as np; from tests.support import sanitized; right = np.cumsum\n"
    planted += "np.cumsum = lambda numbers, **more: more['out'].fill(24) if more else right(numbers)\n"
    planted += "sanitized.main(*map(pathlib.Path, sys.argv[1:]))"
    done = run(sanitizer, tmp_path, "-c", planted)
    assert done.returncode != 0
    assert "AddressSanitizer" in done.stderr
