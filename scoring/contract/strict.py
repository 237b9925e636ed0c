"""JSON that says everything once: what two readers may read differently is not read at all."""

import json
from collections.abc import Sequence


def require_unique_keys(content: bytes) -> None:
    """Refuse an object that names a key twice: some readers take the first value, some the last (RFC 8259, 4).

    Raises:
        ValueError: a key is there twice, or it is no JSON.
        RecursionError: it is nested too deeply.
    """
    json.loads(content, object_pairs_hook=_unique)


def _unique(pairs: Sequence[tuple[str, object]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:100]!r} is there twice")
