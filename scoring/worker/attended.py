"""Run a module as a process that ends with the one that started it: ``python -m scoring.worker.attended PID MODULE …``.

The module's process asks for this itself, first of all. Python code between fork and exec would do it sooner, but a
process with threads can hang there, and forking it halts all of them.
"""

import runpy
import sys

from scoring.worker.lifeline import end_with


def attended(command: list[str], parent: int) -> list[str]:
    """The command line ``python -m module …``, run as a process that ends with ``parent``."""
    interpreter, option, *module = command
    return [interpreter, option, "scoring.worker.attended", str(parent), *module]


if __name__ == "__main__":
    _, parent, module, *arguments = sys.argv
    end_with(int(parent))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
