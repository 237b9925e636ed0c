"""Faults in training, conversion and the environment, planted into the code."""

from datetime import timedelta
from typing import Any

import msgspec
import numpy as np

from scoring.contract.encoder import Encoder, Floats
from scoring.contract.manifest import Link, Task
from scoring.promotion.ledger import Ledger
from scoring.scorer.probed import BatchTime
from tests.support.evidence import VERSIONS, load
from tests.support.gate_table.cases import fault
from tests.support.gate_table.stage import DELIVERIES, FLIGHTS, Stage
from training import bundle, evaluate, rows, train
from training import compile as compiling
from training.compile import Compiled, ensemble, trees
from training.definition import Estimator, Gates
from training.golden import golden_rows
from training.rows import Split

BOOSTING = "sklearn.ensemble.HistGradientBoosting"


def _split(stage: Stage, change: Any) -> None:
    """The same wrong split in training and evaluation, as a team that writes it once would have."""
    whole = rows.split

    def wrong(definition: Any, columns: Any, holdout_start: Any) -> Split:
        found: Split = change(whole(definition, columns, holdout_start), definition, columns, holdout_start)
        return found

    stage.patch(train, "split", wrong)
    stage.patch(evaluate, "split", wrong)


@fault("leakage", core=True)
def the_rows_are_split_at_random(stage: Stage) -> None:
    def at_random(found: Split, *_: Any) -> Split:
        usable = found.training | found.holdout | found.in_gap
        chosen = np.random.default_rng(3).random(len(usable)) < 0.25
        return Split(usable & ~chosen, usable & chosen, found.without_label, found.unscorable, usable & False)

    _split(stage, at_random)


@fault("leakage")
def the_gap_for_the_labels_delay_is_left_out(stage: Stage) -> None:
    _split(
        stage,
        lambda found, *_: Split(
            found.training | found.in_gap,
            found.holdout,
            found.without_label,
            found.unscorable,
            found.in_gap & False,
        ),
    )


@fault("leakage")
def the_oldest_rows_judge_a_model_of_the_newest(stage: Stage) -> None:
    _split(
        stage,
        lambda found, *_: Split(found.holdout, found.training, found.without_label, found.unscorable, found.in_gap),
    )


@fault("leakage")
def the_model_is_fitted_on_the_holdout_too_and_nobody_says_so(stage: Stage) -> None:
    make = train._make

    def greedy(definition: Any, columns: Any, wanted: Floats, training: Any, holdout: Any, *rest: Any) -> None:
        make(definition, columns, wanted, training | holdout, holdout, *rest)

    stage.patch(train, "_make", greedy)


def _fit(stage: Stage, change: Any) -> None:
    """Train on other labels than the data hold."""
    fit = train.fit

    def wrong(definition: Any, columns: Any, training: Any, wanted: Floats) -> Any:
        return fit(definition, columns, training, np.where(training, change(wanted, columns), wanted))

    stage.patch(train, "fit", wrong)


@fault("minimum-quality")
def training_shuffles_the_labels(stage: Stage) -> None:
    def mixed(wanted: Floats, _: Any) -> Floats:
        there = np.flatnonzero(np.isfinite(wanted))
        found = wanted.copy()
        found[there] = np.random.default_rng(0).permutation(wanted[there])
        return found

    _fit(stage, mixed)


@fault("minimum-quality", core=True)
def training_turns_the_labels_round(stage: Stage) -> None:
    _fit(stage, lambda wanted, _: (1.0 if stage.data.binary else 110.0) - wanted)


@fault("slices", on=(FLIGHTS,))
def training_turns_the_labels_of_one_group_round(stage: Stage) -> None:
    group, member = stage.names.group, stage.names.member
    _fit(stage, lambda wanted, columns: np.where([each == member for each in columns[group]], 1.0 - wanted, wanted))


@fault("minimum-quality")
def the_features_of_training_belong_to_other_rows(stage: Stage) -> None:
    encode = Encoder

    class Mixed(encode):  # type: ignore[valid-type, misc]
        def encode(self, columns: Any, count: int) -> Floats:
            found: Floats = super().encode(columns, count)
            return found[np.random.default_rng(1).permutation(count)]

    stage.patch(train, "Encoder", Mixed)


@fault("calibration", on=(FLIGHTS,), core=True)
def classes_are_weighed_so_that_scores_are_no_probabilities(stage: Stage) -> None:
    stage.first()
    _estimator(stage, class_weight="balanced")


@fault("calibration", on=(DELIVERIES,))
def a_high_quantile_is_predicted_for_a_mean(stage: Stage) -> None:
    stage.define(
        estimator=Estimator(f"{BOOSTING}Regressor", loss="quantile", quantile=0.75, early_stopping=False),
        gates=Gates(maximum={"rmse": 16.0}, not_worse={"rmse": 5.0}),
    )


@fault("not-worse")
def hardly_anything_is_learnt(stage: Stage) -> None:
    if stage.data.binary:
        _estimator(stage, max_iter=3, max_leaf_nodes=3)
        stage.define(gates=Gates(minimum={"auc": 0.5}, not_worse={"auc": 0.02}))
    else:
        _ridge(stage, 2_000.0)


@fault("not-worse", core=True)
def most_features_are_left_out(stage: Stage) -> None:
    """It passes the minimum: only the comparison on the same rows shows it."""
    kept = {"carrier", "scheduled_departure_hour_of_day"} if stage.data.binary else {"kilometres", "express"}
    minimum: dict[str, Any] = {"minimum": {"auc": 0.5}} if stage.data.binary else {"maximum": {"rmse": 19.0}}
    stage.define(
        features=[each for each in stage.definition.features if each.name in kept],
        gates=Gates(**minimum, not_worse=stage.definition.gates.not_worse),
    )


@fault("not-worse")
def the_model_learns_a_month_by_heart(stage: Stage) -> None:
    kind = "Classifier" if stage.data.binary else "Regressor"
    estimator = Estimator(
        f"{BOOSTING}{kind}", max_iter=150, max_leaf_nodes=None, min_samples_leaf=1, early_stopping=False,
        learning_rate=1.0,
    )  # fmt: skip
    minimum: dict[str, Any] = {"minimum": {"auc": 0.5}} if stage.data.binary else {"maximum": {"rmse": 19.0}}
    stage.define(estimator=estimator, gates=Gates(**minimum, not_worse=stage.definition.gates.not_worse))


@fault("not-worse")
def the_champion_was_trained_on_the_holdout(stage: Stage) -> None:
    """A run whose data end in the middle of the champion's own holdout: its own reaches back before that."""
    end = stage.definition.holdout_start(stage.request.end) - timedelta(days=17)
    stage.keep(~stage.since(end))
    stage.request = msgspec.structs.replace(stage.request, end=end, effective_from=end)


@fault("not-worse")
def the_champion_cannot_be_read(stage: Stage) -> None:
    empty = stage.folder / "registry"
    empty.mkdir()
    stage.settings = stage.settings.model_copy(update={"registry_uri": empty.as_uri()})
    assert Ledger.open(stage.settings.need_ledger_url()).head(stage.definition.name)


def _estimator(stage: Stage, **changes: Any) -> None:
    known = stage.definition.estimator
    stage.define(estimator=Estimator(known.path, *known.parts, **{**known.parameters, **changes}))


def _ridge(stage: Stage, alpha: float) -> None:
    *before, last = stage.definition.estimator.parts
    stage.define(
        estimator=Estimator(stage.definition.estimator.path, *before, Estimator(last.path, alpha=alpha)),
        gates=Gates(maximum={"rmse": 19.0}, not_worse={"rmse": 0.5}),
    )


def _ensemble(stage: Stage, change: Any) -> None:
    whole = ensemble._attributes

    def wrong(grown: Any) -> dict[str, Any]:
        return dict(change(whole(grown)))

    stage.patch(ensemble, "_attributes", wrong)


@fault("parity", on=(FLIGHTS,), core=True)
def trees_are_exported_in_float32(stage: Stage) -> None:
    def halved(found: dict[str, Any]) -> dict[str, Any]:
        for name in ("nodes_splits", "leaf_weights"):
            found[name] = np.array(found[name], np.float32).astype(np.float64).tolist()
        return found

    _ensemble(stage, halved)


@fault("parity", on=(FLIGHTS,))
def missing_values_go_the_other_way(stage: Stage) -> None:
    def turned(found: dict[str, Any]) -> dict[str, Any]:
        found["nodes_missing_value_tracks_true"] = [1 - way for way in found["nodes_missing_value_tracks_true"]]
        return found

    _ensemble(stage, turned)


@fault("parity", on=(FLIGHTS,))
def the_last_tree_is_lost(stage: Stage) -> None:
    def short(found: dict[str, Any]) -> dict[str, Any]:
        found["tree_roots"] = found["tree_roots"][:-1]
        return found

    _ensemble(stage, short)


@fault("parity", on=(FLIGHTS,))
def categories_that_the_trees_split_natively_are_exported_as_numbers(stage: Stage) -> None:
    _estimator(stage, categorical_features=[0, 1])

    whole = trees._tree

    def careless(*found: Any) -> Any:
        return msgspec.structs.replace(whole(*found), members={})

    stage.patch(trees, "_tree", careless)


def _compiled(stage: Stage, change: Any) -> None:
    whole = compiling.compile_model

    def wrong(*args: Any, **kwargs: Any) -> Compiled:
        found = whole(*args, **kwargs)
        return Compiled(found.graph, change(found.output))

    stage.patch(train, "compile_model", wrong)


@fault("parity", on=(FLIGHTS,))
def the_sigmoid_is_left_out(stage: Stage) -> None:
    _compiled(stage, lambda output: msgspec.structs.replace(output, link=Link.IDENTITY))


@fault("parity")
def a_number_is_scaled_twice_by_the_conversion(stage: Stage) -> None:
    """The encoder of the compiled side reads another unit than the one that trained."""

    def scaled(matrix: Floats, place: int) -> Floats:
        matrix[:, place] *= 1.609344
        return matrix

    names = [each.name for each in stage.definition.features]
    _compiled_encoder(stage, lambda matrix: scaled(matrix, names.index(stage.names.number)))


def _compiled_encoder(stage: Stage, change: Any) -> None:
    """The compiled side sees another matrix than the estimator."""
    whole = Encoder

    class Changed(whole):  # type: ignore[valid-type, misc]
        def encode(self, columns: Any, count: int) -> Floats:
            found: Floats = change(super().encode(columns, count))
            return found

    stage.patch(evaluate, "Encoder", Changed)


@fault("parity")
def another_estimator_is_exported_than_was_judged(stage: Stage) -> None:
    whole = compiling.compile_model

    def other(estimator: Any, task: Task, sample: Floats, **kwargs: Any) -> Compiled:
        from sklearn.base import clone

        fresh = clone(estimator)
        scores = compiling.predict(estimator, task, sample)
        labels = (scores > np.median(scores)).astype(np.int64) if task is Task.BINARY else scores + 1.0
        fresh.fit(sample, labels)
        return whole(fresh, task, sample, **kwargs)

    stage.patch(train, "compile_model", other)


@fault("parity")
def only_the_refitted_model_is_exported_wrongly(stage: Stage) -> None:
    stage.define(refit=True)
    whole, made = compiling.compile_model, []

    def second(estimator: Any, task: Task, sample: Floats, **kwargs: Any) -> Compiled:
        made.append(task)
        if len(made) < 2:
            return whole(estimator, task, sample, **kwargs)
        from sklearn.base import clone

        labels = compiling.predict(estimator, task, sample[::-1])
        fresh = clone(estimator).fit(sample, labels > np.median(labels) if task is Task.BINARY else labels)
        return whole(fresh, task, sample, **kwargs)

    stage.patch(train, "compile_model", second)


@fault("load")
def messages_are_built_otherwise_than_training_reads(stage: Stage) -> None:
    def other_units(schema: Any, columns: Any, *scores: Floats) -> Any:
        name = stage.names.number
        return golden_rows(schema, {**columns, name: np.asarray(columns[name]) * 1.609344}, *scores)

    stage.patch(bundle, "golden_rows", other_units)


@fault("load", core=True)
def the_model_is_slow(stage: Stage) -> None:
    slow = tuple(
        BatchTime(records=size, runs=9, p50_ms=0.3 * size, p99_ms=0.5 * size, wall_p50_ms=1.0, wall_p99_ms=1.0)
        for size in (1, 64, 1_024, 4_096)
    )
    stage.probe = load(batches=slow)


@fault("load")
def the_model_needs_more_memory_than_a_worker_has(stage: Stage) -> None:
    stage.probe = load(peak_bytes=3 * 2**30)


@fault("load")
def the_workers_have_an_older_package(stage: Stage) -> None:
    stage.probe = load(versions={**VERSIONS, "onnxruntime": "1.17.3"})


@fault("load")
def the_bundle_does_not_load_where_it_will_score(stage: Stage) -> None:
    stage.probe = msgspec.structs.replace(load(), probed=None, refused="No module named 'sklearn'")
