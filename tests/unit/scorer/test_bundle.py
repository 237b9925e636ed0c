"""Bundles on disk: each kind of damage is refused, and nothing outside the folder is ever read."""

import json
import os
from pathlib import Path

import pytest

from scoring.contract.digest import digest_of
from scoring.contract.errors import BundleRejected
from scoring.contract.manifest import GOLDEN_FILE, MANIFEST_FILE, MODEL_FILE, Manifest
from scoring.scorer import bundle as module
from scoring.scorer.bundle import open_bundle, write_bundle
from tests.support.bundles import make_bundle

FILES = (MANIFEST_FILE, MODEL_FILE, GOLDEN_FILE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "bundle"


@pytest.fixture
def digest(folder: Path) -> str:
    return make_bundle(folder, 1)


def manifest_with(folder: Path, **changes: object) -> None:
    path = folder / MANIFEST_FILE
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))


def files_with(folder: Path, name: str, **changes: object) -> None:
    found = json.loads((folder / MANIFEST_FILE).read_bytes())["files"]
    described = {"sha256": "0" * 64, "size_bytes": 1, **found.get(name, {}), **changes}
    manifest_with(folder, files={**found, name: described})


def test_a_bundle_opens_under_the_digest_that_writing_it_returned(folder: Path, digest: str) -> None:
    bundle = open_bundle(folder, digest)
    assert bundle.digest == digest
    assert bundle.model == (folder / MODEL_FILE).read_bytes()
    assert len(bundle.golden) == 20
    assert set(bundle.manifest.files) == {MODEL_FILE, GOLDEN_FILE}


def test_the_same_content_has_the_same_digest_anywhere(tmp_path: Path) -> None:
    assert make_bundle(tmp_path / "a", 1) == make_bundle(tmp_path / "b", 1) != make_bundle(tmp_path / "c", 2)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_anywhere_is_noticed(folder: Path, digest: str, name: str) -> None:
    content = (folder / name).read_bytes()
    for place in range(0, len(content), max(1, len(content) // 60)):
        damaged = bytearray(content)
        damaged[place] ^= 1
        (folder / name).write_bytes(damaged)
        with pytest.raises(BundleRejected):
            open_bundle(folder, digest)
    (folder / name).write_bytes(content)
    assert open_bundle(folder, digest).digest == digest


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kept", [0, 1, -1])
def test_a_truncated_file_is_noticed(folder: Path, digest: str, name: str, kept: int) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:kept])
    with pytest.raises(BundleRejected):
        open_bundle(folder, digest)


@pytest.mark.parametrize("name", FILES)
def test_an_extended_file_is_noticed(folder: Path, digest: str, name: str) -> None:
    with (folder / name).open("ab") as file:
        file.write(b"\n")
    with pytest.raises(BundleRejected):
        open_bundle(folder, digest)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, digest: str, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleRejected, match=f"cannot read '{name}': No such file"):
        open_bundle(folder, digest)


def test_files_of_another_bundle_do_not_pass(tmp_path: Path, folder: Path, digest: str) -> None:
    make_bundle(tmp_path / "other", 2)
    for name in FILES:
        original = (folder / name).read_bytes()
        (folder / name).write_bytes((tmp_path / "other" / name).read_bytes())
        with pytest.raises(BundleRejected):
            open_bundle(folder, digest)
        (folder / name).write_bytes(original)


def test_another_whole_bundle_under_the_announced_digest_does_not_pass(tmp_path: Path, digest: str) -> None:
    other = make_bundle(tmp_path / "other", 2)
    with pytest.raises(BundleRejected, match=f"the manifest's digest is {other}, {digest} was announced"):
        open_bundle(tmp_path / "other", digest)


def test_a_stranger_among_the_files_is_refused(folder: Path, digest: str) -> None:
    (folder / "extra.py").write_text("print('hello')")
    with pytest.raises(BundleRejected, match=r"extra\.py is not named by the manifest"):
        open_bundle(folder, digest)


def test_a_folder_inside_is_a_stranger(folder: Path, digest: str) -> None:
    (folder / "data").mkdir()
    with pytest.raises(BundleRejected, match="data is not named"):
        open_bundle(folder, digest)


@pytest.mark.parametrize("name", FILES)
def test_a_link_is_not_followed_even_to_the_right_content(tmp_path: Path, folder: Path, digest: str, name: str) -> None:
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(BundleRejected, match="cannot read"):
        open_bundle(folder, digest)


def test_a_pipe_in_place_of_a_file_does_not_block(folder: Path, digest: str) -> None:
    (folder / MODEL_FILE).unlink()
    os.mkfifo(folder / MODEL_FILE)
    with pytest.raises(BundleRejected):
        open_bundle(folder, digest)


def test_a_folder_in_place_of_a_file_is_refused(folder: Path, digest: str) -> None:
    (folder / MODEL_FILE).unlink()
    (folder / MODEL_FILE).mkdir()
    with pytest.raises(BundleRejected, match="Is a directory"):
        open_bundle(folder, digest)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b", ".", "..", "", "a\0b", "x" * 300])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, folder: Path, digest: str, name: str) -> None:
    (tmp_path / "secret").write_text("s")
    files_with(folder, name)
    with pytest.raises(BundleRejected):
        open_bundle(folder)


@pytest.mark.parametrize("size", [0, 1, 10**9, -1, 2**70])
def test_a_size_that_is_not_the_files_is_refused(folder: Path, digest: str, size: int) -> None:
    files_with(folder, MODEL_FILE, size_bytes=size)
    with pytest.raises(BundleRejected):
        open_bundle(folder)


def test_what_is_larger_than_the_limit_is_not_read_to_its_end(
    folder: Path, digest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAXIMUM_FILE_BYTES", 10)
    with pytest.raises(BundleRejected, match="has more than 10 bytes"):
        open_bundle(folder, digest)
    monkeypatch.setattr(module, "MAXIMUM_MANIFEST_BYTES", 10)
    with pytest.raises(BundleRejected, match=r"manifest\.json' has more than 10 bytes"):
        open_bundle(folder, digest)


def test_an_unknown_format_is_refused(folder: Path, digest: str) -> None:
    manifest_with(folder, format=99)
    with pytest.raises(BundleRejected, match="format 99 is unknown here"):
        open_bundle(folder)


@pytest.mark.parametrize("name", [MODEL_FILE, GOLDEN_FILE])
def test_a_manifest_must_name_model_and_golden_rows(folder: Path, digest: str, name: str) -> None:
    files = json.loads((folder / MANIFEST_FILE).read_bytes())["files"]
    del files[name]
    manifest_with(folder, files=files)
    with pytest.raises(BundleRejected, match=f"the manifest names no {name}"):
        open_bundle(folder)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(BundleRejected):
            open_bundle(path)


def test_a_bundle_is_never_overwritten(folder: Path, digest: str) -> None:
    with pytest.raises(FileExistsError):
        make_bundle(folder, 2)
    assert open_bundle(folder, digest).digest == digest


def test_a_bundle_is_not_written_without_its_golden_rows(tmp_path: Path, folder: Path, digest: str) -> None:
    manifest: Manifest = open_bundle(folder).manifest
    with pytest.raises(BundleRejected, match=r"golden\.json must be in it"):
        write_bundle(tmp_path / "new", manifest, {MODEL_FILE: b"x"})
    assert not (tmp_path / "new").exists()


def test_further_files_are_checked_piece_by_piece_and_not_kept(folder: Path, digest: str) -> None:
    content = b"w" * 3_000_001
    (folder / "weights.bin").write_bytes(content)
    files_with(folder, "weights.bin", sha256=digest_of(content), size_bytes=len(content))
    assert set(open_bundle(folder).manifest.files) == {MODEL_FILE, GOLDEN_FILE, "weights.bin"}
    for spoiled in (content[:-1], content + b"w", b"W" + content[1:]):
        (folder / "weights.bin").write_bytes(spoiled)
        with pytest.raises(BundleRejected, match=r"weights\.bin is not the file"):
            open_bundle(folder)


def test_golden_rows_have_a_bound_of_their_own(folder: Path, digest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAXIMUM_GOLDEN_BYTES", 10)
    with pytest.raises(BundleRejected, match=r"golden\.json' has more than 10 bytes"):
        open_bundle(folder, digest)


def test_of_many_strangers_a_few_are_told(folder: Path, digest: str) -> None:
    for number in range(500):
        (folder / f"stranger-{number}").touch()
    with pytest.raises(BundleRejected) as caught:
        open_bundle(folder, digest)
    assert str(caught.value).count("stranger-") == 5
