"""Whether this machine has the compiled kernels."""

import pytest

from scoring.scorer import library

WITHOUT_COMPILER = "there is no C compiler on this machine, so there are no compiled kernels"
needs_library = pytest.mark.skipif(library.load() is None, reason=WITHOUT_COMPILER)
