import io

import pytest

from scoring.backfill.progress import Progress, bar, duration
from scoring.backfill.store import Kept
from scoring.backfill.telling import Teller

KEPT = Kept(rows=1_000, failures=2, digest="0" * 64)


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_tells_chunks_records_rate_and_time_left() -> None:
    progress = Progress(chunks=10, found=2, began_s=50.0).with_chunk(KEPT).with_chunk(KEPT)
    assert progress.line(60.0) == "4 of 10 chunks, 2,000 records in this run, 4 not scored, 200 records/s, 30 s left"


def test_before_the_first_chunk_nothing_is_foretold() -> None:
    assert Progress(chunks=10).line(5.0) == "0 of 10 chunks, 0 records"


def test_one_is_not_told_as_several() -> None:
    kept = Kept(rows=1, failures=0, digest="0" * 64)
    assert Progress(chunks=1, began_s=0.0).with_chunk(kept).line(1.0) == "1 of 1 chunk, 1 record, 1 records/s"


def test_at_the_end_no_time_is_left() -> None:
    assert Progress(chunks=1, began_s=0.0).with_chunk(KEPT).line(2.0).endswith("500 records/s")


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (61, "1:01"), (3_723, "1:02:03")])
def test_lengths_of_time_are_written_as_people_do(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_bar_is_as_full_as_the_share() -> None:
    assert [bar(share, 4) for share in (0.0, 0.5, 1.0)] == ["░░░░", "██░░", "████"]


def test_on_a_terminal_one_line_moves() -> None:
    stream, clock = Terminal(), Clock()
    with Teller("small", 2, 0, stream, clock) as teller:
        for number in range(2):
            clock.now_s += 1
            teller.tell(number, KEPT)
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text.count("\r") == 2


def test_elsewhere_a_line_comes_now_and_then_and_at_the_end() -> None:
    stream, clock = io.StringIO(), Clock()
    with Teller("small", 30, 5, stream, clock) as teller:
        for number in range(25):
            clock.now_s += 1
            teller.tell(number, KEPT)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "small: going on: 5 of 30 chunks done before"
    assert len(lines) == 4
    assert lines[-1].startswith("small: 30 of 30 chunks")
