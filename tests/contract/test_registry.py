"""The registry in a folder and in MLflow."""

import shutil
from pathlib import Path

import pytest

from scoring.contract.errors import BundleRejected, ConfigurationError
from scoring.contract.manifest import MANIFEST_FILE, MODEL_FILE
from scoring.registry.open import open_registry
from scoring.registry.port import CHAMPION, DIGEST_TAG, Registry
from scoring.scorer.bundle import open_bundle
from tests.support.bundles import make_bundle

pytestmark = pytest.mark.filterwarnings(
    # MLflow's own: deprecated calls, and connections of its SQLite store left to the garbage collector.
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore::ResourceWarning",
)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_fetched_bundle_is_byte_for_byte_the_registered_one_and_nothing_else(
    registry: Registry, tmp_path: Path
) -> None:
    digest = make_bundle(tmp_path / "made", 1)
    version = registry.register("small", tmp_path / "made", {"run": "a"})
    registry.fetch("small", version, tmp_path / "cache" / "fetched")
    assert files_of(tmp_path / "cache" / "fetched") == files_of(tmp_path / "made")
    assert open_bundle(tmp_path / "cache" / "fetched", digest).digest == digest
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["fetched"], "something was left behind"


def test_versions_are_numbered_from_one_and_listed_oldest_first_with_their_tags(
    registry: Registry, tmp_path: Path
) -> None:
    digests = [make_bundle(tmp_path / f"{number}", number) for number in (1, 2, 3)]
    made = [registry.register("small", tmp_path / f"{number}", {"number": str(number)}) for number in (1, 2, 3)]
    found = registry.versions("small")
    assert made == ["1", "2", "3"] == [info.version for info in found]
    assert [info.manifest_digest for info in found] == digests
    assert found[1].tags["number"] == "2"
    assert found[1].tags[DIGEST_TAG] == digests[1]
    assert found[0].created_at <= found[2].created_at
    assert found[0].created_at.tzinfo is not None


def test_registering_again_returns_the_version_that_the_bundle_has(registry: Registry, tmp_path: Path) -> None:
    make_bundle(tmp_path / "1", 1)
    make_bundle(tmp_path / "2", 2)
    first = registry.register("small", tmp_path / "1", {})
    registry.register("small", tmp_path / "2", {})
    assert registry.register("small", tmp_path / "1", {}) == first
    assert len(registry.versions("small")) == 2


def test_an_unknown_model_has_no_versions_and_no_alias(registry: Registry) -> None:
    assert registry.versions("nobody") == []
    assert registry.alias("nobody", CHAMPION) is None
    registry.remove_alias("nobody", CHAMPION)


def test_an_alias_moves_and_goes_away(registry: Registry, tmp_path: Path) -> None:
    for number in (1, 2):
        make_bundle(tmp_path / f"{number}", number)
        registry.register("small", tmp_path / f"{number}", {})
    assert registry.alias("small", CHAMPION) is None
    registry.set_alias("small", CHAMPION, "1")
    assert registry.alias("small", CHAMPION) == "1"
    registry.set_alias("small", CHAMPION, "2")
    assert registry.alias("small", CHAMPION) == "2"
    registry.remove_alias("small", CHAMPION)
    registry.remove_alias("small", CHAMPION)
    assert registry.alias("small", CHAMPION) is None


def test_a_version_that_is_not_there_is_told_with_the_command_that_lists_them(
    registry: Registry, tmp_path: Path
) -> None:
    make_bundle(tmp_path / "1", 1)
    registry.register("small", tmp_path / "1", {})
    with pytest.raises(ConfigurationError, match="baton versions small"):
        registry.fetch("small", "9", tmp_path / "out")
    with pytest.raises(ConfigurationError, match="baton versions nobody"):
        registry.fetch("nobody", "1", tmp_path / "out")
    with pytest.raises(ConfigurationError, match="baton versions small"):
        registry.set_alias("small", CHAMPION, "9")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("version", ["../1", "1/../../x", "", "latest", "1;drop", "-1", "1\n", "01"])
def test_what_is_no_version_reaches_nothing(registry: Registry, tmp_path: Path, version: str) -> None:
    make_bundle(tmp_path / "1", 1)
    registry.register("small", tmp_path / "1", {})
    with pytest.raises(ConfigurationError):
        registry.fetch("small", version, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_bundle_is_not_registered(registry: Registry, tmp_path: Path) -> None:
    make_bundle(tmp_path / "1", 1)
    (tmp_path / "1" / MANIFEST_FILE).unlink()
    with pytest.raises(BundleRejected, match="holds no bundle"):
        registry.register("small", tmp_path / "1", {})
    assert registry.versions("small") == []


def test_a_bundle_of_another_model_is_not_registered(registry: Registry, tmp_path: Path) -> None:
    make_bundle(tmp_path / "1", 1)
    with pytest.raises(BundleRejected, match="a bundle of small, not of large"):
        registry.register("large", tmp_path / "1", {})


def test_a_bundle_with_a_link_in_it_is_not_registered(registry: Registry, tmp_path: Path) -> None:
    make_bundle(tmp_path / "1", 1)
    (tmp_path / "1" / "link").symlink_to("/etc/hostname")
    with pytest.raises(BundleRejected, match="link"):
        registry.register("small", tmp_path / "1", {})
    assert registry.versions("small") == []


def test_a_target_that_is_there_already_is_left_as_it_is(registry: Registry, tmp_path: Path) -> None:
    make_bundle(tmp_path / "1", 1)
    version = registry.register("small", tmp_path / "1", {})
    registry.fetch("small", version, tmp_path / "out")
    (tmp_path / "out" / "mark").touch()
    registry.fetch("small", version, tmp_path / "out")
    assert (tmp_path / "out" / "mark").exists()


def test_an_empty_target_is_filled(registry: Registry, tmp_path: Path) -> None:
    make_bundle(tmp_path / "1", 1)
    version = registry.register("small", tmp_path / "1", {})
    (tmp_path / "out").mkdir()
    registry.fetch("small", version, tmp_path / "out")
    assert (tmp_path / "out" / MODEL_FILE).exists()


def test_another_process_sees_the_same_registry(registry: Registry, registry_uri: str, tmp_path: Path) -> None:
    make_bundle(tmp_path / "1", 1)
    registry.set_alias("small", CHAMPION, registry.register("small", tmp_path / "1", {}))
    again = open_registry(registry_uri)
    assert again.alias("small", CHAMPION) == "1"
    shutil.rmtree(tmp_path / "1")
    again.fetch("small", "1", tmp_path / "out")
    assert (tmp_path / "out" / MANIFEST_FILE).exists()
