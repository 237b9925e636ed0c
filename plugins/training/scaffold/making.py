"""From a file or a table to a definition, a suite and, for a file that is not read in place, a database with it."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import numpy as np

from scoring.contract.encoder import Column
from scoring.contract.errors import ConfigurationError
from scoring.contract.features import FieldType
from scoring.contract.notice import MODEL_NAME
from scoring.settings import Settings
from training.catalog import load_definition
from training.scaffold import database
from training.scaffold.fitting import fitted
from training.scaffold.in_place import unreadable
from training.scaffold.kinds import OF_FILES, Typed
from training.scaffold.plan import Plan, plan_of
from training.scaffold.reading import Table, read_file, read_table
from training.scaffold.roles import Ask, Guess, Roles, Told, roles_of
from training.scaffold.suite import encoded, suite_of
from training.scaffold.writing import definition_of


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for.

    Attributes:
        models: folder of the definitions; the suite goes beside it.
        file: a CSV or Parquet file; None reads a table of ``connection``.
        database: where a file is loaded into.
        in_place: a file is read as it stands instead.
        force: write over what is there.
    """

    name: str
    models: Path
    file: Path | None
    table: str | None
    connection: str
    database: Path
    zone: str
    told: Told
    force: bool
    in_place: bool = False

    @property
    def loads(self) -> bool:
        """Whether a file becomes a table of a database."""
        return self.file is not None and not self.in_place


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What was written, and what was guessed for it.

    Attributes:
        setting: the variable that names the connection's database; None where it is set already.
        warning: what a person must know before relying on it.
    """

    model: str
    definition: str
    suite: str
    rows: int
    guesses: tuple[Guess, ...]
    setting: str | None
    warning: str | None


def make(wanted: Wanted, settings: Settings, ask: Ask) -> Made:
    """Write definition and suite.

    Raises:
        ConfigurationError: it cannot go on; every reason is listed.
        Unavailable: the database cannot be read now.
    """
    suite = wanted.models.resolve().parent / "expectations" / wanted.name / "snapshot.json"
    definition = wanted.models / f"{wanted.name}.py"
    _refuse(wanted.name, [*_mistakes(wanted, definition, suite)])
    table = _read(wanted, settings)
    roles, mistakes = roles_of(table, wanted.told, ask)
    if roles is not None:
        mistakes += _of_roles(wanted, roles)
    if roles is None or mistakes:
        raise _refusal(wanted.name, mistakes)
    columns, roles = _converted(table, roles)
    plan, warning = _planned(wanted, msgspec.structs.replace(table, columns=columns), roles)
    if plan.file is not None:
        _refuse(wanted.name, [*unreadable(plan)])
    _write(wanted, plan, table, definition, suite)
    return Made(
        model=wanted.name,
        definition=str(definition),
        suite=str(suite),
        rows=table.rows,
        guesses=(*plan.guesses, *plan.left_out),
        setting=_setting(wanted, settings),
        warning=warning,
    )


def _mistakes(wanted: Wanted, definition: Path, suite: Path) -> Iterator[str]:
    """What can be seen before anything is read."""
    if not re.match(MODEL_NAME, wanted.name):
        yield "name: lower-case letters, digits and underscores, a letter first, at most 63"
    if (wanted.file is None) == (wanted.table is None):
        yield "give one of --from FILE and --from-table CONNECTION TABLE"
    if wanted.in_place and wanted.file is None:
        yield "--in-place is for a file; a table is read where it is"
    written = [definition, suite, *([wanted.database] if wanted.loads else [])]
    there = [str(path) for path in written if path.exists()]
    if there and not wanted.force:
        yield f"{' and '.join(there)} would be written over; --force does so"
    try:
        ZoneInfo(wanted.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield f"--zone: {wanted.zone!r} is no time zone; write one such as Europe/Berlin"


def _read(wanted: Wanted, settings: Settings) -> Table:
    zone = ZoneInfo(wanted.zone)
    if wanted.file is not None:
        return read_file(wanted.file, zone, OF_FILES if wanted.in_place else None)
    return read_table(settings.need_connection(wanted.connection), str(wanted.table), zone)


def _of_roles(wanted: Wanted, roles: Roles) -> Iterator[str]:
    if roles.positive is not None and not wanted.loads:
        remedy = "leave --in-place away" if wanted.file else "make a column of 0 and 1 in a view, and name the view"
        yield f"label: {roles.label.column!r} is one of two texts, and a binary model takes a number; {remedy}"


def _converted(table: Table, roles: Roles) -> tuple[tuple[Typed, ...], Roles]:
    """The columns with a label of two texts as 0 and 1."""
    label, changed = roles.label, roles.label
    if roles.positive is not None:
        values = np.array([np.nan if value is None else float(value == roles.positive) for value in list(label.values)])
        changed = msgspec.structs.replace(label, kind=FieldType.NUMBER, values=values)
    return tuple(changed if each is label else each for each in table.columns), msgspec.structs.replace(
        roles, label=changed
    )


def _planned(wanted: Wanted, table: Table, roles: Roles) -> tuple[Plan, str | None]:
    source = wanted.table or wanted.name
    told_from = str(wanted.file or wanted.table)
    if wanted.loads:  # its table has the fields' names
        roles, table = _renamed(roles, table)
    plan = plan_of(wanted.name, wanted.connection, source, told_from, table, roles, wanted.zone)
    if wanted.file is not None and wanted.in_place:
        plan = msgspec.structs.replace(plan, file=str(wanted.file.resolve()), delimiter=table.delimiter)
    if not plan.features and not (plan.by_hour or plan.by_weekday):
        raise _refusal(wanted.name, ["features: no column is left that could tell anything"])
    return fitted(plan, _columns(table, roles))


def _renamed(roles: Roles, table: Table) -> tuple[Roles, Table]:
    def plain(each: Typed) -> Typed:
        return msgspec.structs.replace(each, column=each.name)

    new = {each.name: plain(each) for each in table.columns}
    parts = {part: new[getattr(roles, part).name] for part in ("key", "event_time", "label")}
    return msgspec.structs.replace(roles, **parts), msgspec.structs.replace(table, columns=tuple(new.values()))


def _columns(table: Table, roles: Roles) -> Mapping[str, Column]:
    """The sample by field, the label as a snapshot has it."""
    found: dict[str, Column] = {each.name: each.values for each in table.columns}
    if roles.classes and roles.label.kind is not FieldType.STRING:
        floats = np.asarray(roles.label.values, dtype=np.float64).tolist()
        found[roles.label.name] = [None if value != value else f"{value:g}" for value in floats]  # noqa: PLR0124  NaN
    return found


def _write(wanted: Wanted, plan: Plan, table: Table, definition: Path, suite: Path) -> None:
    if wanted.loads:
        database.fill(wanted.database, wanted.name, _with_label(table, plan))
    wanted.models.mkdir(parents=True, exist_ok=True)
    suite.parent.mkdir(parents=True, exist_ok=True)
    suite.write_text(encoded(suite_of(plan, table.rows if table.whole else 1)), encoding="utf-8")
    definition.write_text(definition_of(plan), encoding="utf-8")
    load_definition(wanted.models, wanted.name)


def _with_label(table: Table, plan: Plan) -> tuple[Typed, ...]:
    label = plan.roles.label
    return tuple(label if each.name == label.name else each for each in table.columns)


def _setting(wanted: Wanted, settings: Settings) -> str | None:
    if not wanted.loads:
        return None
    url = database.url_of(wanted.database)
    if settings.connections.get(wanted.connection.lower()) == url:
        return None
    return f"BATON_CONNECTIONS__{wanted.connection.upper()}={url}"


def _refuse(name: str, mistakes: list[str]) -> None:
    if mistakes:
        raise _refusal(name, mistakes)


def _refusal(name: str, mistakes: list[str]) -> ConfigurationError:
    return ConfigurationError(f"new model {name!r}:\n" + "\n".join(f"  - {line}" for line in mistakes))
