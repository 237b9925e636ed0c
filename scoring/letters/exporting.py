"""Dead letters as JSON lines that lose nothing: key, value and headers byte for byte, and what is known of each."""

from collections.abc import Callable, Iterable

import msgspec

from scoring.letters.letter import Letter, content_of
from scoring.letters.originals import Gone, Original
from scoring.letters.text import harmless_json


class Exported(msgspec.Struct, frozen=True):
    """How many letters were written, and of how many the record is gone."""

    letters: int
    without_record: int


def line_of(letter: Letter, original: Original | Gone) -> bytes:
    """A letter's line: its record is in ``record``, or ``gone`` says why not."""
    found: dict[str, object] = letter.summary()
    if isinstance(original, Gone):
        found["gone"] = original.sentence
    else:
        found["record"] = content_of(original.key, original.value, original.headers)
    return harmless_json(msgspec.json.encode(found).decode()).encode() + b"\n"


def export(
    letters: Iterable[Letter], original_of: Callable[[Letter], Original | Gone], write: Callable[[bytes], object]
) -> Exported:
    """Write a line for each letter.

    Raises:
        Unavailable, ConfigurationError: a topic cannot be read now.
    """
    written = without = 0
    for letter in letters:
        original = original_of(letter)
        write(line_of(letter, original))
        written += 1
        without += isinstance(original, Gone)
    return Exported(written, without)
