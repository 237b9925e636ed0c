"""The registry in a folder: ``<root>/<model>/<version>/`` holds the bundle's files and nothing else.

Beside the versions stand ``.versions/<version>.json`` (tags; making it is what claims the number, so that no number is
given twice) and ``.aliases/<alias>`` (the version's number).
"""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from scoring.contract.clock import from_epoch_s
from scoring.contract.decoding import decodable
from scoring.contract.errors import ConfigurationError, Unavailable
from scoring.registry.address import checked_name, checked_version, is_version, require_no_alias
from scoring.registry.files import appearing, copy_files, read_manifest
from scoring.registry.port import DIGEST_TAG, VersionInfo


class _Record(msgspec.Struct, frozen=True):
    created_at: datetime
    tags: dict[str, str]


decodable(_Record)


class FolderRegistry:
    """Keeps bundles below ``root``; safe for many processes on one file system."""

    def __init__(self, root: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._root = root
        self._now = now

    def register(self, model: str, folder: Path, tags: Mapping[str, str]) -> str:
        """Keep the bundle as a new version, or find the version that it has already."""
        _, digest = read_manifest(folder, model)
        with _folder_errors(self._root):
            for known in self.versions(model):
                if known.manifest_digest == digest:
                    return known.version
            version = self._claim(model, _Record(self._now(), {**tags, DIGEST_TAG: digest}))
            with appearing(self._version(model, version)) as staging:
                copy_files(folder, staging)
        return version

    def fetch(self, model: str, version: str, target: Path) -> None:
        """Copy the bundle's files into the new folder ``target``."""
        with _folder_errors(self._root):
            source = self._existing(model, version)
            try:
                with appearing(target) as staging:
                    copy_files(source, staging)
                    read_manifest(staging, model)
            except FileExistsError:
                return

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Point ``alias`` at ``version``."""
        with _folder_errors(self._root):
            self._existing(model, version)
            path = self._alias(model, alias)
            path.parent.mkdir(exist_ok=True)
            _write(path, f"{version}\n".encode(), os.replace)

    def remove_alias(self, model: str, alias: str) -> None:
        """Take ``alias`` away."""
        with _folder_errors(self._root):
            self._alias(model, alias).unlink(missing_ok=True)

    def alias(self, model: str, alias: str) -> str | None:
        """The version that ``alias`` points at, or None."""
        with _folder_errors(self._root):
            try:
                return self._alias(model, alias).read_text().strip()
            except FileNotFoundError:
                self._require_root()
                return None

    def aliases(self, model: str) -> Mapping[str, str]:
        """Every alias with the version that it points at."""
        with _folder_errors(self._root):
            self._require_root()
            folder = self._model(model) / ".aliases"
            # Files with a dot are those that another process is just writing.
            found = [path for path in folder.iterdir() if path.name[0] != "."] if folder.is_dir() else []
            return {path.name: path.read_text().strip() for path in sorted(found)}

    def remove(self, model: str, version: str) -> None:
        """Delete a version's folder. Its record stays, so that its number is not given again."""
        with _folder_errors(self._root):
            require_no_alias(self.aliases(model), model, version)
            folder = self._version(model, version)
            # Out of sight in one step; what an earlier try did not finish goes with it.
            with suppress(FileNotFoundError):
                folder.rename(folder.parent / f".removed-{uuid.uuid4().hex}")
            for left in self._model(model).glob(".removed-*"):
                shutil.rmtree(left)

    def versions(self, model: str) -> list[VersionInfo]:
        """All versions, oldest first."""
        with _folder_errors(self._root):
            self._require_root()
            folder = self._model(model)
            if not folder.is_dir():
                return []
            numbers = sorted(int(entry.name) for entry in folder.iterdir() if is_version(entry.name))
            return [self._info(model, str(number)) for number in numbers]

    def _info(self, model: str, version: str) -> VersionInfo:
        record = self._record(model, version)
        return VersionInfo(
            model=model,
            version=version,
            created_at=record.created_at,
            manifest_digest=record.tags.get(DIGEST_TAG),
            tags=record.tags,
        )

    def _record(self, model: str, version: str) -> _Record:
        try:
            content = self._claims(model).joinpath(f"{version}.json").read_bytes()
            return msgspec.json.decode(content, type=_Record)
        except FileNotFoundError:  # a bundle that a person put there by hand
            return _Record(from_epoch_s(self._version(model, version).stat().st_mtime), {})
        except msgspec.MsgspecError as error:
            raise ConfigurationError(f"{self._claims(model)}/{version}.json is damaged: {error}") from error

    def _claim(self, model: str, record: _Record) -> str:
        claims = self._claims(model)
        claims.mkdir(parents=True, exist_ok=True)
        while True:
            # Numbers placed by hand count as well as claimed ones.
            taken = [path.stem for folder in (claims, self._model(model)) for path in folder.iterdir()]
            version = str(max((int(name) for name in taken if is_version(name)), default=0) + 1)
            try:
                _write(claims / f"{version}.json", msgspec.json.encode(record), os.link)
            except FileExistsError:
                continue
            return version

    def _existing(self, model: str, version: str) -> Path:
        self._require_root()
        folder = self._version(model, version)
        if not folder.is_dir():
            raise ConfigurationError(
                f"there is no version {version} of {model} in {self._root}; `baton versions {model}` lists them"
            )
        return folder

    def _require_root(self) -> None:
        if not self._root.is_dir():
            raise Unavailable(f"registry: the folder {self._root} is not there; is it mounted?")

    def _model(self, model: str) -> Path:
        return self._root / checked_name(model, "a model")

    def _version(self, model: str, version: str) -> Path:
        return self._model(model) / checked_version(version)

    def _claims(self, model: str) -> Path:
        return self._model(model) / ".versions"

    def _alias(self, model: str, alias: str) -> Path:
        return self._model(model) / ".aliases" / checked_name(alias, "an alias")


def _write(path: Path, content: bytes, place: Callable[[Path, Path], None]) -> None:
    """Write a file beside ``path``, then put it there in one step."""
    temporary = path.parent / f".{uuid.uuid4().hex}"
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _folder_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise ConfigurationError(f"registry {root}: {error.strerror}: {error.filename}") from error
    except OSError as error:
        raise Unavailable(f"registry {root}: {error.strerror or error}") from error
