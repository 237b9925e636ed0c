"""The cache: what survives a restart, whole or not at all."""

import os
from pathlib import Path
from uuid import UUID

import pytest

from scoring.contract.errors import ConfigurationError, Unavailable
from scoring.worker.cache import Cache, LiveVersion, Memory, Remembered

LEDGER = UUID(int=7)
REMEMBERED = Remembered(highest=4, live=LiveVersion(sequence=3, version="3", digest="ab" * 32))
MEMORY = Memory(ledger=LEDGER, models={"small": REMEMBERED})


def test_a_new_worker_remembers_nothing(tmp_path: Path) -> None:
    assert Cache(tmp_path, "d/0").recall() == Memory()


def test_what_was_remembered_is_recalled_by_the_same_worker_only(tmp_path: Path) -> None:
    Cache(tmp_path, "d/0").remember(MEMORY)
    assert Cache(tmp_path, "d/0").recall() == MEMORY
    assert Cache(tmp_path, "d/1").recall() == Memory()


def test_remembering_one_model_keeps_the_others() -> None:
    both = MEMORY.with_model("other", Remembered(highest=1), LEDGER)
    assert both.models == {"small": REMEMBERED, "other": Remembered(highest=1)}


def test_a_memory_that_was_only_half_written_does_not_count(tmp_path: Path) -> None:
    cache = Cache(tmp_path, "d/0")
    cache.remember(MEMORY)
    (tmp_path / "workers" / "d-0.new").write_bytes(b'{"ledger":')
    assert cache.recall() == MEMORY
    cache.remember(MEMORY)
    assert sorted(path.name for path in (tmp_path / "workers").iterdir()) == ["d-0.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"ledger": 7}', b'{"models": {"small": 1}}'])
def test_a_damaged_memory_names_the_file_and_what_to_do(tmp_path: Path, content: bytes) -> None:
    cache = Cache(tmp_path, "d/0")
    (tmp_path / "workers" / "d-0.json").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"d-0\.json cannot be read .*remove it"):
        cache.recall()


def test_a_folder_that_cannot_be_made_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="BATON_CACHE_DIR"):
        Cache(tmp_path / "file", "d/0")


def test_a_kept_bundle_is_found_by_its_digest(tmp_path: Path) -> None:
    cache = Cache(tmp_path, "d/0")
    assert cache.bundle("ab") is None
    scratch = cache.scratch()
    (scratch / "manifest.json").write_text("x")
    kept = cache.keep(scratch, "ab")
    assert cache.bundle("ab") == kept
    assert (kept / "manifest.json").read_text() == "x"
    assert not scratch.exists()
    cache.discard("ab")
    assert cache.bundle("ab") is None
    cache.discard("ab")


def test_of_two_workers_that_fetched_the_same_bundle_the_first_copy_stays(tmp_path: Path) -> None:
    caches = Cache(tmp_path, "d/0"), Cache(tmp_path, "d/1")
    for number, cache in enumerate(caches):
        scratch = cache.scratch()
        (scratch / "file").write_text(str(number))
        assert (cache.keep(scratch, "ab") / "file").read_text() == "0"
        assert not scratch.exists()


def test_sweeping_removes_only_what_this_worker_was_fetching(tmp_path: Path) -> None:
    mine, other = Cache(tmp_path, "d/0"), Cache(tmp_path, "d/1")
    left, busy = mine.scratch(), other.scratch()
    mine.keep(mine.scratch(), "ab")
    mine.sweep()
    assert not left.exists()
    assert busy.exists()
    assert mine.bundle("ab") is not None


def test_a_disk_in_the_way_is_temporary(tmp_path: Path) -> None:
    cache = Cache(tmp_path, "d/0")
    with pytest.raises(Unavailable, match="cannot write to"):
        cache.keep(tmp_path / "nowhere", "ab")
    (tmp_path / "fetching" / "d-0").rmdir()
    with pytest.raises(Unavailable, match="cannot write to"):
        cache.scratch()


def test_what_was_not_used_for_longest_goes_but_for_what_is_live_in_a_worker_of_the_host(tmp_path: Path) -> None:
    cache = Cache(tmp_path, "d/0")
    for age_s, digest in enumerate(("new", "used", "old", "live", "older")):
        (tmp_path / "bundles" / digest).mkdir()
        (tmp_path / "bundles" / digest / "model.onnx").touch()
        os.utime(tmp_path / "bundles" / digest, (1_000_000 - age_s, 1_000_000 - age_s))
    live = Remembered(highest=4, live=LiveVersion(sequence=3, version="3", digest="live"))
    Cache(tmp_path, "d/1").remember(Memory(ledger=LEDGER, models={"small": live}))
    (tmp_path / "workers" / "d-2.json").write_text("damaged")
    cache.bundle("old")
    assert sorted(cache.prune(kept=2)) == ["older", "used"]
    assert sorted(path.name for path in (tmp_path / "bundles").iterdir()) == ["live", "new", "old"]
    assert not list((tmp_path / "fetching" / "d-0").iterdir())
    assert cache.prune(kept=2) == []


def test_two_workers_may_discard_the_same_bundle(tmp_path: Path) -> None:
    (tmp_path / "bundles" / "ab").mkdir(parents=True)
    for worker in ("d/0", "d/1"):
        Cache(tmp_path, worker).discard("ab")
    assert Cache(tmp_path, "d/0").bundle("ab") is None
