"""The compiled library (``records.c``, ``trees.c``, ``lines.c``): there where the package was built with a C compiler.

It is called through ``ctypes``, so it serves every Python, and the interpreter's lock is free while it works.
"""

import ctypes
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scoring.contract.encoder import Floats

PATH = Path(__file__).with_name("libscorer.so.1")
# What both sides agree on, by one number: the structures, the arguments, and LANES.
ABI = 3
LANES = 8

_NUMBER, _ADDRESS, _DOUBLE = ctypes.c_int64, ctypes.c_void_p, ctypes.c_double


class BitsTables(ctypes.Structure):
    """``bits_t``."""

    _fields_ = (
        *((name, _NUMBER) for name in ("features", "trees", "leaves")),
        *((name, _ADDRESS) for name in ("columns", "counts", "thresholds", "tables", "weights")),
        ("divisor", _DOUBLE),
    )


class WalkTables(ctypes.Structure):
    """``walk_t``."""

    _fields_ = (
        *((name, _NUMBER) for name in ("values", "lookups", "trees")),
        *((name, _ADDRESS) for name in ("nodes", "weights", "roots", "depths", "columns", "missing")),
        *((name, _ADDRESS) for name in ("of", "counts", "answers", "thresholds", "tables")),
        ("divisor", _DOUBLE),
    )


class RecordShape(ctypes.Structure):
    """``shape_t``."""

    _fields_ = (
        *((name, _NUMBER) for name in ("fields", "texts")),
        *((name, _ADDRESS) for name in ("names", "name_ends", "kinds", "required", "columns")),
        *((name, _NUMBER) for name in ("others", "maximum_bytes", "maximum_text_bytes")),
    )


@cache
def load(path: Path = PATH) -> ctypes.CDLL | None:
    """The library, or None where it was not built, or from another source than this."""
    try:
        found = ctypes.CDLL(str(path))
        found.abi.restype = _NUMBER
        if found.abi() != ABI:
            return None
        for kernel in (found.bits32, found.bits64, found.walk):
            kernel.restype = _NUMBER
            kernel.argtypes = [_ADDRESS, _ADDRESS, _NUMBER, _NUMBER, _ADDRESS]
        found.scan.restype = None
        found.scan.argtypes = [_ADDRESS, ctypes.c_char_p, _ADDRESS, _NUMBER, *[_ADDRESS] * 6]
        found.weave.restype = found.write_times.restype = _NUMBER
        found.weave.argtypes = [_NUMBER, *[_ADDRESS] * 4, _NUMBER, *[_ADDRESS] * 3]
        found.write_times.argtypes = [_ADDRESS, _NUMBER, _ADDRESS]
    except (OSError, AttributeError):
        return None
    return found


def call(kernel: Any, tables: int, matrix: Floats, columns: int) -> Floats:
    """Scores of shape (rows,) by a kernel of the library.

    Args:
        tables: the address of its tables.
        columns: that they know.

    Raises:
        ValueError: the matrix has another shape.
        MemoryError: there is no room for a block of records.
    """
    if matrix.ndim != 2 or matrix.shape[1] != columns:
        raise ValueError(f"a matrix of shape {matrix.shape} came where {columns} columns are expected")
    rows = np.ascontiguousarray(matrix, np.float64)
    scores = np.empty(len(rows))
    if kernel(tables, rows.ctypes.data, len(rows), columns, scores.ctypes.data) != 0:
        raise MemoryError
    return scores


def addresses(arrays: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.uintp]:
    """Where arrays begin; whoever hands them to the library keeps them alive."""
    return np.array([array.ctypes.data for array in arrays], np.uintp)
