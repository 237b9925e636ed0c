"""Puts the DAG files into the folder of an Airflow that somebody runs already. Knows nothing of Airflow itself.

A file that was written here says so in its first line, with the digest of the rest. One that does not, or whose rest
was changed since, is somebody else's: it is never written over.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

import msgspec

from scoring import __version__
from scoring.contract.digest import digest_of
from scoring.contract.errors import ConfigurationError

_FIRST_LINE = (
    "# Written by `baton airflow install` of Baton {version}; it replaces this file. Content: sha256 {digest}\n"
)
_OWN = re.compile(r"# Written by `baton airflow install` of Baton \S+; .* sha256 ([0-9a-f]{64})\n")


class State(StrEnum):
    """What becomes of a file."""

    NEW = "new"
    SAME = "unchanged"
    REPLACED = "replaced"


class Placed(msgspec.Struct, frozen=True):
    """One file of the DAGs folder."""

    path: str
    state: State


def install(folder: Path, *, writing: bool = True) -> tuple[Placed, ...]:
    """Write the DAG files into ``folder``, all or none; without ``writing`` only say what would become of each.

    Raises:
        ConfigurationError: the folder is not there, or holds files of these names that are not Baton's, or were
            changed; all of them are named.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"there is no folder {folder}; name the folder of Airflow's DAGs (core.dags_folder)")
    texts = {folder / name: text for name, text in dag_files().items()}
    foreign = [str(path) for path in texts if path.exists() and not _is_own(path.read_text(errors="replace"))]
    if foreign:
        raise ConfigurationError(
            f"{', '.join(foreign)}: not written by this command, or changed since; move it away, or keep its changes "
            "in a file of another name"
        )
    placed = tuple(Placed(str(path), _state(path, text)) for path, text in texts.items())
    for path, text in texts.items() if writing else ():
        _replace(path, text)
    return placed


def dag_files() -> Mapping[str, str]:
    """The content of each DAG file by its name: those of the wheel, or of the repository where that is installed."""
    here = Path(__file__).resolve()
    packaged, repository = here.parent / "dag_files", here.parents[2] / "dags"
    folder = packaged if packaged.is_dir() else repository
    return {path.name: _signed(path.read_text()) for path in sorted(folder.glob("*.py"))}


def _signed(text: str) -> str:
    return _FIRST_LINE.format(version=__version__, digest=digest_of(text.encode())) + text


def _is_own(text: str) -> bool:
    first = _OWN.match(text)
    return first is not None and first[1] == digest_of(text[first.end() :].encode())


def _state(path: Path, text: str) -> State:
    if not path.exists():
        return State.NEW
    return State.SAME if path.read_text() == text else State.REPLACED


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text)
    temporary.replace(path)
