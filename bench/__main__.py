"""All benches that the docs quote, one after the other: ``make bench``, some 30 minutes; with --short under a minute.

Each appends its measurements to a file of its own in bench/results/ and prints what it found. A run that was
interrupted goes on with --run and its name.
"""

import argparse
import subprocess
import sys
import time

from bench.measurements import PROJECT, new_run

# Module, and what it is asked for beyond its defaults.
BENCHES = {
    "throughput": ["--rounds", "3"],
    "latency": ["--rounds", "3", "--seconds", "5"],
    "swaps": ["--swaps", "200", "--rebalances", "5", "--minutes", "18"],
    "cost": ["--rounds", "5", "--minutes", "6"],
    "backfill": ["--rounds", "3"],
    "serving": ["--rounds", "3", "--seconds", "5"],
}
SHORT = {"throughput": ["--only", "baton,pass-through"]}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="a form of under a minute: throughput alone, not recorded")
    parser.add_argument("--run", default=new_run(), help="name of the run; one that is there already goes on")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chosen = SHORT if options.short else BENCHES
    failed = []
    for name, arguments in chosen.items():
        began_s = time.monotonic()
        print(f"== {name} (python -m bench.{name} {' '.join(arguments)})", flush=True)
        common = ["--short", "--no-record"] if options.short else ["--run", options.run]
        command = [sys.executable, "-m", f"bench.{name}", "--seed", str(options.seed), *common, *arguments]
        if subprocess.run(command, cwd=PROJECT, check=False).returncode:
            failed.append(name)
        print(f"== {name} took {time.monotonic() - began_s:.0f} s\n", flush=True)
    if failed:
        sys.exit(f"bench: {', '.join(failed)} failed; go on with: python -m bench --run {options.run}")


if __name__ == "__main__":
    main()
