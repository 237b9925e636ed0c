import pytest

from scoring.worker.group_assignment import decode_assignment

# As Kafka 4.2 gave them: of a member with partitions 0 and 2 of a topic "x", and of one with two topics.
ONE = b"\x00\x00\x00\x00\x00\x01\x00\x01x\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00"
TWO = b"\x00\x01\x00\x00\x00\x02\x00\x02in\x00\x00\x00\x01\x00\x00\x00\x07\x00\x01y\x00\x00\x00\x00\xff\xff\xff\xff"


@pytest.mark.parametrize(
    ("content", "places"), [(b"", set()), (ONE, {("x", 0), ("x", 2)}), (TWO, {("in", 7)}), (b"\0\0\0\0\0\0", set())]
)
def test_the_partitions_of_a_member_are_read(content: bytes, places: set[tuple[str, int]]) -> None:
    assert decode_assignment(content) == places


@pytest.mark.parametrize("content", [ONE[:-10], b"\x00", b"\0\0\0\0\0\1\0\1\xff\0\0\0\0", b"\0\0\0\0\0\1\x7f\xff"])
def test_other_bytes_are_no_assignment(content: bytes) -> None:
    with pytest.raises(ValueError, match="this is no assignment of a consumer"):
        decode_assignment(content)
