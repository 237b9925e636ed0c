"""``python -m scoring`` is ``baton``."""

from scoring.cli import main

main()
