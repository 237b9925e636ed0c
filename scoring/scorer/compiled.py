"""The compiled model: an ONNX graph run in-process, single-threaded, and the link behind it."""

import sys
from math import exp
from typing import Any

import numpy as np
import onnxruntime
import structlog

from scoring.contract.encoder import Floats
from scoring.contract.errors import BundleRejected
from scoring.contract.manifest import Link, Output
from scoring.scorer.graph import parse_graph
from scoring.scorer.graph_rules import check_graph
from scoring.scorer.kernels import Kernel, Unsuitable, kernel_of

_INPUT_TYPES = {"double": np.float64, "float": np.float32}
_TRYING_ROWS = 512
log = structlog.get_logger()


class CompiledModel:
    """Runs the graph of a bundle.

    Args:
        checked: the graph passed ``check_graph`` before, in another process; a hot one need not do it again.
        kernel: use a kernel where it is faster; otherwise ONNX Runtime, the reference, alone.

    Attributes:
        kernel: what runs the graph where it is faster: ``compiled``, ``numpy``, or nothing but ``onnxruntime``.

    Raises:
        BundleRejected: the graph breaks a rule (``graph_rules``), ONNX Runtime refuses it, or it lacks the input or
            output that the manifest names.
    """

    def __init__(self, graph: bytes, output: Output, *, checked: bool = False, kernel: bool = True) -> None:
        self._output = output
        if not checked:
            check_graph(graph, output)
        try:
            self._session = onnxruntime.InferenceSession(graph, _session_options(), providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
            raise BundleRejected(f"compiled model: ONNX Runtime refuses the graph: {error}") from error
        self._check_names()
        self._kernel = self._agreeing_kernel(graph) if kernel else None
        self.kernel = "onnxruntime" if self._kernel is None else self._kernel.name
        self._kernel_rows = (self._kernel.faster_from if self._kernel is not None else None) or sys.maxsize

    def run(self, matrix: Floats) -> Floats:
        """Scores of shape (rows,), of several classes (rows, classes), for a float64 matrix of shape (rows, features).

        Raises:
            BundleRejected: the graph does not give one score, or one probability of each class, per record.
        """
        if self._kernel is not None and len(matrix) >= self._kernel_rows:
            scores = self._kernel.run(matrix)
        else:
            scores = self._reference(matrix)
        return linked(scores, self._output.link)

    def _reference(self, matrix: Floats) -> Floats:
        """Raw scores by ONNX Runtime."""
        fed = {self._output.input_name: matrix.astype(_INPUT_TYPES[self._output.input_type], copy=False)}
        (raw,) = self._session.run([self._output.output_name], fed)
        if self._output.classes:
            return _of_classes(raw, len(matrix), len(self._output.classes))
        if raw.ndim == 2 and raw.shape[1] <= self._output.column:
            raise BundleRejected(f"compiled model: output of shape {raw.shape}, column {self._output.column} is wanted")
        column = raw[:, self._output.column] if raw.ndim == 2 else raw
        scores = np.ascontiguousarray(column, dtype=np.float64)
        if scores.shape != (len(matrix),):  # a constant graph, say: it would be spread over the golden rows
            raise BundleRejected(f"compiled model: output of shape {raw.shape} for {len(matrix)} records")
        return scores

    def _agreeing_kernel(self, graph: bytes) -> Kernel | None:
        """The kernel, where it runs this graph, is faster for some micro-batch and gives the reference's scores."""
        if self._output.input_type != "double" or self._output.column != 0:
            return None
        try:
            kernel = kernel_of(parse_graph(graph))
        except Unsuitable:
            return None
        if kernel.faster_from is None:
            return None
        rows = kernel.trying_rows(self.features, _TRYING_ROWS)
        if np.array_equal(kernel.run(rows).view(np.int64), self._reference(rows).view(np.int64)):
            return kernel
        log.error(
            "kernel.disagrees",
            kernel=kernel.name,
            why="ONNX Runtime scores otherwise, and counts; please report this model",
        )
        return None

    def _check_names(self) -> None:
        if self._output.input_type not in _INPUT_TYPES:
            raise BundleRejected(f"compiled model: input type {self._output.input_type!r} is none of {[*_INPUT_TYPES]}")
        found = self._session.get_inputs()
        inputs = {node.name: node.type for node in found}
        self.features: int = found[0].shape[-1] if found and found[0].shape else 0
        outputs = {node.name for node in self._session.get_outputs()}
        expected = f"tensor({self._output.input_type})"
        if inputs != {self._output.input_name: expected}:
            raise BundleRejected(f"compiled model: inputs are {inputs}, {self._output.input_name}: {expected} expected")
        if self._output.output_name not in outputs:
            raise BundleRejected(f"compiled model: outputs are {sorted(outputs)}, no {self._output.output_name!r}")


def _of_classes(raw: Any, rows: int, classes: int) -> Floats:
    if raw.shape != (rows, classes):
        raise BundleRejected(f"compiled model: output of shape {raw.shape} for {rows} records and {classes} classes")
    return np.ascontiguousarray(raw, dtype=np.float64)


def linked(raw: Floats, link: Link) -> Floats:
    """The scores of raw ones, of the same shape."""
    if link is Link.IDENTITY:
        return raw
    return sigmoid(raw) if link is Link.SIGMOID else softmax(raw, ordered=link is Link.ORDERED_SOFTMAX)


def softmax(raw: Floats, *, ordered: bool) -> Floats:
    """``exp(x - max) / sum`` per row, as ``sklearn.utils.extmath.softmax`` computes it, bit for bit on one machine.

    Args:
        raw: of shape (rows, classes).
        ordered: the sum is taken class by class, as numpy does where scikit-learn holds one class after the other in
            memory; otherwise as numpy adds up the numbers of a row, eight at a time. A row's sum never depends on the
            other rows.
    """
    if not len(raw):
        return raw
    with np.errstate(invalid="ignore"):  # where the largest is infinite, nothing of the row is a number
        powers: Floats = np.exp(raw - raw.max(axis=1, keepdims=True))
    powers /= np.cumsum(powers, axis=1)[:, -1:] if ordered else powers.sum(axis=1, keepdims=True)
    return powers


def sigmoid(raw: Floats) -> Floats:
    """``1 / (1 + exp(-x))`` per element with the C library's ``exp``.

    That is what scikit-learn computes (through ``scipy.special.expit``), bit for bit; numpy's vectorised ``exp``
    differs in the last bit for two values in a hundred.
    """
    if len(raw) and raw.min() > -709.0:  # a NaN is not
        powers = np.fromiter(map(exp, (-raw).tolist()), np.float64, len(raw))
        found: Floats = 1.0 / (1.0 + powers)
        return found
    return np.fromiter((1.0 / (1.0 + exp(-x)) if x > -709.0 else _tail(x) for x in raw.tolist()), np.float64, len(raw))


def _tail(x: float) -> float:
    try:
        return 1.0 / (1.0 + exp(-x))  # NaN stays NaN
    except OverflowError:
        return 0.0


def _session_options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")  # else the bytes choose the reader
    options.log_severity_level = 3
    return options
