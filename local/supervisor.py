"""supervisord, the process manager: its configuration, and how it is told what to do."""

import contextlib
import http.client
import os
import shlex
import stat
import subprocess
import tempfile
import time
import xmlrpc.client
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import psutil

from local.errors import StartError
from local.programs import Program, executable, log_file
from local.settings import StackSettings

LONGEST_SOCKET_PATH_BYTES = 90
"""A Unix socket's path has 107 bytes at most, and supervisord first binds to a longer name beside it."""


@dataclass(frozen=True)
class ProcessState:
    """What supervisord says of one program. ``started_at`` is in seconds since 1970, 0 when it never ran."""

    name: str
    state: str
    pid: int
    started_at: int
    uptime_s: int

    @property
    def running(self) -> bool:
        """Up for longer than the second in which a wrong configuration shows itself."""
        return self.state == "RUNNING"

    @property
    def failed(self) -> bool:
        """Ended without being told to."""
        return self.state in {"BACKOFF", "EXITED", "FATAL", "UNKNOWN"}


class Supervisor:
    """The supervisord of one stack, running or not."""

    def __init__(self, settings: StackSettings) -> None:
        self._settings = settings
        self._dir = settings.supervisor_dir
        self._config_file = self._dir / "supervisord.conf"

    def alive(self) -> bool:
        """Whether it answers."""
        if not self._config_file.exists():
            return False  # it was never started, and asking would make a place for its socket
        try:
            return bool(self._call("getState")["statename"] == "RUNNING")
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return False

    def start(self, programs: Iterable[Program], environ: Mapping[str, str], *, timeout_s: float = 15.0) -> None:
        """Start supervisord with ``programs``, none of which runs yet; raises StartError."""
        self.configure(programs)
        self._socket().unlink(missing_ok=True)
        command = [executable(self._settings, "supervisord"), "--configuration", str(self._config_file)]
        done = subprocess.run(command, env=dict(environ), capture_output=True, text=True, check=False)
        deadline = time.monotonic() + timeout_s
        while not self.alive():
            if done.returncode or time.monotonic() > deadline:
                log = log_file(self._settings, "supervisord")
                raise StartError(f"supervisord did not start: {done.stdout}{done.stderr}\nmore in {log}")
            time.sleep(0.05)

    def configure(self, programs: Iterable[Program]) -> None:
        """Write the configuration."""
        self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._config_file.write_text(render_configuration(self._settings, programs, socket=self._socket()))

    def reload(self) -> None:
        """Take over a configuration written meanwhile: removed programs are stopped, added ones not yet started."""
        added, changed, removed = self._call("reloadConfig")[0]
        for name in [*changed, *removed]:
            self.stop([name])
            self._call("removeProcessGroup", name)
        for name in [*added, *changed]:
            self._call("addProcessGroup", name)

    def start_program(self, name: str) -> None:
        """Start the program ``name`` without waiting for it; one that runs already is left alone."""
        _unless_fault("ALREADY_STARTED", partial(self._call, "startProcess", name, False))

    def states(self) -> list[ProcessState]:
        """What each configured program does, in no particular order."""
        return [_state(info) for info in self._call("getAllProcessInfo")]

    def stop(self, names: Iterable[str], *, timeout_s: float = 60.0) -> None:
        """Stop programs together and wait until they have ended (supervisord kills those that take too long)."""
        waiting = set(names)
        for name in waiting:
            _unless_fault("NOT_RUNNING", partial(self._call, "stopProcess", name, False))
        deadline = time.monotonic() + timeout_s
        while waiting and time.monotonic() < deadline:
            waiting &= {found.name for found in self.states() if found.state in {"RUNNING", "STARTING", "STOPPING"}}
            time.sleep(0.05)

    def shutdown(self, *, timeout_s: float = 60.0) -> None:
        """End supervisord and whatever it still runs."""
        pid = int(self._call("getPID"))
        self._call("shutdown")
        with contextlib.suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):  # the sweep that follows ends it
            psutil.Process(pid).wait(timeout_s)
        forget_control_socket(self._dir)

    def _call(self, method: str, *arguments: object) -> Any:
        from supervisor.xmlrpc import SupervisorTransport

        transport = cast("Any", SupervisorTransport(None, None, serverurl=f"unix://{self._socket()}"))
        # The host is never used: the transport connects to the socket.
        with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as proxy:
            return getattr(proxy.supervisor, method)(*arguments)

    def _socket(self) -> Path:
        return control_socket(self._dir)


def control_socket(directory: Path) -> Path:
    """Path of the control socket: in ``directory``, or in a private folder of its own when that is too long."""
    usual = directory / "control.sock"
    if len(os.fsencode(usual)) <= LONGEST_SOCKET_PATH_BYTES:
        return usual
    pointer = directory / "socket-folder"
    if pointer.exists() and is_private(folder := Path(pointer.read_text())):
        return folder / "control.sock"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="baton-"))
    pointer.write_text(str(folder))
    return folder / "control.sock"


def forget_control_socket(directory: Path) -> None:
    """Remove the socket, and the folder of its own that it may have had."""
    socket = control_socket(directory)
    socket.unlink(missing_ok=True)
    if socket.parent != directory:
        socket.parent.rmdir()
        (directory / "socket-folder").unlink()


def is_private(folder: Path) -> bool:
    """Whether ``folder`` is a real directory of this user that nobody else can enter."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o077


def render_configuration(settings: StackSettings, programs: Iterable[Program], *, socket: Path) -> str:
    """supervisord.conf. The programs inherit supervisord's environment; none starts by itself."""
    sections = [
        _section("unix_http_server", {"file": str(socket), "chmod": "0600"}),
        _section(
            "supervisord",
            {
                "pidfile": str(settings.supervisor_dir / "supervisord.pid"),
                "logfile": str(log_file(settings, "supervisord")),
                "logfile_maxbytes": "5MB",
                "logfile_backups": "1",
                "childlogdir": str(settings.log_dir),
                "directory": str(settings.project_dir),
                "umask": "077",
            },
        ),
        _section("rpcinterface:supervisor", {"supervisor.rpcinterface_factory": _RPC_FACTORY}),
        *(_program_section(settings, program) for program in programs),
    ]
    return "\n".join(sections)


_RPC_FACTORY = "supervisor.rpcinterface:make_main_rpcinterface"


def _program_section(settings: StackSettings, program: Program) -> str:
    return _section(
        f"program:{program.name}",
        {
            "command": shlex.join(program.command),
            "environment": ",".join(f'{name}="{value}"' for name, value in program.options.items()),
            "autostart": "false",
            "autorestart": "true",
            "startsecs": "1",
            "startretries": "2",
            "stopsignal": "TERM",
            "stopwaitsecs": str(program.stop_wait_s),
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": str(log_file(settings, program.name)),
            "stdout_logfile_maxbytes": "20MB",
            "stdout_logfile_backups": "2",
        },
    )


def _section(name: str, values: Mapping[str, str]) -> str:
    lines = [f"{key} = {value.replace('%', '%%')}" for key, value in values.items()]
    return "\n".join([f"[{name}]", *lines, ""])


def _state(info: Mapping[str, Any]) -> ProcessState:
    running = info["statename"] in {"RUNNING", "STOPPING"}
    return ProcessState(
        name=str(info["name"]),
        state=str(info["statename"]),
        pid=int(info["pid"]),
        started_at=int(info["start"]),
        uptime_s=int(info["now"]) - int(info["start"]) if running else 0,
    )


def _unless_fault(harmless: str, call: Callable[[], object]) -> None:
    try:
        call()
    except xmlrpc.client.Fault as fault:
        if not fault.faultString.startswith(harmless):
            raise
