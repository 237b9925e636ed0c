from typing import Any

import numpy as np
import pytest

from scoring.contract.encoder import Floats
from scoring.contract.errors import ConfigurationError
from scoring.contract.manifest import Link, Task
from scoring.scorer.compiled import CompiledModel
from training.compile import compile_model, predict

ROWS = 400


def sample() -> tuple[Floats, Floats]:
    random = np.random.default_rng(0)
    matrix = random.normal(size=(ROWS, 3))
    matrix[::10, 1] = np.nan
    return matrix, matrix[:, 0] * 2.0 + np.nan_to_num(matrix[:, 1]) + random.normal(scale=0.1, size=ROWS)


def pipeline(last: Any) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(SimpleImputer(), StandardScaler(), last)


def test_a_linear_model_is_compiled_in_float64() -> None:
    from sklearn.linear_model import Ridge

    matrix, target = sample()
    matrix = np.nan_to_num(matrix)
    estimator = Ridge().fit(matrix, target)
    compiled = compile_model(estimator, Task.REGRESSION, matrix, tolerance=1e-12)
    found = CompiledModel(compiled.graph, compiled.output).run(matrix)
    assert np.abs(found - predict(estimator, Task.REGRESSION, matrix)).max() <= 1e-12
    assert (compiled.output.exact, compiled.output.input_type, compiled.output.tolerance) == (False, "double", 1e-12)


def test_a_pipeline_that_runs_only_in_float32_is_compiled_so_and_says_it() -> None:
    from sklearn.linear_model import Ridge

    matrix, target = sample()
    estimator = pipeline(Ridge()).fit(matrix, target)
    compiled = compile_model(estimator, Task.REGRESSION, matrix, tolerance=1e-5)
    found = CompiledModel(compiled.graph, compiled.output).run(matrix)
    assert np.abs(found - predict(estimator, Task.REGRESSION, matrix)).max() < 1e-5
    assert (compiled.output.exact, compiled.output.input_type) == (False, "float")


def test_a_pipeline_for_classes_gives_the_probability_of_the_positive_class() -> None:
    from sklearn.linear_model import LogisticRegression

    matrix, target = sample()
    estimator = pipeline(LogisticRegression()).fit(matrix, (target > 0).astype(int))
    compiled = compile_model(estimator, Task.BINARY, matrix, tolerance=1e-5, threshold=0.5)
    found = CompiledModel(compiled.graph, compiled.output).run(matrix)
    assert np.abs(found - predict(estimator, Task.BINARY, matrix)).max() < 1e-5
    assert (compiled.output.link, compiled.output.threshold, compiled.output.column) == (Link.IDENTITY, 0.5, 1)


def test_an_estimator_that_has_no_converter_is_refused_with_the_reasons() -> None:
    from sklearn.isotonic import IsotonicRegression
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    matrix, target = sample()
    estimator = make_pipeline(FunctionTransformer(np.nan_to_num), LogisticRegression())
    estimator.fit(matrix, (target > 0).astype(int))
    with pytest.raises(ConfigurationError, match=r"(?s)Pipeline cannot be compiled to ONNX.*as double.*as float"):
        compile_model(estimator, Task.BINARY, matrix, tolerance=1e-5)
    isotonic = IsotonicRegression().fit(matrix[:, 0], target)
    with pytest.raises(ConfigurationError, match="IsotonicRegression cannot be compiled to ONNX"):
        compile_model(isotonic, Task.REGRESSION, matrix[:, :1], tolerance=1e-5)
