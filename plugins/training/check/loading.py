"""The definition, or all that keeps it from being one: each mistake with the line that makes it and what to do."""

import ast
import builtins
import sys
import traceback
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

from scoring.contract.errors import ConfigurationError
from training.catalog import load_definition
from training.check.findings import Finding, Level, Section
from training.check.names import home_of, misnamed
from training.check.outline import Outline, defines, read_outline
from training.check.places import placed
from training.definition import Estimator, ModelDefinition

Loaded = tuple[ModelDefinition | None, Outline | None, list[Finding]]


def file_of(folder: Path, model: str) -> Path:
    """The file that defines a model, also where it cannot be loaded.

    Raises:
        ConfigurationError: there is none; the message names those that are there.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"there is no folder {folder}; name that of the definitions with --models")
    files = sorted(folder.glob("[!_]*.py"))
    found = [path for path in files if defines(path, model)] or [path for path in files if path.stem == model]
    if not found:
        near = get_close_matches(model, [path.stem for path in files], 1)
        hint = f"did you mean {near[0]!r}?" if near else f"`baton new {model}` writes one"
        raise ConfigurationError(f"no file in {folder} defines the model {model!r}; {hint}")
    return found[0]


def load(path: Path, model: str) -> Loaded:
    """The definition with the outline of its file; None where there are mistakes, which are all told."""
    source, shown = path.read_text(encoding="utf-8"), str(path)
    try:
        outline = read_outline(shown, source, model)
    except SyntaxError as error:
        return None, None, [_mistake(shown, error.lineno, f"it is no Python: {error.msg}")]
    named = [_mistake(shown, line, sentence) for line, sentence in misnamed(outline.tree)]
    try:
        compiled = compile(source, shown, "exec")
        namespace: dict[str, object] = {"__name__": f"baton_check_{path.stem}", "__file__": shown}
        exec(compiled, namespace)  # noqa: S102  the definition is the user's own program
    except ConfigurationError as error:
        return None, outline, [*named, *_of_definition(outline, error)]
    except (Exception, SystemExit) as error:
        return None, outline, named or [_raised(shown, error, source)]
    return _from_catalog(path, model, outline, namespace)


def _from_catalog(path: Path, model: str, outline: Outline, namespace: dict[str, object]) -> Loaded:
    """The definition as the pipeline gets it; contenders for its name or topic are told there."""
    made = [value.name for value in namespace.values() if isinstance(value, ModelDefinition)]
    if model not in made:
        what = f"it defines {' and '.join(map(repr, made))}, not {model!r}" if made else "it defines no model"
        remedy = f"assign a ModelDefinition named {model!r} to a name"
        return None, outline, [_mistake(str(path), outline.line_of("name"), what, remedy)]
    try:
        definition = load_definition(path.parent, model)
        return definition, outline, [*_unbuildable(definition.estimator, outline)]
    except ConfigurationError as error:
        lines = [line for line in str(error).splitlines()[1:] if line.startswith(f"{path.name}: ")]
        told = [line.removeprefix(f"{path.name}: ") for line in lines] or [str(error)]
        return None, outline, [_mistake(str(path), outline.line_of("name"), sentence) for sentence in told]


def _unbuildable(estimator: Estimator, outline: Outline) -> Iterator[Finding]:
    """An estimator that is not there, or does not take its parameters."""
    try:
        estimator.build()
    except ConfigurationError as error:
        module, _, name = estimator.path.rpartition(".")
        known = dir(sys.modules[module]) if module in sys.modules else []
        near = [] if name in known else get_close_matches(name, known, 1)
        remedy = f"did you mean {module}.{near[0]}?" if near else "see scikit-learn's page of it for its parameters"
        yield _mistake(outline.file, outline.line_of("estimator"), str(error), remedy)


def _of_definition(outline: Outline, error: ConfigurationError) -> Iterator[Finding]:
    lines = [line.removeprefix("  - ") for line in str(error).splitlines() if line.startswith("  - ")]
    for sentence in dict.fromkeys(lines or [str(error)]):
        line, remedy = placed(outline, sentence)
        yield _mistake(outline.file, line, sentence, remedy)


def _raised(file: str, error: BaseException, source: str) -> Finding:
    """What an exception says, at the last line of the file that it came through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    line = frames[-1].lineno if frames else None
    told = f"{type(error).__name__}: {error}"
    if isinstance(error, NameError) and error.name:
        return _mistake(file, line, f"the name {error.name!r} is unknown", _closest(error.name, _names(source)))
    return _mistake(file, line, f"it cannot be loaded: {told}", "mend that line; the file runs from top to bottom")


def _names(source: str) -> list[str]:
    """All names that a file has."""
    nodes = list(ast.walk(ast.parse(source)))
    stored = [node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    imported = [each.asname or each.name for node in nodes if isinstance(node, ast.ImportFrom) for each in node.names]
    return [*stored, *imported, *dir(builtins)]


def _closest(name: str, known: Sequence[str]) -> str:
    if (module := home_of(name)) is not None:
        return f"add: from {module} import {name}"
    near = get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else "import it, or give it a value before this line"


def _mistake(file: str, line: int | None, sentence: str, remedy: str = "") -> Finding:
    return Finding(
        section=Section.DEFINITION, level=Level.ERROR, sentence=sentence, remedy=remedy, file=file, line=line
    )
