"""One module per command of ``baton``; each exposes ``command``."""
