"""Runs the compiled kernels of a library that watches its own memory: ``python sanitized.py LIBRARY FOLDER``.

For every ``*.onnx`` in the folder, the scores of the rows in ``*.npy`` beside it by each kernel are written to
``*.bits.npy`` and ``*.walk.npy``: in parts of all sizes.
"""

import sys
from contextlib import suppress
from pathlib import Path

import numpy as np

from scoring.scorer import library
from scoring.scorer.bits import Bits
from scoring.scorer.graph import parse_graph
from scoring.scorer.kernels import Kernel, Unsuitable
from scoring.scorer.walk import Walk

SIZES = (1, 7, 8, 9, 63, 64, 65, 0, 127, 256)


def _scores(kernel: Kernel, rows: np.ndarray) -> np.ndarray:
    parts, start = [], 0
    while start < len(rows):
        for size in SIZES:
            parts.append(kernel.run(rows[start : start + size].copy()))
            start += size
    return np.concatenate(parts)


def main(path: Path, folder: Path) -> None:
    compiled = library.load(path)
    assert compiled is not None
    for graph in sorted(folder.glob("*.onnx")):
        rows = np.load(graph.with_suffix(".npy"))
        for name, kind in (("bits", Bits), ("walk", Walk)):
            with suppress(Unsuitable):
                np.save(
                    graph.with_suffix(f".{name}.npy"), _scores(kind(parse_graph(graph.read_bytes()), compiled), rows)
                )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
