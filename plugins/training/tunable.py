"""Parameters of the estimator that whoever starts a run may set, within bounds that the definition declares."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from training.estimator import Estimator

if TYPE_CHECKING:
    from training.definition import ModelDefinition

Setting = float | int | str | bool
"""A value of a parameter; whole numbers stay whole."""


class Between(msgspec.Struct, frozen=True):
    """A number from ``low`` to ``high``, both included; a whole one where both are whole."""

    low: float | int
    high: float | int

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def sentence(self) -> str:
        """What may be given."""
        return f"{'a whole number' if self.whole else 'a number'} from {self.low} to {self.high}"

    def admits(self, value: object) -> bool:
        """Whether the value lies within."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return self.low <= value <= self.high and (not self.whole or value == int(value))

    def taken(self, value: Setting) -> Setting:
        """The value as the estimator gets it: a form sends 3.0 where 3 is meant."""
        return int(value) if self.whole else float(value)

    def mistakes(self, name: str) -> Iterator[str]:
        """Every mistake, a sentence each."""
        if not self.low < self.high:
            yield f"tunable: {name}: nothing lies between {self.low!r} and {self.high!r}; give the smaller one first"


class OneOf(msgspec.Struct, frozen=True):
    """One of some values."""

    values: tuple[Setting, ...]

    @property
    def sentence(self) -> str:
        """What may be given."""
        return f"one of {', '.join(map(str, self.values))}"

    def admits(self, value: object) -> bool:
        """Whether the value is one of them."""
        return any(type(value) is type(known) and value == known for known in self.values)

    def taken(self, value: Setting) -> Setting:
        """The value as the estimator gets it."""
        return value

    def mistakes(self, name: str) -> Iterator[str]:
        """Every mistake, a sentence each."""
        if len(self.values) < 2:
            yield f"tunable: {name}: with fewer than two values there is nothing to choose"


Bounds = Between | OneOf


def between(low: float, high: float) -> Between:
    """A number from ``low`` to ``high``; a whole one where both are whole."""
    return Between(low, high)


def one_of(*values: Setting) -> OneOf:
    """One of these values."""
    return OneOf(values)


def tunable_mistakes(definition: "ModelDefinition") -> Iterator[str]:
    """What is wrong with the declared bounds, a sentence each."""
    now = tuned_part(definition.estimator).parameters
    for name, bounds in definition.tunable.items():
        given: object = bounds  # a definition can hold anything
        if not isinstance(given, Between | OneOf):
            yield f"tunable: {name}: {given!r} is no bounds; write between(low, high) or one_of(value, ...)"
            continue
        yield from bounds.mistakes(name)
        if name in now and not bounds.admits(now[name]):
            yield f"tunable: {name}: the definition's own value {now[name]!r} is not {bounds.sentence}"


def setting_mistakes(definition: "ModelDefinition", given: Mapping[str, object]) -> Iterator[str]:
    """What is wrong with given parameters, a sentence each."""
    for name, value in given.items():
        bounds = definition.tunable.get(name)
        if bounds is None:
            known = ", ".join(definition.tunable) or "none"
            yield f"parameter {name!r} may not be set for {definition.name} (declared as tunable: {known})"
        elif not bounds.admits(value):
            yield f"parameter {name}: {value!r} is not {bounds.sentence}"


def tuned_part(estimator: Estimator) -> Estimator:
    """The estimator whose parameters are set: of a pipeline the last part."""
    return tuned_part(estimator.parts[-1]) if estimator.parts else estimator


def tuned(definition: "ModelDefinition", given: Mapping[str, Setting]) -> "ModelDefinition":
    """The definition with these parameters of its estimator.

    Args:
        given: as ``setting_mistakes`` admits them.
    """
    if not given:
        return definition
    taken = {name: definition.tunable[name].taken(value) for name, value in given.items()}
    return msgspec.structs.replace(definition, estimator=_with(definition.estimator, taken))


def _with(estimator: Estimator, given: Mapping[str, Any]) -> Estimator:
    if not estimator.parts:
        return Estimator(estimator.path, **{**estimator.parameters, **given})
    *before, last = estimator.parts
    return Estimator(estimator.path, *before, _with(last, given), **estimator.parameters)
