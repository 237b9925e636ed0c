"""Faults that teams really make, and changes that do no harm, each a small mutation of the pipeline."""
