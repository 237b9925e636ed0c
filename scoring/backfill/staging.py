"""Sources that cost much to read anew for every chunk, APIs and CSV files, are read once and kept for the run."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from scoring.backfill.plan import Plan
from scoring.contract.digest import digest_of
from scoring.contract.encoder import Column
from scoring.contract.errors import Unavailable
from scoring.contract.manifest import Manifest
from scoring.contract.source import Api, Files, Format, Source
from scoring.sources.joined import plan as plan_pulls
from scoring.sources.port import Pull, Reader
from scoring.sources.staged import write_rows


class Staged:
    """A ``Reader`` of what was kept, and of everything else.

    Args:
        kept: paths by ``key_of``.
    """

    def __init__(self, reader: Reader, kept: Mapping[str, str]) -> None:
        self._reader = reader
        self._kept = kept

    def read(self, pull: Pull) -> dict[str, Column]:
        """The fields of the rows in ``[start, end)`` (see ``Reader``)."""
        path = self._kept.get(key_of(pull))
        return self._reader.read(pull if path is None else _renamed(pull, path))


def stage(plan: Plan, manifests: Iterable[Manifest], reader: Reader, folder: Path) -> dict[str, str]:
    """Read the costly sources of these bundles for the whole period into ``folder``; paths by ``key_of``.

    Raises:
        Unavailable: a source cannot be read, or there is no room for it.
        ConfigurationError: as ``Reader.read``.
    """
    folder.mkdir(exist_ok=True)
    kept: dict[str, str] = {}
    for manifest in manifests:
        for pull in _costly(plan, manifest):
            key = key_of(pull)
            if key not in kept:
                path = folder / f"{key}.parquet"
                renamed = _renamed(pull, str(path))
                columns, names = reader.read(pull), dict(renamed.source.columns)
                try:
                    write_rows(path, _by_column(pull, names), {names[field]: columns[field] for field in pull.fields})
                except OSError as error:
                    raise Unavailable(f"{pull.what} cannot be kept in {folder}: {error.strerror}") from error
                kept[key] = str(path)
    return kept


def key_of(pull: Pull) -> str:
    """What tells one source from another, whatever the interval is that is read of it."""
    what = [pull.source.place, pull.source.columns, sorted(pull.fields.items()), pull.event_time]
    return digest_of(msgspec.json.encode(what, order="deterministic"))


def _costly(plan: Plan, manifest: Manifest) -> list[Pull]:
    schema, asked = manifest.schema, plan.asked
    kinds = {field.name: field.type for field in schema.fields}
    pulls = plan_pulls(manifest.sources, kinds, schema.event_time, asked.start, asked.end)
    return [pull for pull in pulls if _is_costly(pull.source)]


def _is_costly(source: Source) -> bool:
    match source.origin:
        case Api():
            return True
        case Files() as files:
            return files.format_of(files.url) is not Format.PARQUET
        case None:
            return False


def _renamed(pull: Pull, path: str) -> Pull:
    """The same rows, in a file with columns of plain names."""
    columns = tuple((field, f"column_{place}") for place, field in enumerate(pull.fields))
    source = Source(
        connection="", table="", columns=columns, name=pull.source.title, origin=Files(url=path, format=Format.PARQUET)
    )
    return msgspec.structs.replace(pull, source=source)


def _by_column(pull: Pull, names: Mapping[str, str]) -> Pull:
    """The pull as that of fields which are called as the file's columns are."""
    return msgspec.structs.replace(
        pull,
        source=msgspec.structs.replace(pull.source, columns=tuple((name, name) for name in names.values())),
        kinds={names[field]: kind for field, kind in pull.fields.items()},
        event_time=None if pull.event_time is None else names[pull.event_time],
    )
