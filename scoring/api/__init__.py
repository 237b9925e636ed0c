"""Scoring on request, and reading what was scored: over HTTP, with the bundles and the code of the stream.

A request's records become a *ticket*. One thread per process gathers tickets into micro-batches, scores them and swaps
to promoted bundles in between; notices, fetching and checking are the worker's own (``scoring.worker``).
"""
