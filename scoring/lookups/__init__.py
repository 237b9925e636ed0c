"""Values from elsewhere for a record, as of its event.

The join itself is ``scoring.contract.asof``, the same for training and workers. ``port`` is what a worker needs;
``sql`` fetches from a database what its bounded cache lacks, ``topic`` keeps compacted topics in memory, ``sources``
makes one of several. What is frozen into a bundle the scorer itself looks up.
"""
