"""``baton check``: all that is wrong with a model definition and with its data, before a scheduler sees it."""
