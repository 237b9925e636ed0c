"""A stretch of a partition is read to its end, whatever ends the client tells of before."""

from collections.abc import Sequence
from typing import Any

import pytest

from scoring import reading
from scoring.contract.errors import Unavailable
from scoring.reading import Reader
from tests.support.scripted_consumer import Said, Scripted, end_at

RECORDS = [[Said(offset)] for offset in range(100, 110)]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Reads a stretch of partition 0 with a consumer that follows a script."""

    def read(*answers: Sequence[Said]) -> list[int]:
        consumer = Scripted(answers)
        monkeypatch.setattr(reading, "admin_client", lambda _: None)
        monkeypatch.setattr(reading, "topic_ids", lambda *_: {"t": "id"})
        monkeypatch.setattr(reading, "partitions_of", lambda *_: 2)
        monkeypatch.setattr(reading, "Consumer", lambda _: consumer)
        reader = Reader({"bootstrap.servers": "127.0.0.1:9"}, "t", within_s=5, clock=consumer.clock_s)
        return [stored.offset for stored in reader.stretch({0: (100, 110)})]

    return read


@pytest.mark.parametrize("early", [end_at(5), end_at(109), end_at(500, partition=1)])
def test_an_end_before_the_one_that_is_waited_for_ends_nothing(read: Any, early: Said) -> None:
    assert read([early], [], *RECORDS) == [*range(100, 110)]


def test_of_a_partition_that_is_not_there_it_is_told_how_many_there_are(read: Any) -> None:
    read(*RECORDS)
    reader = Reader({"bootstrap.servers": "127.0.0.1:9"}, "t")
    assert reader.why_nothing(2, 0) == "t has 2 partitions, 0 to 1"
    assert "nothing yet" in reader.why_nothing(1, 1_000)


def test_markers_at_the_end_of_a_stretch_are_nothing_to_wait_for(read: Any) -> None:
    assert read(*RECORDS[:8], [end_at(110)]) == [*range(100, 108)]


def test_a_stretch_whose_end_nobody_tells_of_is_an_outage(read: Any) -> None:
    with pytest.raises(Unavailable, match="no answer within 5 s"):
        read(*RECORDS[:8], [end_at(108)])
