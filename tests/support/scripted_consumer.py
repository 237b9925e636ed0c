"""A consumer that says what a script tells it to, and the clock that goes on meanwhile."""

from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaError


class Said:
    """What a consumer hands over: a record, or that it is at an end."""

    def __init__(self, offset: int, *, partition: int = 0, end: bool = False) -> None:
        self._offset = offset
        self._partition = partition
        self._end = end

    def offset(self) -> int:
        return self._offset

    def partition(self) -> int:
        return self._partition

    def error(self) -> KafkaError | None:
        return KafkaError(KafkaError._PARTITION_EOF) if self._end else None  # its name for it

    def timestamp(self) -> tuple[int, int]:
        return 1, 0

    def key(self) -> bytes:
        return b"k"

    def value(self) -> bytes:
        return b"v"

    def headers(self) -> None:
        return None


def end_at(offset: int, partition: int = 0) -> Said:
    """The event that tells that a partition ends at an offset."""
    return Said(offset, partition=partition, end=True)


class Scripted:
    """Hands over the answers one after the other, each 0.2 s later, then nothing for ever."""

    def __init__(self, answers: Sequence[Sequence[Said]], high: int = 1_000) -> None:
        self._answers = list(answers)
        self._high = high
        self.now_s = 0.0

    def clock_s(self) -> float:
        return self.now_s

    def get_watermark_offsets(self, *_: object, **__: object) -> tuple[int, int]:
        return 0, self._high

    def consume(self, _count: int, timeout_s: float) -> list[Said]:
        if timeout_s == 0:
            return []
        self.now_s += 0.2
        return list(self._answers.pop(0)) if self._answers else []

    def poll(self, timeout_s: float) -> Said | None:
        found = self.consume(1, timeout_s)
        return found[0] if found else None

    def __getattr__(self, name: str) -> Any:
        if name in {"assign", "pause", "resume", "unassign", "close"}:
            return lambda *_: None
        raise AttributeError(name)
