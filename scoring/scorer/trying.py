"""Rows that try a kernel of trees: where a wrong one would score wrongly."""

from collections.abc import Sequence

import numpy as np

from scoring.contract.encoder import Floats
from scoring.scorer.ensemble import Ensemble, Ints

# A threshold beyond this is none of data, but the edge of what the estimator takes.
_EXTREME = 1e38


def trying_rows(thresholds: Sequence[tuple[int, Floats]], features: int, rows: int) -> Floats:
    """Rows of shape (rows, features) on and next to thresholds, one number of each anywhere at all.

    Only one, since a number beyond what the estimator takes may spoil the whole score, and then shows nothing.

    Args:
        thresholds: by column; the last one counts where a column comes twice.
    """
    random = np.random.default_rng(0)
    matrix = np.zeros((rows, features))
    anywhere = random.integers(0, max(1, len(thresholds)), rows)
    for place, (column, numbers) in enumerate(thresholds):
        ordinary = numbers[np.abs(numbers) < _EXTREME]
        known = ordinary if len(ordinary) else np.zeros(1)
        everything = np.concatenate([numbers, [np.nan, np.inf, -np.inf]])
        near = np.where(
            anywhere == place,
            everything[random.integers(0, len(everything), rows)],
            known[random.integers(0, len(known), rows)],
        )
        beside = [near, np.nextafter(near, np.inf), np.nextafter(near, -np.inf)]
        matrix[:, column] = np.choose(random.integers(0, len(beside), rows), beside)
    return matrix


def by_feature(features: Ints) -> dict[int, Ints]:
    """The places of each feature, ascending."""
    order = np.argsort(features, kind="stable")
    used, starts = np.unique(features[order], return_index=True)
    return dict(zip(used.tolist(), np.split(order, starts[1:]), strict=True))


def thresholds_at(ensemble: Ensemble, nodes: Ints) -> Floats:
    """Where the answer of one of the nodes changes, ascending; a member of a set is an interval of its own."""
    asks = ensemble.asks[nodes]
    members = ensemble.members_of(nodes[asks])
    numbers = np.concatenate(members) if members else np.zeros(0)
    return np.unique(np.concatenate([ensemble.splits[nodes[~asks]], numbers, np.nextafter(numbers, -np.inf)]))
