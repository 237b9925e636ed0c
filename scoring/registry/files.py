"""What both adapters do with folders: copy a bundle's own files, and let a folder appear complete or not at all."""

import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from scoring.contract.digest import digest_of
from scoring.contract.errors import BundleRejected
from scoring.contract.manifest import MANIFEST_FILE, Manifest, decode_manifest
from scoring.contract.manifest_rules import MAXIMUM_BUNDLE_BYTES, MAXIMUM_FILES
from scoring.scorer.bundle import MAXIMUM_MANIFEST_BYTES, read_bounded


def read_manifest(folder: Path, model: str) -> tuple[Manifest, str]:
    """The manifest in ``folder`` and its SHA-256.

    Raises:
        BundleRejected: there is none, or it belongs to another model.
    """
    try:
        content = read_bounded(folder / MANIFEST_FILE, MAXIMUM_MANIFEST_BYTES)
    except BundleRejected as error:
        raise BundleRejected(f"{folder} holds no bundle: {error}") from error
    manifest = decode_manifest(content)
    if manifest.model != model:
        raise BundleRejected(f"{folder} holds a bundle of {manifest.model}, not of {model}")
    return manifest, digest_of(content)


@contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """A folder to fill, which then takes the place of ``target`` in one step, durably.

    Raises:
        FileExistsError: the target is there already and holds something; what was filled is thrown away.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = target.parent / f".staging-{uuid.uuid4().hex}"
    staging.mkdir()
    try:
        yield staging
        for path in (*staging.iterdir(), staging):
            _sync(path)
        try:
            staging.rename(target)
        except OSError as error:
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
            raise
        _sync(target.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def copy_files(source: Path, target: Path) -> None:
    """Copy the regular files of ``source`` into ``target``; a bundle has no folders and no links.

    Raises:
        BundleRejected: there is something else.
    """
    for entry in _regular_files(source):
        shutil.copyfile(entry, target / entry.name, follow_symlinks=False)


def _regular_files(source: Path) -> list[Path]:
    """What is to be copied, looked at before anything is: a bundle must not fill the disk either."""
    entries = sorted(islice(source.iterdir(), MAXIMUM_FILES + 2))  # the manifest is one more
    size_bytes = 0
    for entry in entries:
        found = entry.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise BundleRejected(f"bundle {source}: {entry.name} is not a regular file")
        size_bytes += found.st_size
    if len(entries) > MAXIMUM_FILES + 1:
        raise BundleRejected(f"bundle {source}: it has more than {MAXIMUM_FILES} files beside its manifest")
    if size_bytes > MAXIMUM_BUNDLE_BYTES + MAXIMUM_MANIFEST_BYTES:
        raise BundleRejected(f"bundle {source}: it has {size_bytes} bytes, at most {MAXIMUM_BUNDLE_BYTES} are allowed")
    return entries


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
