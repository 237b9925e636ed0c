"""Deleting versions from the registry in a folder and from MLflow's."""

from pathlib import Path

import pytest

from scoring.contract.errors import ConfigurationError
from scoring.registry.port import CHAMPION, Registry
from scoring.scorer.bundle import open_bundle
from tests.support.bundles import make_bundle

pytestmark = pytest.mark.filterwarnings(
    # MLflow's own: deprecated calls, and connections of its SQLite store left to the garbage collector.
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore::ResourceWarning",
)


@pytest.fixture
def three(registry: Registry, tmp_path: Path) -> list[str]:
    """The digests of three registered versions."""
    digests = [make_bundle(tmp_path / f"made-{number}", number) for number in (1, 2, 3)]
    for number in (1, 2, 3):
        assert registry.register("small", tmp_path / f"made-{number}", {}) == str(number)
    return digests


def files_below(folder: Path, size_bytes: int) -> int:
    return sum(1 for path in folder.rglob("model.onnx") if path.stat().st_size == size_bytes)


def test_a_removed_version_is_gone_with_its_files_and_the_others_stay(
    registry: Registry, three: list[str], tmp_path: Path
) -> None:
    size_bytes = (tmp_path / "made-1" / "model.onnx").stat().st_size
    before = files_below(tmp_path, size_bytes)
    registry.remove("small", "2")
    assert [info.version for info in registry.versions("small")] == ["1", "3"]
    assert before - files_below(tmp_path, size_bytes) == 1, "the files of the version must go, and no other's"
    with pytest.raises(ConfigurationError, match="there is no version 2 of small"):
        registry.fetch("small", "2", tmp_path / "gone")
    for number in (1, 3):
        registry.fetch("small", str(number), tmp_path / f"fetched-{number}")
        assert open_bundle(tmp_path / f"fetched-{number}", three[number - 1]).manifest.model == "small"


def test_removing_again_or_what_was_never_there_changes_nothing(registry: Registry, three: list[str]) -> None:
    assert len(three) == 3
    for _ in range(2):
        registry.remove("small", "2")
    registry.remove("small", "77")
    registry.remove("nobody", "1")
    assert len(registry.versions("small")) == 2


def test_a_version_with_an_alias_stays_whoever_set_it(registry: Registry, three: list[str]) -> None:
    assert registry.aliases("small") == {}
    registry.set_alias("small", CHAMPION, "1")
    registry.set_alias("small", "somebody-elses", "2")
    assert registry.aliases("small") == {CHAMPION: "1", "somebody-elses": "2"}
    for version in ("1", "2"):
        with pytest.raises(ConfigurationError, match=f"version {version} of small is not deleted: the alias"):
            registry.remove("small", version)
    registry.remove_alias("small", "somebody-elses")
    registry.remove("small", "2")
    assert len(registry.versions("small")) == len(three) - 1
    assert registry.aliases("nobody") == {}


def test_a_number_is_not_given_twice_and_a_removed_bundle_gets_a_new_one(
    registry: Registry, three: list[str], tmp_path: Path
) -> None:
    registry.remove("small", "1")
    again = registry.register("small", tmp_path / "made-1", {})
    assert (again, len(three)) == ("4", 3)


@pytest.mark.parametrize("version", ["../1", "0", "", "1/..", "latest"])
def test_what_is_no_number_removes_nothing(registry: Registry, three: list[str], version: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a version's number"):
        registry.remove("small", version)
    assert len(registry.versions("small")) == len(three)
