"""Who logs is in every line, whichever of the process's threads wrote it."""

import json
import threading

import pytest
import structlog

from scoring.log import configure_logging, identify, library_log


def test_every_thread_names_the_process(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json")
    identify(worker="default/0")
    log = structlog.get_logger()
    log.info("one.thing")
    thread = threading.Thread(target=lambda: log.warning("another.thing", why="because"))
    thread.start()
    thread.join()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line["worker"], line["level"]) for line in lines] == [
        ("one.thing", "default/0", "info"),
        ("another.thing", "default/0", "warning"),
    ]
    assert lines[1]["why"] == "because"


def test_what_a_library_says_is_a_structured_line_of_the_process(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json")
    identify(worker="default/0")
    library_log("kafka.client").error("FAIL [thrd:%s] Connection refused", "broker:9092")
    library_log("kafka.client").warning("MAXPOLL")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line["worker"], line["level"], line["said"]) for line in lines] == [
        ("kafka.client", "default/0", "error", "FAIL [thrd:broker:9092] Connection refused"),
        ("kafka.client", "default/0", "warning", "MAXPOLL"),
    ]
