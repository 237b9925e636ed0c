"""Tables that are frozen into the bundle: read when the rows are pulled, so that both show the same moment."""

from pathlib import Path

from scoring.contract.features import FrozenLookup
from scoring.contract.frozen import encode_table, file_of
from scoring.lookups.database import Engines, reading
from scoring.lookups.table import whole_table
from training.definition import ModelDefinition
from training.errors import SnapshotDamaged


def stage_tables(engines: Engines, definition: ModelDefinition, folder: Path) -> None:
    """Write the file of each frozen lookup into the run's folder.

    Raises:
        Unavailable: the database cannot be reached.
        ConfigurationError: the connection, the table or a column is unknown, or the table is too large for a bundle.
    """
    types = definition.schema.column_types()
    for lookup in _frozen(definition):
        kinds = [types[field] for _, field in lookup.match]
        with reading(engines.get(lookup.connection), f"lookup {lookup.name!r}") as connection:
            table = whole_table(connection, lookup, kinds)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file_of(lookup.name)).write_bytes(encode_table(lookup, table))


def staged_tables(definition: ModelDefinition, folder: Path) -> dict[str, bytes]:
    """The files of the frozen lookups by their names.

    Raises:
        SnapshotDamaged: one is not there any more.
    """
    names = [file_of(lookup.name) for lookup in _frozen(definition)]
    try:
        return {name: (folder / name).read_bytes() for name in names}
    except OSError as error:
        raise SnapshotDamaged(f"{error.filename}: cannot be read: {error.strerror}; pull again") from error


def _frozen(definition: ModelDefinition) -> list[FrozenLookup]:
    return [lookup for lookup in definition.lookups if isinstance(lookup, FrozenLookup)]
