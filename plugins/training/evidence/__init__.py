"""Measures what the gates judge: numbers with their uncertainty, on the holdout, in numpy and SciPy alone."""
