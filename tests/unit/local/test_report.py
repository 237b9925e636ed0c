import pytest

from local.errors import StackError
from local.report import all_running, log_files, table
from local.settings import StackSettings
from local.supervisor import ProcessState

KAFKA = ProcessState("kafka", "RUNNING", pid=12, started_at=1, uptime_s=75)
DAEMON = ProcessState("daemon", "FATAL", pid=0, started_at=0, uptime_s=0)


def test_the_table_shows_state_pid_uptime_memory_and_address(settings: StackSettings) -> None:
    lines = table(settings, [KAFKA, DAEMON], memory=lambda _: 3 * 2**20).splitlines()
    assert lines[0].split() == ["process", "state", "pid", "uptime", "memory", "address"]
    assert lines[1].split() == ["kafka", "running", "12", "1", "min", "15", "s", "3", "MiB", "127.0.0.1:19092"]
    assert lines[2].split() == ["daemon", "fatal", "-", "-", "-"]


def test_all_run_only_when_each_does() -> None:
    assert all_running([KAFKA])
    assert not all_running([KAFKA, DAEMON])
    assert not all_running([])


def test_asking_for_a_log_that_there_is_not_names_those_there_are(settings: StackSettings) -> None:
    settings.log_dir.mkdir(parents=True)
    (settings.log_dir / "kafka.log").touch()
    assert log_files(settings, "kafka") == [settings.log_dir / "kafka.log"]
    with pytest.raises(StackError, match=r"no log of 'redis'.*there is: kafka"):
        log_files(settings, "redis")
