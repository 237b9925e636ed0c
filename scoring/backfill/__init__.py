"""Backfills of predictions: a past period scored as it would have been then, beside everything that is live.

``asked`` says what is wanted; ``reigns`` which version counts when, by the ledger; ``lookahead`` which of them saw what
it is to score; ``plan`` puts these together and cuts the period into chunks. A chunk is read (``reading``, ``topic``),
scored (``scoring``), and kept in one step (``sql_store``, ``parquet_store``), by any process and in any order:
equal inputs and versions make equal bytes. ``run`` does it on several processes.
"""
