"""A stage on which one mutation of the pipeline is played: a champion is in the ledger, a retrain is judged."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from scoring.contract.clock import epoch_s
from scoring.contract.encoder import Column, Floats
from scoring.contract.errors import ConfigurationError
from scoring.contract.features import FieldType
from scoring.contract.verdict import Judgement
from scoring.parquet import write_columns
from scoring.settings import Settings
from tests.support.evidence import load as good_load
from training import load, pipeline, train
from training.definition import ModelDefinition
from training.errors import TrainingImpossible
from training.pull import column_types, run_folder
from training.results import Gated, LoadProbe, Pulled, RunRequest
from training.rows import at

Mask = np.typing.NDArray[np.bool_]

FLIGHTS, DELIVERIES, MACHINES, OUTCOMES = "flights", "deliveries", "machines", "outcomes"
BOTH = (FLIGHTS, DELIVERIES)
ALL = (FLIGHTS, DELIVERIES, MACHINES)


@dataclass(frozen=True)
class Names:
    """What the columns of a data set are called.

    Attributes:
        number: an important one.
        word: a category that the model reads.
        group, member: a field whose values are slices, and its largest value.
    """

    number: str
    word: str
    group: str
    member: str
    late: str


NAMES = {
    FLIGHTS: Names("distance", "carrier", "carrier", "UA", "dep_delay"),
    DELIVERIES: Names("kilometres", "load.status", "depot", "north", "courier"),
    MACHINES: Names("vibration", "kind", "kind", "press", "repair_minutes"),
    OUTCOMES: Names("kilometres", "load.status", "depot", "north", "courier"),
}


@dataclass(frozen=True)
class DataSet:
    """A model with a champion, and what a retrain pulled."""

    name: str
    definition: ModelDefinition
    settings: Settings
    request: RunRequest
    columns: Mapping[str, Column]

    @property
    def binary(self) -> bool:
        return self.definition.label.at_least is not None


@dataclass
class Stage:
    """The retrain, to be spoiled before it is run.

    Attributes:
        columns: of the snapshot, by name.
        stopped: why nothing could be trained.
        probe: what loading the bundle costs; None loads it, in a process of its own.
        refuses: what stopped the run before the gates, by the name of the part that did.
    """

    data: DataSet
    monkeypatch: pytest.MonkeyPatch
    folder: Path
    definition: ModelDefinition
    columns: dict[str, Column]
    request: RunRequest
    settings: Settings
    probe: LoadProbe | None = field(default_factory=good_load)
    types: dict[str, FieldType] = field(default_factory=dict)
    stopped: str | None = None
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(11))

    @classmethod
    def of(cls, data: DataSet, folder: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> "Stage":
        request = msgspec.structs.replace(data.request, run_id=f"{case} {folder}")
        # A fault that is planted in memory changes no file: what another case trained would be taken for the same.
        monkeypatch.setattr(train, "find_kept", lambda *_: False)
        return cls(data, monkeypatch, folder, data.definition, dict(data.columns), request, data.settings)

    @property
    def names(self) -> Names:
        return NAMES[self.data.name]

    @property
    def label(self) -> str:
        return self.definition.label.column

    @property
    def rows(self) -> int:
        return len(self.columns[self.definition.event_time])

    def times(self) -> Floats:
        return np.asarray(self.columns[self.definition.event_time], dtype=np.float64)

    def numbers(self, name: str) -> Floats:
        return np.asarray(self.columns[name], dtype=np.float64)

    def since(self, moment: datetime) -> Mask:
        return self.times() >= epoch_s(moment)

    def holdout(self) -> Mask:
        return self.since(self.definition.holdout_start(self.request.end))

    def of_member(self) -> Mask:
        """The rows of the largest group."""
        return np.array([word == self.names.member for word in self.columns[self.names.group]])

    def targets(self) -> Floats:
        limit, labels = self.definition.label.at_least, self.numbers(self.label)
        return labels if limit is None else (labels >= limit).astype(np.float64)

    def keep(self, mask: Mask) -> None:
        self.take(np.flatnonzero(mask))

    def take(self, places: np.typing.NDArray[np.intp]) -> None:
        self.columns = {name: at(column, places) for name, column in self.columns.items()}

    def change(self, name: str, change: Callable[[Floats], Floats], where: Mask | None = None) -> None:
        """Change the numbers of a column, everywhere or where the mask is true."""
        values = self.numbers(name)
        self.columns[name] = change(values) if where is None else np.where(where, change(values), values)

    def words(self, name: str, change: Callable[[str | None], str | None], where: Mask) -> None:
        self.columns[name] = [
            change(word) if here else word for word, here in zip(self.columns[name], where.tolist(), strict=True)
        ]

    def add(self, name: str, values: Column, kind: FieldType = FieldType.NUMBER) -> None:
        self.columns[name] = values
        self.types[name] = kind

    def define(self, **changes: Any) -> None:
        if "estimator" in changes:
            changes = {"tunable": {}, **changes}  # its bounds are those of the definition's own estimator
        self.definition = msgspec.structs.replace(self.definition, **changes)

    def suite(self, content: bytes) -> None:
        path = self.folder / "suite.json"
        path.write_bytes(content)
        self.define(suite=str(path))

    def patch(self, target: Any, name: str, value: Any) -> None:
        self.monkeypatch.setattr(target, name, value)

    def first(self) -> None:
        """As if nothing had been promoted yet: the champion's own run."""
        end = self.definition.holdout_start(self.request.end)
        self.keep(~self.since(end))
        self.request = msgspec.structs.replace(self.request, end=end, effective_from=end)
        self.settings = self.settings.model_copy(update={"ledger_url": f"sqlite:///{self.folder / 'ledger.db'}"})

    def judge(self) -> Gated:
        """Everything from the snapshot to the verdicts; what cannot be trained has its verdicts too."""
        definition, request, settings = self.definition, self.request, self.settings
        if self.probe is not None:
            self.patch(load, "probe", lambda *_, **__: self.probe)
        staged = run_folder(settings, "staged", request) / "pulled.parquet"
        kinds = {**column_types(self.data.definition), **column_types(definition), **self.types}
        write_columns(staged, self.columns, kinds, [self.data.definition.event_time, definition.key])
        pulled = Pulled(path=str(staged), rows=self.rows, labels_missing=0, labels_not_yet_known=0)
        snapshot = pipeline.snapshot(definition, request, settings, pulled)
        validated = pipeline.validate(definition, request, settings, snapshot)
        try:
            trained = pipeline.train(definition, request, settings, snapshot, validated)
            evaluated = pipeline.evaluate(definition, request, settings, snapshot, trained)
        except TrainingImpossible as error:
            evaluated, self.stopped = None, str(error)
        finally:
            shutil.rmtree(staged.parent, ignore_errors=True)
        return pipeline.gates(definition, request, settings, validated, evaluated)


def refusals(stage: Stage, plant: Callable[[Stage], None]) -> dict[str, str]:
    """The gates that do not pass after a mutation, each with its sentence.

    A definition that cannot be made, or an estimator that cannot be compiled, is refused as ``definition``; data from
    which nothing can be trained as ``training``.
    """
    try:
        plant(stage)
        gated = stage.judge()
    except ConfigurationError as error:
        return {"definition": str(error)}
    assert gated.verdicts
    against = [verdict for verdict in gated.verdicts if verdict.judgement is not Judgement.PASS]
    assert gated.accepted == (not against)
    # After a refusal of the data every later gate says that nothing was trained: that catches nothing.
    found = {verdict.gate: verdict.sentence for verdict in against if "nothing was trained" not in verdict.sentence}
    return found if stage.stopped is None else {**found, "training": stage.stopped}
