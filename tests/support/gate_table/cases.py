"""The form of a line of the table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.support.gate_table.stage import ALL, BOTH, Stage

Plant = Callable[[Stage], None]


@dataclass(frozen=True)
class Case:
    """A mutation.

    Attributes:
        gate: that must refuse it, by data set; empty where none may.
        core: part of the short form.
        missed: the data sets on which it gets through, and why.
    """

    name: str
    plant: Plant
    gates: dict[str, str]
    core: bool = False
    missed: Mapping[str, str] = field(default_factory=dict)


CASES: list[Case] = []
HARMLESS: list[Case] = []


def fault(gate: str, *, on: tuple[str, ...] = BOTH, core: bool = False, **by_data: str) -> Callable[[Plant], Plant]:
    """A fault that this gate must refuse, on these data sets; ``flights=...`` names another gate for one of them."""

    def add(plant: Plant) -> Plant:
        gates = {name: by_data.get(name, gate) for name in on}
        CASES.append(Case(_sentence(plant), plant, gates, core))
        return plant

    return add


def harmless(*, on: tuple[str, ...] = BOTH, core: bool = False) -> Callable[[Plant], Plant]:
    """A change that no gate may refuse."""

    def add(plant: Plant) -> Plant:
        HARMLESS.append(Case(_sentence(plant), plant, dict.fromkeys(on, ""), core))
        return plant

    return add


UNSEEN: list[Case] = []
UNSEEN_HARMLESS: list[Case] = []


def unseen(
    gate: str, *, on: tuple[str, ...] = ALL, missed: Mapping[str, str] | None = None, **by_data: str
) -> Callable[[Plant], Plant]:
    """A fault that was written when the limits were fixed, and that no limit was changed for."""

    def add(plant: Plant) -> Plant:
        gates = {name: by_data.get(name, gate) for name in on}
        UNSEEN.append(Case(_sentence(plant), plant, gates, missed=missed or {}))
        return plant

    return add


def unseen_harmless(*, on: tuple[str, ...] = ALL) -> Callable[[Plant], Plant]:
    """A change without harm that was written when the limits were fixed."""

    def add(plant: Plant) -> Plant:
        UNSEEN_HARMLESS.append(Case(_sentence(plant), plant, dict.fromkeys(on, "")))
        return plant

    return add


def _sentence(plant: Plant) -> str:
    return plant.__name__.replace("_", " ").strip()
