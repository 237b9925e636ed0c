"""When a breaker opens, and what closes it."""

import pytest

from scoring.worker.breaker import MINIMUM_RECORDS, Breaker, Limits


def test_a_few_bad_records_alone_prove_nothing() -> None:
    breaker = Breaker(Limits())
    assert breaker.admits(MINIMUM_RECORDS - 1, MINIMUM_RECORDS - 1)
    assert not breaker.admits(1, 1)


@pytest.mark.parametrize(("letters", "admitted"), [(500, True), (501, False)])
def test_it_opens_above_the_share_of_the_window(letters: int, admitted: bool) -> None:
    assert Breaker(Limits(share=0.5, window_records=1_000)).admits(1_000, letters) is admitted


def test_good_records_of_long_ago_do_not_count() -> None:
    breaker = Breaker(Limits(window_records=1_000))
    for _ in range(100):
        assert breaker.admits(1_000, 0)
    assert 5 <= sum(breaker.admits(100, 100) for _ in range(20)) < 10


def test_an_open_one_takes_no_bad_probe_and_closes_with_a_good_one() -> None:
    breaker = Breaker(Limits())
    assert not breaker.admits(200, 200)
    assert [breaker.admits(50, 40) for _ in range(3)] == [False] * 3
    assert breaker.probes == 4
    assert breaker.admits(50, 10)
    assert breaker.probes == 0
    assert breaker.admits(49, 49)  # what counted before is forgotten, and few records prove nothing


def test_a_share_of_one_never_opens_it() -> None:
    breaker = Breaker(Limits(share=1.0))
    assert all(breaker.admits(1_000, 1_000) for _ in range(10))
