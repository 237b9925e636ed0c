import configparser
import stat
from pathlib import Path

import pytest

from local.programs import BATON_COMMANDS, Program, programs
from local.settings import COMPONENTS, StackSettings
from local.supervisor import (
    LONGEST_SOCKET_PATH_BYTES,
    control_socket,
    forget_control_socket,
    is_private,
    render_configuration,
)


def _parsed(settings: StackSettings, *chosen: Program) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read_string(render_configuration(settings, chosen, socket=Path("/run/control.sock")))
    return parser


def test_every_program_of_the_stack_is_supervised(settings: StackSettings) -> None:
    parsed = _parsed(settings, *programs(settings, COMPONENTS))
    found = {name.removeprefix("program:") for name in parsed.sections() if name.startswith("program:")}
    assert found == {"kafka", "mlflow", "api-server", "scheduler", "dag-processor", "triggerer", *BATON_COMMANDS}


def test_only_the_chosen_components_are_supervised(settings: StackSettings) -> None:
    assert [program.name for program in programs(settings, ("kafka", "daemon"))] == ["kafka", "daemon"]


def test_the_control_socket_is_closed_to_others(settings: StackSettings) -> None:
    assert _parsed(settings)["unix_http_server"]["chmod"] == "0600"


def test_the_daemon_is_stopped_before_what_it_needs(settings: StackSettings) -> None:
    rank = {program.name: program.stop_rank for program in programs(settings, COMPONENTS)}
    assert rank["daemon"] < rank["scheduler"] < rank["mlflow"] < rank["kafka"]


def test_a_percent_sign_is_not_taken_for_a_substitution(settings: StackSettings) -> None:
    program = Program("x", "x", ("run", "100%", "two words"), stop_rank=0, stop_wait_s=1, options={"A": "5%"})
    section = _parsed(settings, program)["program:x"]
    assert section["command"] == "run 100%% 'two words'"
    assert section["environment"] == 'A="5%%"'


def test_the_socket_is_in_the_state_directory_where_its_path_is_short_enough(tmp_path: Path) -> None:
    directory = tmp_path / "s"
    if len(str(directory / "control.sock")) <= LONGEST_SOCKET_PATH_BYTES:
        assert control_socket(directory) == directory / "control.sock"


def test_too_long_a_path_is_replaced_by_a_private_folder_that_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    directory = tmp_path / ("long" * 30)
    socket = control_socket(directory)
    assert len(str(socket)) < len(str(directory))
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    assert control_socket(directory) == socket


def test_a_folder_that_was_made_for_the_socket_is_removed_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    directory = tmp_path / ("long" * 30)
    control_socket(directory).touch()
    forget_control_socket(directory)
    assert [path for path in tmp_path.rglob("*") if path != directory] == []


def test_a_folder_that_others_can_enter_is_not_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    directory = tmp_path / ("long" * 30)
    first = control_socket(directory)
    first.parent.chmod(0o755)
    assert control_socket(directory) != first


def test_a_link_to_a_folder_is_not_private(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    assert is_private(tmp_path / "folder")
    assert not is_private(tmp_path / "link")
    assert not is_private(tmp_path / "absent")
