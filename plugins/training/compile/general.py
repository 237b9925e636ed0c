"""Any scikit-learn estimator or pipeline that skl2onnx converts. Not exact: the parity gate holds it to a tolerance."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from scoring.contract.encoder import Floats
from scoring.contract.errors import BundleRejected, ConfigurationError
from scoring.contract.manifest import Output, Task
from scoring.scorer.compiled import CompiledModel

INPUT_NAME = "X"


def convert(
    estimator: Any, task: Task, sample: Floats, tolerance: float, classes: Sequence[str] = ()
) -> tuple[bytes, Output]:
    """The graph, and how to run it: in float64 where ONNX Runtime can, in float32 where that comes closer.

    Raises:
        ConfigurationError: neither form can be converted and run; the message says why.
    """
    from training.compile import predict  # noqa: PLC0415  it imports this module

    expected = predict(estimator, task, sample)
    best: tuple[float, bytes, Output] | None = None
    problems: list[str] = []
    for input_type in ("double", "float"):
        try:
            graph = _converted(estimator, task, sample.shape[1], input_type)
            output = _output(graph, task, input_type, tolerance, tuple(classes))
            difference = _difference(CompiledModel(graph, output).run(sample), expected)
        except Exception as error:
            problems.append(f"as {input_type}: {error}")
            continue
        if best is None or difference < best[0]:
            best = difference, graph, output
        if difference <= tolerance:
            break
    if best is None:
        raise ConfigurationError(f"{type(estimator).__name__} cannot be compiled to ONNX:\n" + "\n".join(problems))
    return best[1], best[2]


def _converted(estimator: Any, task: Task, features: int, input_type: str) -> bytes:
    from skl2onnx import to_onnx  # noqa: PLC0415  it takes a second to load
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType  # noqa: PLC0415

    tensor = DoubleTensorType if input_type == "double" else FloatTensorType
    options = None if task is Task.REGRESSION else {"zipmap": False}
    model = to_onnx(estimator, initial_types=[(INPUT_NAME, tensor([None, features]))], options=options)
    content: bytes = model.SerializeToString()
    return content


def _output(graph: bytes, task: Task, input_type: str, tolerance: float, classes: tuple[str, ...]) -> Output:
    import onnx  # noqa: PLC0415  see above

    names = [output.name for output in onnx.load_from_string(graph).graph.output]
    wanted = 0 if task is Task.REGRESSION else 1  # a classifier's first output is the label
    if len(names) <= wanted:
        raise BundleRejected(f"the graph has the outputs {names}; there is no score among them")
    return Output(
        task=task,
        input_name=INPUT_NAME,
        input_type=input_type,
        output_name=names[wanted],
        column=1 if task is Task.BINARY else 0,
        tolerance=tolerance,
        classes=classes,
    )


def _difference(found: Floats, expected: Floats) -> float:
    difference = float(np.max(np.abs(found - expected), initial=0.0))
    return math.inf if math.isnan(difference) else difference
