"""The daemon: one process in one slot that scores micro-batches and swaps to promoted bundles between two of them.

=================  ===================================================================================
``loop``           the hot path: consume, decode, enrich, encode, score, emit, commit
``pipeline``       two transactional producers taking turns
``delivery``       what makes a micro-batch final: a transaction, or a flush before its offsets
``committer``      the thread that flushes and commits, strictly batch by batch
``assignment``     subscription, rebalances, and which partitions may be scored
``partitions``     what is assigned, from which offset on, and why it is paused
``models``         the table of active bundles, and what has yet to be acknowledged
``follower``       the thread that reads notices
``fetching``       the thread that fetches, verifies and warms up bundles beside the running ones
``fetch_process``  the short-lived process that speaks to the registry
``directory``      the topics and tables that a bundle needs beside it
``offsets``        what the group has committed, asked for by a client beside its member
``orphans``        partitions that the group has left to nobody; ``group_assignment`` reads who was given which
``cache``          verified bundles and the highest sequence seen, across restarts
``breaker``        stops a topic's intake when nearly all of its records become dead letters
``heartbeat``      the thread that says what this worker is doing; ``status`` is the hot thread's part of it
``watchdog``       ends a process whose hot thread hangs in a call of the client
``process``        takes what a worker needs to itself, and makes its ``connections`` before all else
``parts``          puts these together, and ends them in order; ``surrounding`` is what looks after them
``life``           a worker's process from its settings to its exit status; ``ending`` has the statuses
``slot``           what a process has to itself on its host: its slot, and a core

``supervisor``     keeps the workers of a host running; ``supervising`` puts it together
``child``          a supervised worker; ``lifeline`` ties it to its supervisor
``systemd``        tells systemd how the supervisor is

``metrics``        what is counted and timed; ``lag`` how far behind each partition is
``readiness``      is this worker alive, is it ready; ``watched`` gathers what that needs
``endpoint``       serves /metrics, /livez and /readyz; ``exposition`` puts the numbers into Prometheus's words
``fleet``          all workers at a glance, for ``baton top``
=================  ===================================================================================
"""
