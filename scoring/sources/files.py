"""Sources that are files, Parquet or CSV, on this machine, in an object store or on the web, through fsspec."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fsspec

from scoring.contract.encoder import Column
from scoring.contract.errors import BatonError, ConfigurationError, Unavailable
from scoring.contract.source import Files, Format
from scoring.lookups.database import Connections
from scoring.sources.address import storage_options
from scoring.sources.csv_files import read_csv
from scoring.sources.deadline import Deadline
from scoring.sources.parquet_files import count_parquet, read_parquet
from scoring.sources.port import Pull, together, within

_PATTERN_SIGNS = "*?["


class FilesReader:
    """A ``Reader`` of files.

    Args:
        connections: the URL of a connection by its name, which holds the store's credentials (``address``).
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def read(self, pull: Pull) -> dict[str, Column]:
        """The fields of the rows in ``[start, end)``, of all files together (see ``Reader``)."""
        files = pull.source.origin
        if not isinstance(files, Files):
            raise TypeError(f"{pull.what} is not in files")
        return together(pull, list(self._parts(pull, files)))

    def count(self, pull: Pull) -> int | None:
        """About how many rows ``read`` would bring, as far as Parquet's own statistics tell; None of other files.

        Raises:
            Unavailable, ConfigurationError: as ``Reader.read``.
        """
        files = pull.source.origin
        if not isinstance(files, Files):
            raise TypeError(f"{pull.what} is not in files")
        with _reading(pull.what):
            storage, paths = self._open(pull, files)
            if any(files.format_of(path) is not Format.PARQUET for path in paths):
                return None
            return sum(count_parquet(pull, storage, path, pull.what, files.zone) for path in paths)

    def _parts(self, pull: Pull, files: Files) -> Iterator[dict[str, Column]]:
        deadline = Deadline(pull.what, pull.source.timeout_s)
        with _reading(pull.what):
            storage, paths = self._open(pull, files)
        for path in paths:
            with _reading(f"{pull.what}, file {path!r}"):
                for part in _rows(pull, files, storage, path):
                    deadline.check()
                    yield within(pull, part)

    def _open(self, pull: Pull, files: Files) -> tuple[Any, list[str]]:
        """The file system, with nothing in its memory from reads before, and the paths of the files there."""
        name = pull.source.connection
        options = storage_options(name, self._connections(name), files.url) if name else {}
        storage, pattern = fsspec.core.url_to_fs(files.url, skip_instance_cache=True, **options)
        return storage, _paths(storage, pattern, pull.what)


def _paths(storage: Any, pattern: str, what: str) -> list[str]:
    if not any(sign in pattern for sign in _PATTERN_SIGNS):
        if storage.info(pattern).get("type") == "directory":
            raise ConfigurationError(f"{what}: {pattern!r} is a folder; end its URL with a pattern, such as /*.parquet")
        return [pattern]
    found = storage.glob(pattern, detail=True)
    paths = sorted(path for path, about in found.items() if about.get("type") != "directory")
    if not paths:
        raise Unavailable(f"{what}: no file matches {pattern!r} yet; put the files there, or mend the pattern")
    return paths


def _rows(pull: Pull, files: Files, storage: Any, path: str) -> Iterator[dict[str, Column]]:
    where = f"{pull.what}, file {path!r}"
    match files.format_of(path):
        case Format.PARQUET:
            yield from read_parquet(pull, storage, path, where, files.zone)
        case Format.CSV:
            with storage.open(path, "rb", compression="infer") as file:
                yield from read_csv(pull, file, files, where)
        case None:
            raise ConfigurationError(f"{where}: nothing says whether it is Parquet or CSV; state the format")


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """A file system's errors become Baton's."""
    try:
        yield
    except BatonError:
        raise
    except Exception as error:
        raise _translated(error, what) from error


def _translated(error: Exception, what: str) -> BatonError:
    """What a file system's own error means; of those that may repeat a credential only the kind is told.

    A file that is not there may come late: who reads it tries again.
    """
    match error:
        case FileNotFoundError():
            return Unavailable(f"{what}: there is no such file yet; put it there, or mend its URL")
        case PermissionError():
            return ConfigurationError(f"{what}: reading is not allowed; give its connection credentials that may")
        case ImportError():
            return ConfigurationError(f"{what}: {error}; install that package beside Baton")
        case TypeError() | ValueError():
            return ConfigurationError(f"{what}: its URL or its connection's options are wrong: {type(error).__name__}")
        case _:
            reason = getattr(error, "strerror", None) or type(error).__name__
            return Unavailable(f"{what}: cannot be read now: {reason}; retry later")
