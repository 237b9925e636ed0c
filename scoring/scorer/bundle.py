"""Bundles on disk: write one, and open one after every digest was checked. Opening never runs code from a bundle."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import msgspec

from scoring.contract.digest import digest_of
from scoring.contract.errors import BundleRejected
from scoring.contract.features import FrozenLookup
from scoring.contract.frozen import MAXIMUM_BYTES as MAXIMUM_FROZEN_BYTES
from scoring.contract.frozen import file_of
from scoring.contract.golden import GoldenRow, decode_golden
from scoring.contract.manifest import GOLDEN_FILE, MANIFEST_FILE, MODEL_FILE, File, Manifest, decode_manifest

MAXIMUM_MANIFEST_BYTES = 16 * 2**20
MAXIMUM_GOLDEN_BYTES = 64 * 2**20
MAXIMUM_FILE_BYTES = 2 * 2**30
_CHUNK_BYTES = 2**20
_STRANGERS_TOLD = 5


class Bundle(msgspec.Struct, frozen=True):
    """A bundle whose files are the ones that its manifest names.

    Attributes:
        digest: SHA-256 of the manifest's bytes, the candidate's id.
        model: the compiled model's bytes, as they were when their digest was checked.
        frozen: the bytes of its frozen lookups' files by their names, checked as well.
    """

    folder: Path
    manifest: Manifest
    digest: str
    model: bytes
    golden: tuple[GoldenRow, ...]
    frozen: Mapping[str, bytes] = {}


def open_bundle(folder: Path, expected_digest: str | None = None) -> Bundle:
    """Open the bundle in ``folder``.

    Args:
        expected_digest: the manifest's SHA-256 as the notice names it; None trusts the manifest found.

    Raises:
        BundleRejected: a file is missing, damaged, too large or not named by the manifest, or the manifest is not the
            expected one.
    """
    content = read_bounded(folder / MANIFEST_FILE, MAXIMUM_MANIFEST_BYTES)
    digest = digest_of(content)
    if expected_digest is not None and digest != expected_digest:
        raise BundleRejected(f"bundle {folder}: the manifest's digest is {digest}, {expected_digest} was announced")
    manifest = decode_manifest(content)
    _check_names(folder, manifest)
    files = _checked_files(folder, manifest)
    model, golden = files.pop(MODEL_FILE), files.pop(GOLDEN_FILE)
    return Bundle(folder, manifest, digest, model, decode_golden(golden), files)


def write_bundle(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> str:
    """Write a new bundle; the manifest's ``files`` are filled in here.

    Returns:
        the manifest's SHA-256.

    Raises:
        BundleRejected: the model or the golden rows are not among the files.
        FileExistsError: the folder is there already; bundles are immutable.
    """
    missing = sorted({MODEL_FILE, GOLDEN_FILE} - set(files))
    if missing:
        raise BundleRejected(f"bundle {folder}: {', '.join(missing)} must be in it")
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    described = {name: File(sha256=digest_of(content), size_bytes=len(content)) for name, content in files.items()}
    encoded = msgspec.structs.replace(manifest, files=described).encode()
    (folder / MANIFEST_FILE).write_bytes(encoded)
    return digest_of(encoded)


def read_bounded(path: Path, maximum_bytes: int) -> bytes:
    """All of a regular file of a bundle.

    Raises:
        BundleRejected: it cannot be read, is a link or no file, or is larger than ``maximum_bytes``.
    """
    with _opened(path) as file:
        content = file.read(maximum_bytes + 1)
    if len(content) > maximum_bytes:
        raise BundleRejected(f"bundle {path.parent}: {path.name!r} has more than {maximum_bytes} bytes")
    return content


def _check_names(folder: Path, manifest: Manifest) -> None:
    missing = {MODEL_FILE, GOLDEN_FILE, *_frozen_files(manifest)} - set(manifest.files)
    if missing:
        raise BundleRejected(f"bundle {folder}: the manifest names no {' and no '.join(sorted(missing))}")
    with os.scandir(folder) as entries:
        strange = (entry.name for entry in entries if entry.name not in manifest.files and entry.name != MANIFEST_FILE)
        told = sorted(islice(strange, _STRANGERS_TOLD))
    if told:
        raise BundleRejected(f"bundle {folder}: {', '.join(told)} is not named by the manifest")


def _checked_files(folder: Path, manifest: Manifest) -> dict[str, bytes]:
    """The files that are needed; of the others only the digests are taken, piece by piece."""
    limits = {MODEL_FILE: MAXIMUM_FILE_BYTES, GOLDEN_FILE: MAXIMUM_GOLDEN_BYTES}
    limits |= dict.fromkeys(_frozen_files(manifest), MAXIMUM_FROZEN_BYTES)
    for name in manifest.files.keys() - limits.keys():
        _check_digest(folder, name, manifest.files[name])
    return {name: _checked_file(folder, name, manifest.files[name], limit) for name, limit in limits.items()}


def _frozen_files(manifest: Manifest) -> list[str]:
    return [file_of(lookup.name) for lookup in manifest.schema.lookups if isinstance(lookup, FrozenLookup)]


def _checked_file(folder: Path, name: str, file: File, maximum_bytes: int) -> bytes:
    content = read_bounded(folder / name, min(file.size_bytes, maximum_bytes))
    if len(content) != file.size_bytes or digest_of(content) != file.sha256:
        raise _wrong_digest(folder, name)
    return content


def _check_digest(folder: Path, name: str, file: File) -> None:
    found, size_bytes = hashlib.sha256(), 0
    with _opened(folder / name) as opened:
        while size_bytes <= file.size_bytes and (piece := opened.read(_CHUNK_BYTES)):
            found.update(piece)
            size_bytes += len(piece)
    if size_bytes != file.size_bytes or found.hexdigest() != file.sha256:
        raise _wrong_digest(folder, name)


def _wrong_digest(folder: Path, name: str) -> BundleRejected:
    return BundleRejected(f"bundle {folder}: {name} is not the file that the manifest names (wrong SHA-256)")


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        # A link could point anywhere, and would then be read under this file's digest: refuse to follow it. Not to
        # block: opening a pipe would wait for its writer.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            yield file
    except (OSError, ValueError) as error:  # ValueError: there is a null byte in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise BundleRejected(f"bundle {path.parent}: cannot read {path.name!r}: {reason}") from error
