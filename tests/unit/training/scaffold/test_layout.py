"""What is written stands as a formatter would set it."""

import subprocess
import sys
from pathlib import Path

from training.scaffold.layout import Call, lines, names, said, text

PROJECT = Path(__file__).parents[4]


def formatted(source: str) -> str:
    command = [str(Path(sys.executable).with_name("ruff")), "format", "--config", str(PROJECT / "pyproject.toml"), "-"]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout


def test_calls_of_every_length_are_laid_out_as_the_formatter_does() -> None:
    for count in (1, 3, 12, 18, 40):
        inner = Call("dict(", tuple(f"argument_{number}=1" for number in range(count)))
        outer = Call("made = call(", ("first", inner, Call("[", tuple(map(str, range(count))), "]")))
        opened = Call("also = call(", (said("first", "a word"), "second"), opened=True)
        written = "\n".join([*lines(outer), *lines(opened), ""])
        assert formatted(written) == written


def test_names_of_every_number_are_laid_out_as_the_formatter_does_and_mean_the_same() -> None:
    for count in (1, 2, 9, 60):
        words = [f"column_{number}" for number in range(count)]
        written = "\n".join([*names("NAMES", words), ""])
        found: dict[str, list[str]] = {}
        exec(written, found)  # noqa: S102
        assert list(found["NAMES"]) == words
        assert formatted(written) == written


def test_texts_keep_quotes_and_letters() -> None:
    for value in ("plain", 'with "quotes"', "ünïcode", "back\\slash"):
        assert eval(text(value)) == value  # noqa: S307
        assert formatted(f"x = {text(value)}\n") == f"x = {text(value)}\n"


def test_a_comment_stands_behind_its_line_where_there_is_room_and_above_it_otherwise() -> None:
    assert lines(said("key=1", "a word"), 4, ",") == ["    key=1,  # a word"]
    assert lines(said("key=1", "word " * 30), 4, ",") == [f"    # {'word ' * 30}", "    key=1,"]
