"""Turns of events that the tests of the single modules do not come by (protocol A)."""

import threading
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from scoring.contract.notice import Notice
from scoring.promotion import ledger as ledger_module
from scoring.promotion.ledger import Ledger
from scoring.promotion.rules import LostRace
from scoring.worker.cache import Cache
from scoring.worker.fetching import Fetching
from tests.support.bundles import MOMENT, make_bundle
from tests.support.decisions import proposal
from tests.support.postgres import MakeDatabase

pytestmark = pytest.mark.integration


@pytest.fixture
def in_between(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Lets something happen once, after the next decision has read the ledger and before it inserts."""
    check = vars(ledger_module)["check"]

    def arrange(happens: Callable[[], object]) -> None:
        left = [happens]

        def checks(*arguments: object) -> None:
            if left:
                left.pop()()
            check(*arguments)

        monkeypatch.setattr(ledger_module, "check", checks)

    return arrange


# PostgreSQL only: there two processes can have read the same head; SQLite locks before it reads.


def test_a2_a_stranger_that_decides_in_between_is_lost_to_and_told(
    make_postgres_database: MakeDatabase, in_between: Callable[[Callable[[], object]], None]
) -> None:
    url = make_postgres_database()
    ledger = Ledger.open(url)
    in_between(lambda: Ledger.open(url).decide(proposal("2", run_id="stranger")))
    with pytest.raises(LostRace, match="now has sequence 1") as lost:
        ledger.decide(proposal("1", run_id="mine"))
    assert lost.value.head is not None
    assert lost.value.head.run_id == "stranger"
    assert [entry.run_id for entry in ledger.entries("small")] == ["stranger"]


def test_a3_a_twin_that_decides_in_between_is_found_again(
    make_postgres_database: MakeDatabase, in_between: Callable[[Callable[[], object]], None]
) -> None:
    url = make_postgres_database()
    ledger = Ledger.open(url)
    in_between(lambda: Ledger.open(url).decide(proposal("1", run_id="mine")))
    assert ledger.decide(proposal("1", run_id="mine")).sequence == 1
    assert len(ledger.entries("small")) == 1


def test_a7_a_crash_while_fetching_does_not_skip_the_sequence(tmp_path: Path) -> None:
    digest = make_bundle(tmp_path / "made", 1)
    notice = Notice(
        ledger=UUID(int=7),
        model="small",
        sequence=1,
        kind=proposal().kind,
        version="1",
        manifest_digest=digest,
        decided_at=MOMENT,
        effective_from=MOMENT,
    )
    fetching, release = threading.Event(), threading.Event()

    def hangs(_model: str, _version: str, _target: Path) -> None:
        fetching.set()
        assert release.wait(30)
        raise OSError("the process was killed before this came")

    worker = _worker(tmp_path, hangs)
    worker.start()
    worker.offer(notice)
    assert fetching.wait(30)
    remembered = Cache(tmp_path / "cache", "d/0").recall().models  # what a successor would find now
    release.set()
    worker.stop()
    assert remembered == {}
    assert _worker(tmp_path, hangs)._is_news(notice)


def _worker(folder: Path, fetch: Callable[[str, str, Path], None]) -> Fetching:
    cache = Cache(folder / "cache", "d/0")
    return Fetching(models=["small"], cache=cache, fetch=fetch, trial=lambda *_: None, check=lambda _: None)
