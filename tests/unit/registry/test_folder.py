"""What only the folder registry promises: numbers without races, crashes without traces, mounts that come and go."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scoring.contract.errors import BundleRejected, ConfigurationError, Unavailable
from scoring.contract.manifest import MANIFEST_FILE
from scoring.contract.manifest_rules import MAXIMUM_FILES
from scoring.registry.files import appearing
from scoring.registry.folder import FolderRegistry
from scoring.registry.port import CHAMPION
from scoring.scorer.bundle import open_bundle
from tests.support.bundles import make_bundle

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def registry(tmp_path: Path) -> FolderRegistry:
    (tmp_path / "registry").mkdir()
    return FolderRegistry(tmp_path / "registry", now=lambda: NOW)


def test_registrations_at_once_get_numbers_of_their_own(registry: FolderRegistry, tmp_path: Path) -> None:
    for number in range(24):
        make_bundle(tmp_path / f"b{number}", number)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: registry.register("small", tmp_path / f"b{number}", {}), range(24)))
    assert sorted(map(int, made)) == list(range(1, 25))
    for number, version in enumerate(made):
        stored = (tmp_path / "registry" / "small" / version / MANIFEST_FILE).read_bytes()
        assert stored == (tmp_path / f"b{number}" / MANIFEST_FILE).read_bytes()


def test_a_version_folder_is_a_bundle_as_it_is(registry: FolderRegistry, tmp_path: Path) -> None:
    digest = make_bundle(tmp_path / "made", 1)
    version = registry.register("small", tmp_path / "made", {})
    assert open_bundle(tmp_path / "registry" / "small" / version, digest).digest == digest


def test_the_moment_of_registration_is_kept(registry: FolderRegistry, tmp_path: Path) -> None:
    make_bundle(tmp_path / "made", 1)
    registry.register("small", tmp_path / "made", {})
    assert registry.versions("small")[0].created_at == NOW


def test_a_bundle_that_was_put_there_by_hand_is_a_version(registry: FolderRegistry, tmp_path: Path) -> None:
    make_bundle(tmp_path / "registry" / "small" / "5", 1)
    make_bundle(tmp_path / "made", 2)
    assert [info.version for info in registry.versions("small")] == ["5"]
    assert registry.register("small", tmp_path / "made", {}) == "6"
    registry.fetch("small", "5", tmp_path / "out")
    assert (tmp_path / "out" / MANIFEST_FILE).exists()


def test_a_number_is_never_given_twice_even_when_its_version_was_deleted(
    registry: FolderRegistry, tmp_path: Path
) -> None:
    make_bundle(tmp_path / "one", 1)
    make_bundle(tmp_path / "two", 2)
    registry.register("small", tmp_path / "one", {})
    (tmp_path / "registry" / "small" / "1").rename(tmp_path / "gone")
    assert registry.register("small", tmp_path / "two", {}) == "2"


def test_a_crash_while_copying_leaves_no_version(
    registry: FolderRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    make_bundle(tmp_path / "made", 1)
    monkeypatch.setattr("scoring.registry.folder.copy_files", dies)
    with pytest.raises(KeyboardInterrupt):
        registry.register("small", tmp_path / "made", {})
    assert registry.versions("small") == []


def test_a_registry_that_is_not_mounted_is_unavailable_not_empty(tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path / "not-mounted")
    with pytest.raises(Unavailable, match="mounted"):
        registry.versions("small")
    with pytest.raises(Unavailable, match="mounted"):
        registry.alias("small", CHAMPION)


def test_a_link_in_a_version_is_not_fetched(registry: FolderRegistry, tmp_path: Path) -> None:
    make_bundle(tmp_path / "registry" / "small" / "1", 1)
    (tmp_path / "registry" / "small" / "1" / "link").symlink_to("/etc/hostname")
    with pytest.raises(BundleRejected, match="not a regular file"):
        registry.fetch("small", "1", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("model", ["", "..", "a/b", "UPPER", ".hidden", "small\n"])
def test_what_is_no_name_of_a_model_reaches_nothing(registry: FolderRegistry, model: str) -> None:
    with pytest.raises(ConfigurationError, match="not the name of a model"):
        registry.versions(model)


def test_a_folder_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    def fill_half() -> None:
        with appearing(tmp_path / "target") as staging:
            (staging / "half").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fill_half()
    assert list(tmp_path.iterdir()) == []


def test_what_would_fill_the_disk_is_refused_before_it_is_copied(registry: FolderRegistry, tmp_path: Path) -> None:
    make_bundle(tmp_path / "registry" / "small" / "1", 1)
    with (tmp_path / "registry" / "small" / "1" / "holes.bin").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(BundleRejected, match=r"it has \d+ bytes, at most"):
        registry.fetch("small", "1", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_too_many_files_are_refused_before_they_are_copied(registry: FolderRegistry, tmp_path: Path) -> None:
    make_bundle(tmp_path / "registry" / "small" / "1", 1)
    for number in range(MAXIMUM_FILES):
        (tmp_path / "registry" / "small" / "1" / f"f{number}").touch()
    with pytest.raises(BundleRejected, match=f"more than {MAXIMUM_FILES} files"):
        registry.fetch("small", "1", tmp_path / "out")


def test_a_manifest_without_end_is_not_read_to_its_end(registry: FolderRegistry, tmp_path: Path) -> None:
    make_bundle(tmp_path / "made", 1)
    with (tmp_path / "made" / MANIFEST_FILE).open("ab") as file:
        file.truncate(2**40)
    with pytest.raises(BundleRejected, match=r"holds no bundle.*has more than"):
        registry.register("small", tmp_path / "made", {})
