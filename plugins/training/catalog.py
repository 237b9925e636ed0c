"""Finds the model definitions in a folder."""

from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import msgspec

from scoring.contract.errors import ConfigurationError
from training.definition import ModelDefinition


def load_definitions(folder: Path) -> dict[str, ModelDefinition]:
    """The definitions of all Python files in ``folder``, by model, in the order of their names.

    Each gets its module's docstring as description and ``expectations/<name>/snapshot.json`` beside the folder as
    suite, unless it names its own. Files whose names start with an underscore are not read.

    Raises:
        ConfigurationError: the folder is not there, a file cannot be loaded or defines no model, or two define one
            name; every mistake of every file is listed.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"model definitions: there is no folder {folder}")
    found: dict[str, ModelDefinition] = {}
    mistakes: list[str] = []
    for path in sorted(folder.glob("[!_]*.py")):
        try:
            for definition in _load(path):
                if definition.name in found:
                    mistakes.append(f"{path.name}: model {definition.name!r} is defined twice")
                found[definition.name] = definition
        except Exception as error:
            mistakes.append(f"{path.name}: {error}")
    if mistakes:
        raise ConfigurationError("model definitions:\n" + "\n".join(mistakes))
    return dict(sorted(found.items()))


def load_definition(folder: Path, model: str) -> ModelDefinition:
    """The definition of one model.

    Raises:
        ConfigurationError: there is none, or the folder has mistakes.
    """
    definitions = load_definitions(folder)
    if model not in definitions:
        known = ", ".join(definitions) or "none"
        raise ConfigurationError(f"model {model!r} is not defined in {folder} (defined: {known})")
    return definitions[model]


def _load(path: Path) -> Iterator[ModelDefinition]:
    spec = spec_from_file_location(f"baton_model_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigurationError("cannot be loaded")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    definitions = [value for value in vars(module).values() if isinstance(value, ModelDefinition)]
    if not definitions:
        raise ConfigurationError("defines no model; assign a ModelDefinition to a name")
    for definition in definitions:
        suite = definition.suite or str(
            path.resolve().parent.parent / "expectations" / definition.name / "snapshot.json"
        )
        description = definition.description or (module.__doc__ or "").strip()
        yield msgspec.structs.replace(definition, suite=suite, description=description)
