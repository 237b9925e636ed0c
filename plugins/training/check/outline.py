"""A definition's file as a tree: where a keyword, an element of a list or a name stands in it.

Nothing is run. What the file says in other ways than by a call with literals (a loop, a constant of its own) is found
by the texts in it.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import msgspec

from training import feature

DEFINITION = "ModelDefinition"


class Outline(msgspec.Struct, frozen=True):
    """The call that makes a model, and the file around it.

    Attributes:
        call: None where the file has no such call for the model.
    """

    file: str
    tree: ast.Module
    call: ast.Call | None

    def line_of(self, keyword: str, *texts: str) -> int | None:
        """The line of what is given for a keyword of the definition, or of the first of the texts within it.

        Args:
            texts: a name of an element, or of a keyword further inside; the first that is there counts.
        """
        given = self._given(keyword)
        if given is None:
            return None if self.call is None else self.call.lineno
        inside = (_place_in(self._followed(given.value), text) for text in texts)
        return next((line for line in inside if line is not None), given.value.lineno)

    def keywords(self) -> list[str]:
        """Those that the definition gives."""
        return [] if self.call is None else [each.arg for each in self.call.keywords if each.arg]

    def texts_in(self, keyword: str) -> list[str]:
        """All texts in what is given for a keyword, in their order."""
        given = self._given(keyword)
        return [] if given is None else [str(node.value) for node in _texts(self._followed(given.value))]

    def line_of_column(self, name: str) -> int | None:
        """The line that speaks of a field, a looked-up value or a feature first."""
        bare = name.rpartition(".")[2]
        for keyword in ("fields", "lookups", "features", "label"):
            given = self._given(keyword)
            inside = None if given is None else self._followed(given.value)
            for text in (name, bare):
                if inside is not None and (line := _place_in(inside, text)) is not None:
                    return line
        return None if self.call is None else self.call.lineno

    def _given(self, keyword: str) -> ast.keyword | None:
        keywords = [] if self.call is None else self.call.keywords
        return next((each for each in keywords if each.arg == keyword), None)

    def _followed(self, node: ast.expr) -> ast.AST:
        """The node with the values of the module's own names in it."""
        names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
        assigned = [each for each in self.tree.body if isinstance(each, ast.Assign)]
        known = [each.value for each in assigned if _assigns(each, names)]
        return ast.List(elts=[node, *known], ctx=ast.Load()) if known else node


def read_outline(file: str, source: str, model: str) -> Outline:
    """The outline of a file.

    Raises:
        SyntaxError: it is no Python.
    """
    tree = ast.parse(source, filename=file)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _called(node) == DEFINITION]
    named = [call for call in calls if _argument(call, "name") == model]
    return Outline(file, tree, next(iter(named or calls), None))


def defines(path: Path, model: str) -> bool:
    """Whether a file seems to define a model, also where it cannot be loaded."""
    try:
        outline = read_outline(path.name, path.read_text(encoding="utf-8"), model)
    except (OSError, SyntaxError, ValueError):
        return path.stem == model
    return outline.call is not None and _argument(outline.call, "name") == model


def _assigns(statement: ast.Assign, names: set[str]) -> bool:
    return any(isinstance(target, ast.Name) and target.id in names for target in statement.targets)


def _place_in(node: ast.AST, text: str) -> int | None:
    """The line of the element, keyword or text of that name; the most telling of them wins."""
    found = _feature_line(node, text) or _keyword_line(node, text)
    return found or next((each.lineno for each in _texts(node) if each.value == text), None)


def _feature_line(node: ast.AST, name: str) -> int | None:
    calls = [each for each in ast.walk(node) if isinstance(each, ast.Call)]
    return next((call.lineno for call in calls if _feature_name(call) == name), None)


def _keyword_line(node: ast.AST, name: str) -> int | None:
    keywords = [each for each in ast.walk(node) if isinstance(each, ast.keyword)]
    return next((each.value.lineno for each in keywords if each.arg == name), None)


def _feature_name(call: ast.Call) -> str | None:
    """The name that a feature gives itself, where it is written out."""
    made = getattr(feature, _called(call), None)
    try:
        arguments = [ast.literal_eval(each) for each in call.args]
        keywords = {each.arg: ast.literal_eval(each.value) for each in call.keywords if each.arg}
        return None if made is None else str(made(*arguments, **keywords).name)
    except (ValueError, TypeError, AttributeError):
        return None


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _argument(call: ast.Call, name: str) -> object:
    value = next((each.value for each in call.keywords if each.arg == name), None)
    return value.value if isinstance(value, ast.Constant) else None


def _texts(node: ast.AST) -> Iterator[ast.Constant]:
    found = [each for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return iter(sorted(found, key=lambda each: (each.lineno, each.col_offset)))
