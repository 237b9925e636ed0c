"""Templates to HTML. Everything that is not a template's own text is escaped."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from baton_airflow.page import words


@cache
def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("moment", "day", "ago", "seconds", "number", "size", "markdown", "word", "duration"):
        found.filters[name] = getattr(words, name)
    found.filters["svg"] = Markup  # of our own plots, which escape what they are given
    return found


def render(template: str, **values: object) -> str:
    """The page as text."""
    return _environment().get_template(template).render(**values)
