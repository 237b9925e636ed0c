"""Faults of models of several classes."""

from typing import Any

import msgspec
import numpy as np

from scoring.contract.encoder import Columns, Floats
from scoring.contract.manifest import Link
from tests.support.gate_table.cases import fault, harmless
from tests.support.gate_table.stage import OUTCOMES, Stage
from training import compile as compiling
from training import train
from training.definition import Estimator
from training.train import Fitted

ONLY = (OUTCOMES,)


def _fit(stage: Stage, change: Any) -> None:
    """Train on other classes than the data hold."""
    fit = train.fit

    def wrong(definition: Any, columns: Columns, training: Any, wanted: Floats) -> Fitted:
        return fit(definition, columns, training, np.where(training, change(wanted, columns), wanted))

    stage.patch(train, "fit", wrong)


def _boosting(stage: Stage, **changes: Any) -> None:
    known = stage.definition.estimator
    stage.define(estimator=Estimator(known.path, **{**known.parameters, **changes}))


def _renamed(stage: Stage, change: dict[str, str], where: Any) -> None:
    stage.words(stage.label, lambda word: None if word is None else change.get(word, word), where)


@fault("minimum-quality", on=ONLY, core=True)
def training_shuffles_the_classes(stage: Stage) -> None:
    def mixed(wanted: Floats, _: Any) -> Floats:
        there = np.flatnonzero(np.isfinite(wanted))
        found = wanted.copy()
        found[there] = np.random.default_rng(0).permutation(wanted[there])
        return found

    _fit(stage, mixed)


@fault("minimum-quality", on=ONLY)
def training_takes_two_classes_for_each_other(stage: Stage) -> None:
    _fit(stage, lambda wanted, _: np.where(wanted == 1, 2.0, np.where(wanted == 2, 1.0, wanted)))


@fault("slices", on=ONLY)
def training_shuffles_the_classes_of_one_group(stage: Stage) -> None:
    def mixed(wanted: Floats, columns: Columns) -> Floats:
        here = np.array([word == stage.names.member for word in columns[stage.names.group]])
        there = np.flatnonzero(np.isfinite(wanted) & here)
        found = wanted.copy()
        found[there] = np.random.default_rng(0).permutation(wanted[there])
        return found

    _fit(stage, mixed)


@fault("parity", on=ONLY, core=True)
def two_classes_are_swapped_after_the_compile(stage: Stage) -> None:
    """The trees of the second class add to the third one's sum, and the other way round."""
    from onnx import load_from_string

    make = compiling.compile_model

    def swapped(*args: Any, **kwargs: Any) -> Any:
        compiled = make(*args, **kwargs)
        model = load_from_string(compiled.graph)
        for node in model.graph.node:
            for attribute in node.attribute:
                if attribute.name == "leaf_targetids":
                    attribute.ints[:] = [{1: 2, 2: 1}.get(each, each) for each in attribute.ints]
        return msgspec.structs.replace(compiled, graph=model.SerializeToString())

    stage.patch(train, "compile_model", swapped)


@fault("parity", on=ONLY)
def the_softmax_is_forgotten(stage: Stage) -> None:
    make = compiling.compile_model

    def bare(*args: Any, **kwargs: Any) -> Any:
        compiled = make(*args, **kwargs)
        return msgspec.structs.replace(compiled, output=msgspec.structs.replace(compiled.output, link=Link.IDENTITY))

    stage.patch(train, "compile_model", bare)


@fault("definition", on=ONLY, core=True)
def a_class_has_another_name_in_the_source_now(stage: Stage) -> None:
    _renamed(stage, {"slow": "delayed"}, stage.holdout())


@fault("training", on=ONLY, core=True)
def a_class_never_came_before_the_holdout(stage: Stage) -> None:
    _renamed(stage, {"very slow": "slow"}, ~stage.holdout())


@fault("volume", on=ONLY)
def two_classes_have_changed_their_names_everywhere(stage: Stage) -> None:
    """Also in what the champion's snapshot holds of the past."""
    _renamed(stage, {"quick": "slow", "slow": "quick"}, np.ones(stage.rows, np.bool_))


@fault("leakage", on=ONLY)
def a_number_tells_the_class(stage: Stage) -> None:
    places = {name: float(place) for place, name in enumerate(stage.definition.label.classes)}
    told = np.array([places.get(str(word), np.nan) for word in stage.columns[stage.label]])
    stage.columns[stage.names.number] = np.where(np.isnan(told), 1.0, told * 7.0 % 4.0) + 1.0


@fault("calibration", on=ONLY)
def a_tree_by_heart_is_certain_of_everything(stage: Stage) -> None:
    stage.define(estimator=Estimator("sklearn.tree.DecisionTreeClassifier", random_state=0))


@fault("not-worse", on=ONLY)
def the_classes_are_not_the_champions(stage: Stage) -> None:
    label = stage.definition.label
    other = msgspec.structs.replace(label, classes=("quick", "usual", "slow", "later"))
    _renamed(stage, {"very slow": "later"}, np.ones(stage.rows, np.bool_))
    stage.define(label=other)


@fault("not-worse", on=ONLY)
def hardly_more_than_the_shares_of_the_classes_is_learnt(stage: Stage) -> None:
    _boosting(stage, max_iter=1)


@harmless(on=ONLY, core=True)
def classes_are_retrained_as_they_were(_: Stage) -> None:
    """Nothing is changed."""


@harmless(on=ONLY)
def a_few_more_trees_are_grown_from_another_seed(stage: Stage) -> None:
    _boosting(stage, max_iter=45, random_state=3)


@harmless(on=ONLY)
def some_outcomes_never_come(stage: Stage) -> None:
    random = stage.random.random(stage.rows)
    stage.columns[stage.label] = [
        None if chance < 0.02 else word for word, chance in zip(stage.columns[stage.label], random, strict=True)
    ]
