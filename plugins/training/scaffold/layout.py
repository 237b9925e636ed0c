"""Python as a formatter would lay it out: what fits on a line stands on one, the rest is opened bracket by bracket."""

import json
from collections.abc import Iterable, Sequence

import msgspec

WIDTH = 120
_STEP = 4


class Call(msgspec.Struct, frozen=True):
    """Something in brackets.

    Attributes:
        head, tail: ``Gates(`` and ``)``.
        opened: its parts stand on lines of their own, whether or not they would fit on one.
        comment: a word about it, behind its line where there is room, otherwise above.
    """

    head: str
    parts: tuple["Call | str", ...] = ()
    tail: str = ")"
    opened: bool = False
    comment: str = ""


def said(line: str, comment: str) -> Call:
    """A line that cannot be opened, with a comment."""
    return Call(line, (), "", comment=comment)


def flat(node: Call | str) -> str:
    """All on one line."""
    return node if isinstance(node, str) else f"{node.head}{', '.join(map(flat, node.parts))}{node.tail}"


def lines(node: Call | str, indent: int = 0, after: str = "") -> list[str]:
    """The lines of a node, indented by so many spaces."""
    if isinstance(node, Call) and node.comment:
        return _commented(node, indent, after)
    pad, whole = " " * indent, flat(node) + after
    if isinstance(node, str) or not node.parts or (indent + len(whole) <= WIDTH and not _opens(node)):
        return [pad + whole]
    inner = ", ".join(map(flat, node.parts))
    if not _opens(node) and indent + _STEP + len(inner) <= WIDTH:
        return [pad + node.head, " " * (indent + _STEP) + inner, pad + node.tail + after]
    inside = [line for part in node.parts for line in lines(part, indent + _STEP, ",")]
    return [pad + node.head, *inside, pad + node.tail + after]


def _commented(node: Call, indent: int, after: str) -> list[str]:
    bare = lines(msgspec.structs.replace(node, comment=""), indent, after)
    beside = f"{bare[0]}  # {node.comment}"
    if len(bare) == 1 and len(beside) <= WIDTH:
        return [beside]
    return [f"{' ' * indent}# {node.comment}", *bare]


def _opens(node: Call | str) -> bool:
    return isinstance(node, Call) and (node.opened or any(map(_opens, node.parts)))


def text(value: str) -> str:
    """A text as it is written in Python."""
    written = json.dumps(value, ensure_ascii=False)
    return written if '"' not in value else repr(value)


def names(title: str, values: Sequence[str]) -> list[str]:
    """A constant that holds names: a tuple where it fits on a line, otherwise texts that are split."""
    whole = f"{title} = ({', '.join(map(text, values))}{',' if len(values) == 1 else ''})"
    if len(whole) <= WIDTH:
        return [whole]
    rows = [f'    "{row} "' for row in _wrapped(values)]
    return [f"{title} = (", *rows[:-1], f'{rows[-1].removesuffix(" " + chr(34))}"', ").split()"]


def _wrapped(values: Iterable[str]) -> list[str]:
    rows = [""]
    for value in values:
        longer = f"{rows[-1]} {value}".strip()
        if len(longer) + _STEP + 3 > WIDTH:
            rows.append(value)
        else:
            rows[-1] = longer
    return rows
