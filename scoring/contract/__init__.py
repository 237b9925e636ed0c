"""What both sides of Baton share: documents, their versions and the feature encoder. No I/O, no client library.

=====================  ================================================================
module                 contract
=====================  ================================================================
``notice``             an entry of the ledger, announced on ``baton.notices``
``acknowledgement``    what a worker did with it, on ``baton.acknowledgements``
``heartbeat``          what a worker is doing now, on ``baton.workers``
``envelope``           the signed CloudEvent around those three
``manifest``           the bundle's JSON; ``golden`` its golden rows; ``verdict`` a gate's
``features``           the feature schema; ``encoder`` the only code that runs it
``prediction``         the value of ``<model>.predictions``
``dead_letter``        the headers of ``<model>.dead-letters``
``progress``           the metadata of a committed offset
``topics``             names and settings of all topics
``errors``             the one tree of errors
=====================  ================================================================
"""
