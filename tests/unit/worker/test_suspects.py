"""Which topics are tried by themselves, and until when."""

from scoring.worker.suspects import LAPSE_S, Suspects


def test_a_suspicion_lapses_when_nothing_is_heard_of_the_topic() -> None:
    now = [0.0]
    suspects = Suspects(lambda: now[0])
    suspects.add(["idle", "bad"])
    now[0] = LAPSE_S - 1
    suspects.failed("bad")
    assert suspects
    now[0] = LAPSE_S + 1
    assert suspects
    assert suspects.choose(["idle", "bad"]) == "bad"
    now[0] = 2 * LAPSE_S
    assert not suspects
    assert suspects.waiting() == {}


def test_a_topic_whose_records_were_committed_is_above_suspicion() -> None:
    suspects = Suspects(lambda: 0.0)
    suspects.add(["a", "b"])
    suspects.failed("a")
    assert suspects.choose(["a", "b"]) == "b"
    suspects.passed("b")
    assert suspects.choose(["a", "b"]) == "a"
    suspects.passed("a")
    assert suspects.choose(["a", "b"]) is None
    assert not suspects
