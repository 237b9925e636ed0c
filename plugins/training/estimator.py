"""An estimator by name, so that a model definition imports no machine-learning library."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from scoring.contract.errors import ConfigurationError


class Estimator:
    """A scikit-learn estimator that is imported and made when it is trained.

    ``Estimator("sklearn.linear_model.Ridge", alpha=2.0)``; a pipeline is
    ``Estimator("sklearn.pipeline.make_pipeline", Estimator(...), Estimator(...))``.

    Attributes:
        path: dotted path of the class, or of a function that returns the estimator.
        parts: estimators that are its positional arguments.
        parameters: its keyword arguments.
    """

    __slots__ = ("parameters", "parts", "path")

    path: str
    parts: tuple["Estimator", ...]
    parameters: Mapping[str, Any]

    def __init__(self, path: str, *parts: "Estimator", **parameters: Any) -> None:
        self.path = path
        self.parts = parts
        self.parameters = parameters

    def __repr__(self) -> str:
        """The call in Python's form, which is how manifests name the estimator."""
        arguments = [*map(repr, self.parts), *(f"{name}={value!r}" for name, value in self.parameters.items())]
        return f"{self.path}({', '.join(arguments)})"

    def build(self) -> Any:
        """A new, unfitted estimator.

        Raises:
            ConfigurationError: the path leads nowhere, or it does not take these parameters.
        """
        module, _, attribute = self.path.rpartition(".")
        try:
            made = getattr(import_module(module), attribute)
            return made(*(part.build() for part in self.parts), **self.parameters)
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raise ConfigurationError(f"estimator {self!r}: {error}") from error

    def mistakes(self) -> Iterator[str]:
        """What can be seen to be wrong without importing the library."""
        package = self.path.partition(".")[0]
        if "." not in self.path or find_spec(package) is None:
            yield f"estimator: {self.path!r} is not the dotted path of something that is installed"
        for part in self.parts:
            yield from part.mistakes()
