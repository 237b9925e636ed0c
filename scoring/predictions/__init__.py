"""The tables of predictions and dead letters: what a sink writes, and what programs and people read."""
