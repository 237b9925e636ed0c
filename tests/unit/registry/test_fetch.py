"""The short-lived process that fetches, and what its caller makes of its end."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from scoring.contract.errors import BundleRejected, ConfigurationError, Unavailable
from scoring.contract.manifest import MANIFEST_FILE
from scoring.registry.fetch import DONE, REFUSED, UNAVAILABLE, USAGE, check_outcome, fetch, fetch_command, main
from scoring.registry.open import open_registry
from tests.support.bundles import make_bundle


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    make_bundle(tmp_path / "registry" / "small" / "1", 1)
    found = (tmp_path / "registry").as_uri()
    monkeypatch.setenv("BATON_REGISTRY_URI", found)
    return found


def test_the_process_fetches_and_says_so_in_one_line(uri: str, tmp_path: Path) -> None:
    done = subprocess.run(fetch_command("small", "1", tmp_path / "out"), capture_output=True, check=False)
    assert (done.returncode, json.loads(done.stdout)) == (DONE, {"outcome": "done"})
    assert (tmp_path / "out" / MANIFEST_FILE).exists()
    check_outcome(done.returncode, done.stdout)


def test_a_process_that_fetches_from_a_folder_imports_no_mlflow(uri: str, tmp_path: Path) -> None:
    program = (
        "import sys; from scoring.registry.fetch import main; "
        f"main(['small', '1', {str(tmp_path / 'out')!r}]); print('mlflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_a_registry_that_is_away_is_to_be_tried_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch((tmp_path / "nowhere").as_uri(), "small", "1", tmp_path / "out").outcome == "unavailable"


@pytest.mark.parametrize("version", ["9", "nonsense"])
def test_a_version_that_is_not_there_is_tried_again_since_a_person_can_mend_it(
    uri: str, tmp_path: Path, version: str
) -> None:
    found = fetch(uri, "small", version, tmp_path / "out")
    assert (found.outcome, found.kind) == ("unavailable", ConfigurationError.__name__)


def test_something_else_under_the_version_is_refused(uri: str, tmp_path: Path) -> None:
    (tmp_path / "registry" / "small" / "1" / MANIFEST_FILE).write_text("{}")
    assert fetch(uri, "small", "1", tmp_path / "out").outcome == "refused"


def test_a_mistake_nobody_thought_of_is_not_taken_for_a_refusal(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks(_: str) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr("scoring.registry.fetch.open_registry", breaks)
    assert main(["small", "1", str(tmp_path / "out")]) == UNAVAILABLE
    assert "out of luck" in json.loads(capsys.readouterr().out)["reason"]


def test_a_missing_setting_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("BATON_REGISTRY_URI", raising=False)
    assert main(["small", "1", "out"]) == UNAVAILABLE
    assert "BATON_REGISTRY_URI" in json.loads(capsys.readouterr().out)["reason"]


def test_wrong_usage_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == USAGE
    assert "MODEL VERSION TARGET" in capsys.readouterr().err


def test_only_a_stated_refusal_is_a_refusal() -> None:
    with pytest.raises(BundleRejected, match="damaged"):
        check_outcome(REFUSED, b'noise\n{"outcome": "refused", "reason": "damaged"}\n')
    for status, output in (
        (REFUSED, b"Traceback"),
        (-9, b""),
        (UNAVAILABLE, b'{"outcome": "unavailable"}'),
        (1, b"{}"),
    ):
        with pytest.raises(Unavailable, match="status"):
            check_outcome(status, output)


@pytest.mark.parametrize("uri", ["", "/plain/path", "file:relative", "file://host/path", "ftp://x", "file:"])
def test_an_address_of_no_known_kind_is_a_mistake_of_the_configuration(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="registry"):
        open_registry(uri)


def test_a_registry_that_never_answers_is_given_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def hangs(_: str) -> None:
        threading.Event().wait()

    monkeypatch.setenv("BATON_REGISTRY_URI", "https://registry.example")
    monkeypatch.setattr("scoring.registry.fetch.TIMEOUT_S", 1)
    monkeypatch.setattr("scoring.registry.fetch.open_registry", hangs)
    assert main(["small", "1", "out"]) == UNAVAILABLE
    assert "longer than 1 s" in json.loads(capsys.readouterr().out)["reason"]
    assert signal.alarm(0) == 0, "the alarm outlives the call"


def test_a_refusal_over_a_name_that_is_no_text_is_still_a_refusal(uri: str, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path / "registry" / "small" / "1") + b"/\xff\xfe"
    os.mkdir(name)  # noqa: PTH102  a path that is no text
    done = subprocess.run(fetch_command("small", "1", tmp_path / "out"), capture_output=True, check=False)
    with pytest.raises(BundleRejected, match="is not a regular file"):
        check_outcome(done.returncode, done.stdout)
