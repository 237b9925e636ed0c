"""``baton new``: a first model definition and a first suite, guessed from a file or a table."""
