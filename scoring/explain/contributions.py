"""How much each feature moved the raw score of a model of trees: Shapley values against the bundle's golden rows.

For a record ``x`` and a reference ``r`` the game is: a feature that takes part has its value of ``x``, the others have
theirs of ``r``, and the model's raw score is what they win together. For trees the Shapley value has a closed form per
leaf (S. Lundberg et al., "From local explanations to global understanding with explainable AI for trees", Nature
Machine Intelligence 2 (2020), "interventional"; G. Laberge, Y. Pequignot, "Understanding Interventional TreeSHAP"
(2022)): a leaf of weight ``w`` is reached when ``a`` features come from ``x`` and ``b`` from ``r``; each of the former
gets ``w (a-1)! b! / (a+b)!``, each of the latter the negative of ``w a! (b-1)! / (a+b)!``. What is told is the mean
over the golden rows.

It runs on the trees that the bundle scores with, sets of categories and replaced columns included, and needs nothing
beside numpy. Libraries know neither of these, or want the estimator, which no bundle holds.
"""

from collections.abc import Iterator
from functools import cached_property
from math import factorial
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
import numpy as np
import numpy.typing as npt

from scoring.contract.encoder import Floats
from scoring.explain.explanation import Contribution, Contributions
from scoring.explain.rescoring import Columned
from scoring.scorer.ensemble import Ensemble, Model, Ranks, Unsuitable, model_of
from scoring.scorer.graph import parse_graph
from scoring.scorer.scorer import Scorer, lookup_columns

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

# Of the golden rows no more are held against a record.
MAXIMUM_REFERENCES = 256


class Step(msgspec.Struct, frozen=True):
    """A step on the way to a leaf: a node, and the side that leads there."""

    leaf: int
    node: int
    true: bool


class Trees:
    """The leaves of an ensemble, and for each the features on the way to it.

    Args:
        model: as the bundle has it.
        features: how many columns a row has.
        target: only the leaves that add to this one of its sums.
    """

    def __init__(self, model: Model, features: int, target: int = 0) -> None:
        self._model = model
        self._features = features
        ensemble = model.ensemble
        ways = list(_ways(ensemble, target))
        steps = [step for _, way in ways for step in way]
        self.weights = ensemble.weights[np.array([leaf for leaf, _ in ways], np.int64)] / (model.divisor or 1.0)
        self._nodes = np.array([step.node for step in steps], np.int64)
        self._sides = np.array([step.true for step in steps], np.bool_)
        leaves = np.array([step.leaf for step in steps], np.int64)
        slot_of_step = leaves * features + self._players(self._nodes)
        order = np.argsort(slot_of_step, kind="stable")
        self._nodes, self._sides = self._nodes[order], self._sides[order]
        slots, self._steps_of_slot = np.unique(slot_of_step[order], return_index=True)
        self.leaf_of_slot, self.feature_of_slot = slots // features, slots % features
        self._slots_of_leaf = np.unique(self.leaf_of_slot, return_index=True)[1]

    def agrees(self, matrix: Floats) -> Flags:
        """For each slot, a feature on the way to a leaf, and each row: every step on that feature goes that way."""
        taken = self._outcomes(matrix)[self._nodes] == self._sides[:, None]
        found: Flags = np.logical_and.reduceat(taken, self._steps_of_slot, axis=0)
        return found

    def count(self, flags: Flags) -> Ints:
        """How many slots of each leaf have the flag, for each row."""
        return np.add.reduceat(flags.astype(np.int64), self._slots_of_leaf, axis=0)

    def sums(self, matrix: Floats) -> Floats:
        """The raw score of each row."""
        reached = self.count(~self.agrees(matrix)) == 0
        found: Floats = np.where(reached, self.weights[:, None], 0.0).sum(axis=0)
        return found

    def _players(self, nodes: Ints) -> Ints:
        """The column of the row that each node asks about; a replaced column is the one that it replaces."""
        columns = [ranks.column for ranks in self._model.ranks]
        of = np.array([*columns, *range(self._features)], np.int64)
        return of[self._model.ensemble.features[nodes]]

    def _outcomes(self, matrix: Floats) -> Flags:
        """For each node and row whether it leads to the true side."""
        ensemble = self._model.ensemble
        columns = np.column_stack([*(_replaced(ranks, matrix) for ranks in self._model.ranks), matrix])
        values = columns[:, ensemble.features].T
        true: Flags = np.where(np.isnan(values), ensemble.missing_true[:, None], values <= ensemble.splits[:, None])
        asking = np.flatnonzero(ensemble.asks)
        for node, members in zip(asking.tolist(), ensemble.members_of(asking), strict=True):
            true[node] = np.isin(values[node], members)
        return true


class Contributor:
    """Tells what the features of one bundle's records contribute, of several classes to the raw score of the label.

    Raises:
        Unsuitable: the bundle's model is none of trees.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._classes = scorer.manifest.output.classes
        self._model = model_of(parse_graph(scorer.bundle.model), len(self._classes) or 1)
        self._games: dict[int, Game] = {}

    def contributions(self, row: Floats) -> Contributions:
        """Of the features of one row of the matrix, of shape (1, features)."""
        target = int(np.argmax(self._scorer.run(row))) if self._classes else 0
        game = self._game(target)
        parts, base, raw = game.values(row), game.base, game.raw(row)
        names = [feature.name for feature in self._scorer.schema.features]
        return Contributions(
            base=base,
            raw=raw,
            off_by=abs(base + float(parts.sum()) - raw),
            link=self._scorer.manifest.output.link.value,
            label=self._classes[target] if self._classes else None,
            parts=tuple(Contribution(feature=name, value=float(part)) for name, part in zip(names, parts, strict=True)),
        )

    def _game(self, target: int) -> "Game":
        if target not in self._games:
            trees = Trees(self._model, len(self._scorer.schema.features), target)
            self._games[target] = Game(trees, self._references)
        return self._games[target]

    @cached_property
    def _references(self) -> Floats:
        """The golden rows as the model sees them."""
        rows = self._scorer.bundle.golden[:MAXIMUM_REFERENCES]
        decoded = self._scorer.decode([row.message for row in rows])
        looked_up = lookup_columns(self._scorer, [rows[place].lookups for place in decoded.rows])
        return self._scorer.features({**decoded.columns, **looked_up}, len(decoded.rows))


class Game:
    """Trees whose raw score is shared among the features.

    Args:
        references: rows of the matrix that a record is held against.

    Attributes:
        base: the mean raw score of the references.
    """

    def __init__(self, trees: Trees, references: Floats) -> None:
        self._trees = trees
        self._features = references.shape[1]
        self._agrees = trees.agrees(references)
        self.base = float(trees.sums(references).mean())

    def raw(self, row: Floats) -> float:
        """The raw score of a row."""
        return float(self._trees.sums(row)[0])

    def values(self, row: Floats) -> Floats:
        """The Shapley value of each feature of a row."""
        trees = self._trees
        mine, theirs = trees.agrees(row), self._agrees
        only_mine, only_theirs = mine & ~theirs, theirs & ~mine
        a, b = trees.count(only_mine), trees.count(only_theirs)
        shared = (trees.count(~mine & ~theirs) == 0) & (a + b > 0)
        weights = np.where(shared, trees.weights[:, None], 0.0)  # a weight may be no number
        gain, loss = ((weights * share)[trees.leaf_of_slot] for share in _shares(a, b))
        parts = np.where(only_mine, gain, 0.0) - np.where(only_theirs, loss, 0.0)
        found = np.zeros(self._features)
        np.add.at(found, trees.feature_of_slot, parts.mean(axis=1))
        return found


class Contributors:
    """A contributor for each bundle; it takes a moment to make one."""

    def __init__(self) -> None:
        self._made: WeakKeyDictionary[Scorer, Contributor | None] = WeakKeyDictionary()

    def of(self, scorer: Scorer, columned: Columned) -> Contributions | None:
        """What the features of a record contribute; None where its model is none of trees."""
        if scorer not in self._made:
            try:
                self._made[scorer] = Contributor(scorer)
            except Unsuitable:
                self._made[scorer] = None
        contributor = self._made[scorer]
        if contributor is None or columned.columns is None:
            return None
        return contributor.contributions(scorer.features(columned.columns, 1))


def _ways(ensemble: Ensemble, target: int) -> Iterator[tuple[int, list[Step]]]:
    """Each leaf with the steps from the root to it; leaves are numbered in the order in which they are met."""
    met = 0
    waiting: list[tuple[int, list[tuple[int, bool]]]] = [(root, []) for root in ensemble.roots.tolist()]
    while waiting:
        node, way = waiting.pop()
        for true, side in ((True, ensemble.true), (False, ensemble.false)):
            further, to = [*way, (node, true)], int(side.ids[node])
            if not side.leaf[node]:
                waiting.append((to, further))
            elif ensemble.targets[to] == target:
                yield to, [Step(met, *step) for step in further]
                met += 1


def _replaced(ranks: Ranks, matrix: Floats) -> Floats:
    """What an ensemble sees in place of a column."""
    values = matrix[:, ranks.column]
    places = np.where(np.isnan(values), len(ranks.numbers) - 1, np.searchsorted(ranks.thresholds, values, "left"))
    return ranks.numbers[places]


def _shares(a: Ints, b: Ints) -> tuple[Floats, Floats]:
    """``(a-1)! b! / (a+b)!`` and ``a! (b-1)! / (a+b)!``, 0 where there is nobody to share."""
    most = int(max(a.max(initial=0), b.max(initial=0))) + 1
    gain, loss = np.zeros((most, most)), np.zeros((most, most))
    for mine in range(most):
        for theirs in range(most):
            whole: Any = factorial(mine + theirs)
            gain[mine, theirs] = factorial(mine - 1) * factorial(theirs) / whole if mine else 0.0
            loss[mine, theirs] = factorial(mine) * factorial(theirs - 1) / whole if theirs else 0.0
    return gain[a, b], loss[a, b]
