"""The page: for each model its champion, evidence, history, candidates, workers and dead letters, and its buttons.

``mount``     what Airflow's plugin loader is given; loads the rest when the page is first opened
``app``       the routes
``auth``      who asks, what they may do, and whether a post came from this page
``airflow``   Airflow's own API, called in this process with the user's rights
``source``    something that is read in the background, for a bounded time, and kept for a moment
``reading``   what is read: ledger, registry, workers, dead letters
``listening`` the thread that follows the workers while somebody looks
``view``      what is shown: plain values from what was read, without I/O
``candidates``, ``forms``, ``serving``  parts of the view
``gauge``     a gate's number against its limit, as SVG
``acting``    promote and roll back, by the code of the commands
"""
