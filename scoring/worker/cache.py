"""What a worker keeps across restarts: verified bundles, and per model the highest sequence that it took (A.7)."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import msgspec

from scoring.contract.decoding import decodable
from scoring.contract.errors import ConfigurationError, Unavailable


class LiveVersion(msgspec.Struct, frozen=True, kw_only=True):
    """The version that last went live here."""

    sequence: int
    version: str
    digest: str


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """One model. ``highest`` went live or was refused; nothing at or below it is taken again."""

    highest: int = 0
    live: LiveVersion | None = None


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's memory. ``ledger`` is the one it follows; None before its first notice."""

    ledger: UUID | None = None
    models: Mapping[str, Remembered] = {}

    def with_model(self, model: str, remembered: Remembered, ledger: UUID) -> "Memory":
        """The memory after something was settled for a model."""
        return Memory(ledger=ledger, models={**self.models, model: remembered})


decodable(Memory)

# A roll-back goes a version or two back; what is gone is fetched again.
KEPT_BUNDLES = 16


class Cache:
    """The folder of a worker's memory, and the folder of bundles that the workers of a host share.

    Layout: ``bundles/<manifest digest>/``, ``workers/<deployment>-<slot>.json`` and ``fetching/<deployment>-<slot>/``.
    """

    def __init__(self, root: Path, worker: str) -> None:
        name = worker.replace("/", "-")
        self._bundles = root / "bundles"
        self._memory = root / "workers" / f"{name}.json"
        self._fetching = root / "fetching" / name
        try:
            for folder in (self._bundles, self._memory.parent, self._fetching):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"BATON_CACHE_DIR: cannot write to {root}: {error.strerror}") from error

    def bundle(self, digest: str) -> Path | None:
        """The folder of a bundle that was fetched before; its digests have to be checked again."""
        folder = self._bundles / digest
        if not folder.is_dir():
            return None
        with suppress(OSError):  # a disk that is full or cannot be written to
            os.utime(folder)
        return folder

    def scratch(self) -> Path:
        """A new folder on the same file system, to fetch into.

        Raises:
            Unavailable: this host's disk is in the way, which is not the bundle's fault.
        """
        try:
            return Path(tempfile.mkdtemp(dir=self._fetching))
        except OSError as error:
            raise _unwritable(self._fetching, error) from error

    def sweep(self) -> None:
        """Remove what a killed predecessor was fetching."""
        for left in self._fetching.iterdir():
            shutil.rmtree(left, ignore_errors=True)

    def keep(self, folder: Path, digest: str) -> Path:
        """Move a verified bundle to its place; if another worker was faster, its copy stays.

        Raises:
            Unavailable: this host's disk is in the way.
        """
        kept = self._bundles / digest
        try:
            folder.rename(kept)
        except OSError as error:
            if not kept.is_dir():
                raise _unwritable(self._bundles, error) from error
            shutil.rmtree(folder, ignore_errors=True)
        return kept

    def discard(self, digest: str) -> None:
        """Remove a bundle that turned out to be damaged, all of it at once: other workers of the host look at it."""
        aside = self._fetching / f"discarded-{digest}"
        with suppress(OSError):  # another worker was faster
            (self._bundles / digest).rename(aside)
        shutil.rmtree(aside, ignore_errors=True)

    def prune(self, kept: int = KEPT_BUNDLES) -> list[str]:
        """Remove the bundles that were not used for longest, but for those that are live in a worker of this host.

        Returns:
            the digests of those that were removed.
        """
        bundles = sorted(self._bundles.iterdir(), key=_used_at_s, reverse=True)
        live = self._live()
        old = [folder.name for folder in bundles[kept:] if folder.name not in live]
        for digest in old:
            self.discard(digest)
        return old

    def _live(self) -> set[str]:
        """What went live last in the workers of this host; of one whose memory is damaged it is not known."""
        live: set[str] = set()
        for file in self._memory.parent.glob("*.json"):
            with suppress(msgspec.MsgspecError, OSError):
                models = msgspec.json.decode(file.read_bytes(), type=Memory).models
                live.update(model.live.digest for model in models.values() if model.live is not None)
        return live

    def recall(self) -> Memory:
        """The memory as it was last saved; empty where there is none.

        Raises:
            ConfigurationError: the file is damaged.
        """
        try:
            return msgspec.json.decode(self._memory.read_bytes(), type=Memory)
        except FileNotFoundError:
            return Memory()
        except (msgspec.MsgspecError, OSError) as error:
            message = f"the worker's memory {self._memory} cannot be read ({error}); remove it"
            raise ConfigurationError(message) from error

    def remember(self, memory: Memory) -> None:
        """Save the memory, whole or not at all."""
        written = self._memory.with_suffix(".new")
        with written.open("wb") as file:
            file.write(msgspec.json.encode(memory))
            file.flush()
            os.fsync(file.fileno())
        written.replace(self._memory)


def _used_at_s(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:  # another worker removed it
        return 0.0


def _unwritable(folder: Path, error: OSError) -> Unavailable:
    return Unavailable(f"cannot write to {folder}: {error.strerror}")
