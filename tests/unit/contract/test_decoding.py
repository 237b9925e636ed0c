"""Every type that is decoded was made ready when its module was imported: see ``scoring.contract.decoding``."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import scoring

ROOT = Path(scoring.__file__).parent
# What several threads come by; commands and one-shot processes have one thread.
THREADED = ("contract", "promotion", "registry", "worker")
FILES = sorted(path for folder in THREADED for path in (ROOT / folder).rglob("*.py"))


def called(tree: ast.Module, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(name):
            yield node


def decoded(tree: ast.Module) -> set[str]:
    """The types that a module names when it decodes; one that is a parameter is somebody else's."""
    named = [word.value for node in called(tree, "json.decode") for word in node.keywords if word.arg == "type"]
    return {ast.unparse(kind) for kind in named} - {"payload_type"}


def test_the_modules_that_decode_are_found() -> None:
    assert len([path for path in FILES if decoded(ast.parse(path.read_text()))]) >= 7


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_what_a_module_decodes_it_made_ready_at_import(path: Path) -> None:
    tree = ast.parse(path.read_text())
    at_import = ast.Module([node for node in tree.body if isinstance(node, ast.Expr)], [])
    ready = {ast.unparse(kind) for call in called(at_import, "decodable") for kind in call.args}
    assert decoded(tree) <= ready, "two threads whose first decodings meet end the process"


@pytest.mark.parametrize("module", ["notice", "acknowledgement", "heartbeat", "retrain", "alert"])
def test_the_messages_of_the_control_topics_are_ready_at_import(module: str) -> None:
    assert "decodable(" in (ROOT / "contract" / f"{module}.py").read_text()


MEETING = """
import sys, threading, typing
import msgspec
from scoring.contract.decoding import decodable

sys.setswitchinterval(1e-7)
for turn in range(150):
    inner = [msgspec.defstruct(f"I{turn}_{k}", [(f"f{j}", int, 0) for j in range(20)]) for k in range(10)]
    outer = msgspec.defstruct(f"O{turn}", [(f"g{k}", typing.Optional[inner[k]], None) for k in range(10)])
    if READY:
        decodable(outer)
    start = threading.Barrier(4)

    def decode():
        start.wait()
        msgspec.json.decode(b'{"g9":{"f19":1},"g0":{"f3":2}}', type=outer)

    threads = [threading.Thread(target=decode) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def test_threads_whose_first_decodings_meet_survive_when_the_type_is_ready() -> None:
    done = subprocess.run([sys.executable, "-c", f"READY = True\n{MEETING}"], timeout=60, check=False)
    assert done.returncode == 0
