"""Runs a compiled library that watches its own memory: ``python sanitized.py LIBRARY FOLDER``.

For every ``*.onnx`` in the folder, the scores of the rows in ``*.npy`` beside it by each kernel are written to
``*.bits.npy`` and ``*.walk.npy``: in parts of all sizes. The records in ``records.json`` (hexadecimal) are scanned,
each alone and all together; the places of those that are not plain are written to ``records.others.json``.
"""

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from scoring.contract.fields import Field, FieldType
from scoring.contract.records import ORDINARY
from scoring.scorer import library
from scoring.scorer.bits import Bits
from scoring.scorer.decode import EARLIEST_S, END_S
from scoring.scorer.graph import parse_graph
from scoring.scorer.kernels import Kernel, Unsuitable
from scoring.scorer.scan import Scanner
from scoring.scorer.walk import Walk
from scoring.worker import json_columns, weave
from tests.support.records import FIELDS

SIZES = (1, 7, 8, 9, 63, 64, 65, 0, 127, 256)


def _scores(kernel: Kernel, rows: np.ndarray) -> np.ndarray:
    parts, start = [], 0
    while start < len(rows):
        for size in SIZES:
            parts.append(kernel.run(rows[start : start + size].copy()))
            start += size
    return np.concatenate(parts)


def _scan(compiled: Any, folder: Path) -> None:
    records = [bytes.fromhex(record) for record in json.loads((folder / "records.json").read_text())]
    scanner = Scanner(compiled, FIELDS, ORDINARY)
    alone = [place for place, record in enumerate(records) if scanner.scan([record]).others]
    together = scanner.scan(records).others
    assert alone == together
    (folder / "records.others.json").write_text(json.dumps(together))
    texts = [Field(name=f"s{number}", type=FieldType.STRING) for number in range(60)]
    assert Scanner(compiled, texts, ORDINARY).scan([b'{"s0":"a"}'] * 300).others == []


def _write(compiled: Any) -> None:
    """Lines of all lengths, also too few and too many."""
    for module in (json_columns, weave):
        module.load = lambda: compiled  # type: ignore[attr-defined]
    times = json_columns.times(np.linspace(EARLIEST_S, END_S - 1, 999))
    for column in (times, times[:-1], times[:-30], times + b"\n", b""):
        pattern = weave.Pattern(b"text")
        pattern.column(times)
        pattern.column(column)
        with suppress(ValueError):
            assert len(pattern.woven(999)) == 999


def main(path: Path, folder: Path) -> None:
    compiled = library.load(path)
    assert compiled is not None
    _write(compiled)
    if (folder / "records.json").exists():
        _scan(compiled, folder)
    for graph in sorted(folder.glob("*.onnx")):
        rows = np.load(graph.with_suffix(".npy"))
        for name, kind in (("bits", Bits), ("walk", Walk)):
            with suppress(Unsuitable):
                np.save(
                    graph.with_suffix(f".{name}.npy"), _scores(kind(parse_graph(graph.read_bytes()), compiled), rows)
                )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
