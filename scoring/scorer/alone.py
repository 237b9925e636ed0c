"""Run a module as if only the scoring side were installed: ``python -m scoring.scorer.alone MODULE [ARGUMENTS]``.

Everything outside of the base requirements of the distribution ``baton`` cannot be imported in this process. So an
environment that holds the training side too, such as Airflow's, shows whether the scoring side suffices. It hides
packages of Python, no files: an environment of its own (BATON_SCORING_PYTHON) proves more.
"""

import runpy
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from types import ModuleType

DISTRIBUTION = "baton"
# In the same distribution, but of the training side.
_OTHER_SIDE = ("training", "baton_airflow", "local", "models")


class Hidden(MetaPathFinder):
    """Refuses to find the top-level modules that it was told to hide."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002  the protocol of finders
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """None lets the next finder look."""
        if fullname.partition(".")[0] in self._names:
            raise ModuleNotFoundError(f"{fullname} is not part of the scoring side", name=fullname)
        return None


def needed_distributions(distribution: str = DISTRIBUTION) -> frozenset[str]:
    """The distribution and all that its base requirements pull in here, by normalised name.

    Raises:
        PackageNotFoundError: the distribution itself is not installed.
    """
    from packaging.requirements import Requirement  # noqa: PLC0415  of the scoring side, and only needed here
    from packaging.utils import canonicalize_name  # noqa: PLC0415

    requires(distribution)  # its absence is an error; that of a requirement under a marker is not
    found: set[str] = set()
    open_ends: list[tuple[str, str]] = [(distribution, "")]
    seen: set[tuple[str, str]] = set()
    while open_ends:
        name, extra = open_ends.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            lines = requires(name) or []
        except PackageNotFoundError:
            continue
        found.add(str(canonicalize_name(name)))
        for line in lines:
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
                open_ends += [(str(canonicalize_name(wanted.name)), more) for more in ("", *wanted.extras)]
    return frozenset(found)


def hidden_modules(needed: frozenset[str], providers: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """The top-level modules that only other distributions provide.

    Args:
        providers: distributions by top-level module, as ``packages_distributions`` gives them.
    """
    from packaging.utils import canonicalize_name  # noqa: PLC0415

    others = {
        module for module, names in providers.items() if not {str(canonicalize_name(name)) for name in names} & needed
    }
    return frozenset(others | set(_OTHER_SIDE))


def hide_the_rest() -> frozenset[str]:
    """From now on only the scoring side can be imported in this process; returns the modules that cannot.

    Raises:
        PackageNotFoundError: baton is not installed as a distribution, so that its requirements are unknown.
    """
    hidden = hidden_modules(needed_distributions(), packages_distributions())
    loaded = {name.partition(".")[0] for name in sys.modules} & hidden
    for name in [name for name in sys.modules if name.partition(".")[0] in loaded]:
        del sys.modules[name]
    sys.meta_path.insert(0, Hidden(hidden))
    return hidden


def main(arguments: Sequence[str]) -> int:
    """Hide the rest, then run the module with its arguments."""
    if not arguments:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    try:
        hide_the_rest()
    except PackageNotFoundError:
        sys.stderr.write(
            f"the distribution {DISTRIBUTION} is not installed for {sys.executable}, so that it is unknown what its "
            "scoring side needs; install it, or set BATON_SCORING_PYTHON\n"
        )
        return 2
    sys.argv = list(arguments)
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
