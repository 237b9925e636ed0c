"""Names that Baton's own modules do not have, and keywords that its functions do not take, wherever they stand."""

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType

import msgspec

OWN = ("training.definition", "training.feature", "training.field", "training")


def misnamed(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and sentence of each import and keyword that is misspelled; none of it needs the file to run."""
    known: dict[str, object] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in OWN:
            yield from _imported(node, known)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _called(node, known)


def home_of(name: str) -> str | None:
    """The module of Baton's from which a definition imports a name; None where there is none."""
    modules = (module for module in OWN if _attribute(import_module(module), name) is not None)
    return None if name.startswith("_") else next(modules, None)


def _imported(node: ast.ImportFrom, known: dict[str, object]) -> Iterator[tuple[int, str]]:
    module = import_module(str(node.module))
    for each in node.names:
        found = _attribute(module, each.name)
        if found is None:
            names = [name for name in vars(module) if not name.startswith("_")]
            yield each.lineno, f"{node.module} has no {each.name!r}{_hint(each.name, names)}"
        known[each.asname or each.name] = found


def _called(call: ast.Call, known: Mapping[str, object]) -> Iterator[tuple[int, str]]:
    made, shown = _function(call.func, known)
    if shown is not None and made is None:
        yield call.lineno, shown
    if made is None or not callable(made):
        return
    taken = _keywords(made)
    for keyword in call.keywords if taken else ():
        if keyword.arg is not None and keyword.arg not in taken:
            hint = _hint(keyword.arg, taken)
            yield keyword.value.lineno, f"{ast.unparse(call.func)} takes no {keyword.arg!r}{hint}"


def _keywords(made: Callable[..., object]) -> list[str]:
    """What may be given by name; nothing where that is anything."""
    if isinstance(made, type) and issubclass(made, msgspec.Struct):
        return list(made.__struct_fields__)
    parameters = inspect.signature(made).parameters
    anything = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    return [] if anything else list(parameters)


def _function(func: ast.expr, known: Mapping[str, object]) -> tuple[object, str | None]:
    """What is called, where it is Baton's; or None and a sentence where a module of Baton's does not have it."""
    if isinstance(func, ast.Name):
        return known.get(func.id), None
    if not isinstance(func, ast.Attribute) or not isinstance(func.value, ast.Name):
        return None, None
    module = known.get(func.value.id)
    if not isinstance(module, ModuleType):
        return None, None
    found = getattr(module, func.attr, None)
    names = [name for name in vars(module) if not name.startswith("_")]
    return found, f"{func.value.id} has no {func.attr!r}{_hint(func.attr, names)}"


def _attribute(module: ModuleType, name: str) -> object:
    try:
        return getattr(module, name, None) or import_module(f"{module.__name__}.{name}")
    except ImportError:
        return None


def _hint(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f" (there are: {', '.join(sorted(known))})"
