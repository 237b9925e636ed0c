"""From a bundle on disk to scores: open and verify, decode, encode, run the compiled model, check golden rows."""
