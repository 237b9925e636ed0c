"""Values from other tables for a record, as of its event.

``asof`` is the join itself, pure and the same for training and workers; ``port`` is what a worker needs; ``sql``
fetches from a database what its bounded cache lacks.
"""
