"""What the load generator tells is read as it is."""

from pathlib import Path

import pytest

from bench.environments import NotInstalled
from bench.load import Answers, Tally, counted, generator, read

TOLD = """\
response-time,DNS+dialup,DNS,Request-write,Response-delay,Response-read,status-code,offset
0.0100,0.0003,0.0000,0.0000,0.0097,0.0000,200,0.0007
0.0300,0.0003,0.0000,0.0000,0.0297,0.0000,200,0.0007
0.0010,0.0003,0.0000,0.0000,0.0007,0.0000,429,0.0008
"""


SUMMARY = """\

Summary:
  Total:	0.1040 secs
  Requests/sec:	192.3

Response time histogram:
  0.001 [1]	|■
  0.004 [17]	|■■■■■■■■■■■■■■

Status code distribution:
  [200]	16 responses
  [503]	2 responses

Error distribution:
  [3]	Post "http://127.0.0.1:1/": dial tcp 127.0.0.1:1: connect: connection refused
  [1]	Post "http://127.0.0.1:1/": EOF
"""


def test_requests_without_an_answer_are_counted() -> None:
    assert counted(SUMMARY) == Tally({200: 16, 503: 2}, 4)
    assert counted(SUMMARY.partition("Error")[0]) == Tally({200: 16, 503: 2}, 0)


def test_answers_are_told_apart_by_their_status() -> None:
    found = Answers(2.0, read([TOLD]))
    assert found.latencies_s == {200: [0.01, 0.03], 429: [0.001]}
    assert (found.count, found.rate(), found.rate(200), found.rate(503)) == (3, 1.5, 1.0, 0.0)
    assert (found.quantile_ms(0.5), found.quantile_ms(0.99), found.quantile_ms(0.99, 429)) == (10.0, 30.0, 1.0)
    assert found.quantile_ms(0.5, 503) is None


def test_a_generator_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HEY", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotInstalled, match="apt-get install hey"):
        generator()
    monkeypatch.setenv("HEY", "/opt/hey")
    assert generator() == "/opt/hey"
