"""Records from where they are kept, as the columns that the encoder takes.

``port`` says what is read and what comes back. An adapter for each kind of source stands behind it: ``sql`` reads a
database, ``files`` reads Parquet and CSV wherever fsspec reaches, ``api`` asks an HTTP API page by page; ``open``
chooses among them. ``joined`` brings the columns of several sources together, and ``staged`` keeps what was read, so
that it is not read again.
"""
