"""A process that says what it is told to: ``python -m tests.support.said NOTES OUTPUT [ERROR]``."""

import sys
from pathlib import Path

if __name__ == "__main__":
    notes, output, *error = sys.argv[1:]
    with Path(notes).open("a") as file:
        file.write("x")
    sys.stdout.write(output)
    sys.stderr.write("some noise\n")
    sys.exit(error[0] if error else 0)
