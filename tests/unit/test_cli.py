"""The command line: every command explains itself, and the exit status says what happened."""

import os
import subprocess
import sys
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner, Result

from scoring import cli
from scoring.commands.show import _manifest_lines
from scoring.console import Moment
from scoring.contract.errors import BatonError, ConfigurationError, Unavailable
from scoring.contract.manifest import GOLDEN_FILE, MODEL_FILE
from scoring.scorer.bundle import write_bundle
from tests.support.bundles import make_bundle, score_of, small_bundle, small_record
from tests.support.classes import CLASSES, bundle_of_classes, probabilities

COMMANDS = cli.group.list_commands(click.Context(cli.group))


def run(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(cli.group, list(arguments), input=stdin)


def test_the_commands_of_the_scoring_side_are_there() -> None:
    assert {
        "worker",
        "score",
        "topics",
        "ledger",
        "promote",
        "rollback",
        "retire",
        "reconcile",
        "versions",
        "show",
        "verify",
        "prune",
        "adopt-ledger",
    } <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_explains_itself(name: str, option: str) -> None:
    found = run(name, option)
    assert found.exit_code == 0, found.output
    assert found.output.startswith("Usage: ")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_line_in_the_list(name: str) -> None:
    lines = run("--help").output.splitlines()
    assert any(line.strip().startswith(f"{name} ") and len(line.split()) > 3 for line in lines)


def test_help_and_version_import_no_command() -> None:
    code = "import sys; from scoring.cli import group; group(['--version'], standalone_mode=False); "
    code += "print(sorted(m for m in sys.modules if m.split('.')[0] in {'mlflow', 'onnxruntime', 'confluent_kafka'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


@pytest.mark.parametrize("arguments", [["nonsense"], ["worker", "--nonsense"], ["worker", "--slot", "x"], ["score"]])
def test_wrong_usage_is_exit_status_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize("moment", ["2013-04-01", "2013-04-01T12:30:00"])
def test_a_moment_without_an_offset_is_refused_with_two_that_would_do(moment: str) -> None:
    told = run("backfill", "small", "--from", moment, "--to", "2013-05-01T00:00:00Z")
    assert told.exit_code == 2
    _, _, advice = told.output.partition("write ")
    first, _, second = advice.strip().partition(" or ")
    assert {Moment().convert(text, None, None).tzinfo is not None for text in (first, second)} == {True}


def test_a_backfill_names_all_settings_that_it_lacks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BATON_")]:
        monkeypatch.delenv(name)
    words = ("backfill", "small", "--from", "2013-01-01T00:00:00Z", "--to", "2013-02-01T00:00:00Z")
    error = str(run(*words, "--from-topic").exception)
    lacking = ("PREDICTIONS_URL", "LEDGER_URL", "KAFKA_BOOTSTRAP", "REGISTRY_URI")
    assert [name for name in lacking if f"BATON_{name} is not set" not in error] == []
    error = str(run(*words, "--version", "1", "--output", "april").exception)
    assert error.count("is not set") == 1
    assert "BATON_REGISTRY_URI is not set" in error


_2013 = "2013-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("backfill", "small", "--from", "0001-01-01T00:00:00+05:00", "--to", _2013), "years 1 to 9999"),
        (("backfill", "small", "--from", _2013, "--to", "9999-12-31T23:59:59-05:00"), "years 1 to 9999"),
        (("dead-letters", "list", "small", "--since", "0001-01-01T00:00:00Z"), "before 1970"),
    ],
)
def test_a_moment_that_nothing_can_hold_is_a_mistake_of_usage(words: tuple[str, ...], told: str) -> None:
    found = run(*words)
    assert (found.exit_code, told in " ".join(found.output.split())) == (2, True), found.output


@pytest.mark.parametrize(
    ("error", "status"), [(ConfigurationError("mend it"), 2), (Unavailable("away"), 1), (BatonError("refused"), 1)]
)
def test_errors_become_one_line_and_an_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, status: int
) -> None:
    def fails(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "group", fails)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == status
    assert capsys.readouterr().err == f"baton: {error}\n"


def test_an_entry_point_that_is_no_command_is_named() -> None:
    with pytest.raises(ConfigurationError, match="is registered as a command of baton but is not one"):
        cli._as_command(object())


def test_the_worker_without_its_settings_says_which(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigurationError, match="BATON_SIGNING_KEYS_FILE is not set"):
        cli.group(["worker", "--models", "small"], standalone_mode=False)


# --- baton score --------------------------------------------------------------------------------------------------


def test_records_are_scored_with_a_bundle_on_disk(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", 1)
    good = [msgspec.json.encode(small_record(number)) for number in range(3)]
    found = run("score", str(tmp_path / "bundle"), stdin=b"\n".join([good[0], b"{", good[2]]) + b"\n")
    assert found.exit_code == 1
    lines = [msgspec.json.decode(line) for line in found.stdout.splitlines()]
    assert [line.get("score") for line in lines] == [score_of(1, 0), None, score_of(1, 2)]
    assert lines[1]["reason"] == "malformed-json"
    assert run("score", str(tmp_path / "bundle"), stdin=good[0]).exit_code == 0


def test_records_of_several_classes_get_their_label_and_every_probability(tmp_path: Path) -> None:
    bundle_of_classes(tmp_path / "bundle")
    found = run("score", str(tmp_path / "bundle"), stdin=msgspec.json.encode(small_record(0)))
    assert msgspec.json.decode(found.stdout) == {
        "score": 0.625,
        "label": "on time",
        "probabilities": dict(zip(CLASSES, probabilities(0), strict=True)),
        "decision": None,
    }
    assert run("verify", str(tmp_path / "bundle")).exit_code == 0


def test_a_damaged_bundle_is_not_scored_with(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", 1)
    (tmp_path / "bundle" / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(BatonError, match="wrong SHA-256"):
        cli.group(["score", str(tmp_path / "bundle")], standalone_mode=False)


def test_a_version_of_several_classes_is_shown_with_their_names(tmp_path: Path) -> None:
    told = [*_manifest_lines(bundle_of_classes(tmp_path / "bundle").manifest)]
    assert '  classes: early, on time, so-called "late"' in told
    assert "classes" not in "".join(_manifest_lines(small_bundle(tmp_path / "other").manifest))


# --- baton verify -------------------------------------------------------------------------------------------------


def test_a_sound_bundle_in_a_folder_is_verified_as_a_worker_would(tmp_path: Path) -> None:
    digest = make_bundle(tmp_path / "bundle", 1)
    found = run("verify", str(tmp_path / "bundle"), "--json")
    assert found.exit_code == 0
    document = msgspec.json.decode(found.stdout)
    assert [(check["check"], check["passed"]) for check in document["checks"]] == [
        ("digests", True),
        ("loads", True),
        ("golden-rows", True),
    ]
    assert (document["passed"], document["manifest_digest"]) == (True, digest)
    told = run("verify", str(tmp_path / "bundle"), "--digest", digest).stdout.splitlines()
    assert told[-1] == f"{tmp_path / 'bundle'} may score"


@pytest.mark.parametrize(
    ("damage", "failed"),
    [("model", "digests"), ("graph", "loads"), ("golden", "golden-rows"), ("digest", "digests"), ("gone", "digests")],
)
def test_verify_names_the_check_that_fails_and_runs_no_later_one(tmp_path: Path, damage: str, failed: str) -> None:
    folder = tmp_path / "bundle"
    options: list[str] = []
    if damage == "golden":
        make_bundle(folder, 1, golden_error=0.25)
    elif damage == "graph":
        bundle = small_bundle(tmp_path / "good")
        golden = (tmp_path / "good" / GOLDEN_FILE).read_bytes()
        write_bundle(folder, bundle.manifest, {MODEL_FILE: b"no graph", GOLDEN_FILE: golden})
    elif damage != "gone":
        make_bundle(folder, 1)
    if damage == "model":
        (folder / MODEL_FILE).write_bytes(b"damaged")
    if damage == "digest":
        options = ["--digest", "0" * 64]
    found = run("verify", str(folder), "--json", *options)
    assert found.exit_code == 1
    checks = msgspec.json.decode(found.stdout)["checks"]
    assert checks[-1]["check"] == failed
    assert [check["passed"] for check in checks] == [True] * (len(checks) - 1) + [False]
    assert run("verify", str(folder), *options).stdout.splitlines()[-1] == f"{folder} must not score"


def test_a_digest_that_is_none_is_wrong_usage(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", 1)
    with pytest.raises(ConfigurationError, match="is not a SHA-256"):
        cli.group(["verify", str(tmp_path / "bundle"), "--digest", "abc"], standalone_mode=False)
