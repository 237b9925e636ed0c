"""From a decision to a live model (protocol A): ledger, notices, repair, convergence. On-call needs these alone."""
