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
    library_log("own.client").error("FAIL [thrd:%s] Connection refused", "broker:9092")
    library_log("own.client").warning("MAXPOLL")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line["worker"], line["level"], line["said"]) for line in lines] == [
        ("own.client", "default/0", "error", "FAIL [thrd:broker:9092] Connection refused"),
        ("own.client", "default/0", "warning", "MAXPOLL"),
    ]


def test_what_a_library_says_again_and_again_is_counted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure_logging("json")
    logger = library_log("some.client")
    clock = iter([0.0, 1.0, 2.0, 9.0, 11.0, 12.0, 13.0])
    monkeypatch.setattr(logger.handlers[0], "_clock_s", lambda: next(clock))
    for number in range(4):
        logger.error("refused after %d ms", number)
    logger.error("refused after 4 ms")
    logger.error("refused after 5 ms")
    logger.error("something else after 5 ms")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["said"], line.get("left_out")) for line in lines] == [
        ("refused after 0 ms", None),
        ("refused after 4 ms", 3),
        ("something else after 5 ms", None),
    ]
