"""Finds the model definitions in a folder. One that is broken does not keep the others from being found."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import msgspec

from scoring.contract.errors import ConfigurationError
from training.definition import ModelDefinition

# A definition and the name of its file.
Found = tuple[str, ModelDefinition]


class Catalog(msgspec.Struct, frozen=True, kw_only=True):
    """What a folder holds.

    Attributes:
        definitions: those that can be used, by model, in the order of their names.
        mistakes: what is wrong, by file: a file that cannot be loaded or defines no model, or definitions that
            contend for a name or an input topic, none of which is used.
    """

    definitions: Mapping[str, ModelDefinition]
    mistakes: Mapping[str, tuple[str, ...]]

    def require_good(self) -> None:
        """Nothing where every definition can be used.

        Raises:
            ConfigurationError: lists every mistake of every file.
        """
        if self.mistakes:
            lines = [f"{file}: {line}" for file, found in self.mistakes.items() for line in found]
            raise ConfigurationError("model definitions:\n" + "\n".join(lines))


def read_catalog(folder: Path) -> Catalog:
    """All that the Python files in ``folder`` define.

    Each definition gets its module's docstring as description and ``expectations/<name>/snapshot.json`` beside the
    folder as suite, unless it names its own. Files whose names start with an underscore are not read.

    Raises:
        ConfigurationError: the folder is not there.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"model definitions: there is no folder {folder}")
    found: list[Found] = []
    mistakes: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(folder.glob("[!_]*.py")):
        try:
            found += [(path.name, definition) for definition in _load(path)]
        except (Exception, SystemExit) as error:
            mistakes[path.name].append(str(error) or type(error).__name__)
    contenders = list(_contenders(found))
    for (file, _), sentence in contenders:
        mistakes[file].append(sentence)
    refused = {id(definition) for (_, definition), _ in contenders}
    good = {definition.name: definition for _, definition in found if id(definition) not in refused}
    return Catalog(
        definitions=dict(sorted(good.items())),
        mistakes={file: tuple(lines) for file, lines in sorted(mistakes.items())},
    )


def load_definitions(folder: Path) -> dict[str, ModelDefinition]:
    """The definitions of all Python files in ``folder``, by model, in the order of their names; all or none.

    Raises:
        ConfigurationError: the folder is not there, or a definition cannot be used; every mistake is listed.
    """
    catalog = read_catalog(folder)
    catalog.require_good()
    return dict(catalog.definitions)


def load_definition(folder: Path, model: str) -> ModelDefinition:
    """The definition of one model, whatever is wrong with others.

    Raises:
        ConfigurationError: there is none that can be used; the message says what is wrong in the folder.
    """
    catalog = read_catalog(folder)
    if model not in catalog.definitions:
        catalog.require_good()
        known = ", ".join(catalog.definitions) or "none"
        raise ConfigurationError(f"model {model!r} is not defined in {folder} (defined: {known})")
    return catalog.definitions[model]


def _load(path: Path) -> Iterator[ModelDefinition]:
    spec = spec_from_file_location(f"baton_model_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigurationError("cannot be loaded")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    definitions = {id(value): value for value in vars(module).values() if isinstance(value, ModelDefinition)}
    if not definitions:
        raise ConfigurationError("defines no model; assign a ModelDefinition to a name")
    for definition in definitions.values():
        suite = definition.suite or str(
            path.resolve().parent.parent / "expectations" / definition.name / "snapshot.json"
        )
        description = definition.description or (module.__doc__ or "").strip()
        yield msgspec.structs.replace(definition, suite=suite, description=description)


def _contenders(found: Sequence[Found]) -> Iterator[tuple[Found, str]]:
    """Every definition that has its name or its input topic in common with another one, with a sentence.

    Which of them is meant nobody can tell, so none of them is used.
    """
    for name, namesakes in _groups(found, lambda definition: definition.name).items():
        for one, others in _each_with_others(namesakes):
            files = ", ".join(sorted({file for file, _ in others}))
            yield one, f"model {name!r} is defined twice (also in {files}); give one of them another name"
    for topic, readers in _groups(found, lambda definition: definition.all_topics.input).items():
        for one, others in _each_with_others(readers):
            if rivals := [(file, other) for file, other in others if other.name != one[1].name]:
                named = ", ".join(f"{other.name!r} in {file}" for file, other in rivals)
                yield (
                    one,
                    f"model {one[1].name!r} reads the input topic {topic!r}, and so does {named}; give each its own",
                )


def _groups(found: Sequence[Found], key: Callable[[ModelDefinition], str]) -> Mapping[str, list[Found]]:
    groups: defaultdict[str, list[Found]] = defaultdict(list)
    for file, definition in found:
        groups[key(definition)].append((file, definition))
    return groups


def _each_with_others(members: Sequence[Found]) -> Iterator[tuple[Found, list[Found]]]:
    if len(members) > 1:
        for one in members:
            yield one, [other for other in members if other is not one]
