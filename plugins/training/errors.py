"""Errors of the training side that no retry mends. Importing them loads no library for data."""

from scoring.contract.errors import BatonError


class SnapshotDamaged(BatonError):
    """A snapshot is missing, or is not what its name says; pull the interval again."""


class TrainingImpossible(BatonError):
    """The snapshot holds nothing to train on or to judge with; the message says what is missing."""
