"""Property tests are repeatable, and a busy machine does not fail them."""

from hypothesis import settings

settings.register_profile("baton", deadline=None, derandomize=True, database=None)
settings.load_profile("baton")
