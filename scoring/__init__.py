"""Baton's scoring side: everything that runs where the stream is scored.

The package never imports Airflow, Great Expectations, scikit-learn, pandas or a model definition; a bundle is all
that it needs to score a model.
"""

__version__ = "0.1.0"
