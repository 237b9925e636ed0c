"""The campaign of hostile input: ``python -m tests.faults.hostile.campaign --cases 10080 --seed 1 --results FILE``.

Class by class, each case decided by the seed and its number, held against the worker's own parts (``judge``). In
chunks, one JSON line each; a chunk that is in the results file already is not run again, so that a campaign can be
interrupted and resumed. ``--summary`` prints the table of what is there. Exit status 1: a case was believed, went live,
escaped, or was refused without naming a reason that fits.
"""

import argparse
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import structlog

from tests.faults.hostile import bundles, messages
from tests.faults.hostile.judge import Judge, Result
from tests.faults.hostile.planted import BUGS
from tests.faults.hostile.trials import Trials
from tests.support.forge import Forge

CLASSES = tuple(dict.fromkeys((*messages.CLASSES, *bundles.CLASSES)))
CHUNK_CASES = 504
FAILURES_TOLD = 10
# Signed by the right key, with true digests: what is wrong is inside.
INSIDE = ("absurd JSON", *bundles.INSIDE)

_DAMAGED = r"bad-signature|unknown-key|wrong-subject|unsigned|wrong SHA-256|was announced|cannot read|manifest: "
EXPECTED: Mapping[str, str] = {
    "bit flips": _DAMAGED,
    "truncation": _DAMAGED,
    "swapped parts": rf"{_DAMAGED}|unknown-version|malformed|has more than|manifest: |holds no bundle",
    "stale or replayed": r"not-newer|other-ledger",
    "wrong model": r"wrong-subject|malformed|holds a bundle of|is of model|manifest: ",
    "unsigned": r"unsigned",
    "another key": r"unknown-key|bad-signature",
    "absurd JSON": r"malformed|unknown-version|too-large",
    "tombstones": r"tombstone",
    "wrong digest": r"was announced|wrong SHA-256|has more than|manifest: files: \d+ bytes",
    "manifests that lie": r"manifest: |compiled model: |features: |golden rows differ|lets anything pass|has more than|"
    r"golden row \d+ does not decode|cannot be scored|is of model|holds no bundle",
    "golden rows": r"golden row",
    "names and links": r"manifest: files|is not named by the manifest|is not a regular file|cannot read|has more than|"
    r"holds no bundle|bytes, at most",
    "data outside the file": r"outside the file",
    "references out of range": r"compiled model: \w+: ",
    "operators": r"is not allowed|own format|is there twice|is nothing that|needs operators of",
    "shapes and values": r"compiled model: |golden rows|trial: ",
    "too much": r"compiled model: |trial: |golden rows cannot|nodes and|size from the values",
}


class Chunk(msgspec.Struct, frozen=True):
    """What became of a run of cases.

    Attributes:
        rows: (class, variant, reason, how many).
        failures: sentences about cases that did not hold.
    """

    seed: int
    first: int
    cases: int
    seconds: float
    rows: tuple[tuple[str, str, str, int], ...]
    failures: tuple[str, ...]


class Campaign:
    """Runs cases. Everything it makes is below ``root``."""

    def __init__(self, root: Path, seed: int, *, bug: str | None = None, only: Sequence[str] = ()) -> None:
        self.root = root
        self.seed = seed
        self._classes = tuple(only) or CLASSES
        if bug:
            BUGS[bug]()
        self._trials = Trials(bug=bug)
        self.judge = Judge(root, self._trials)
        self.judge.begin(self._forge(0))

    def close(self) -> None:
        """End everything that runs."""
        self.judge.close()
        self._trials.close()

    def chunk(self, first: int, cases: int) -> Chunk:
        """Run the cases from ``first`` on."""
        started_s = time.monotonic()
        rows: Counter[tuple[str, str, str]] = Counter()
        failures: list[str] = []
        for number in range(first, first + cases):
            name, variant, result = self.case(number)
            reason = _short(result.reason)
            rows[name, variant, reason] += 1
            if not result.held or not re.search(EXPECTED[name], result.reason):
                failures.append(f"case {number} ({name}: {variant}): {result.reason[:300]}")
        counted = tuple((*key, count) for key, count in sorted(rows.items()))
        return Chunk(self.seed, first, cases, round(time.monotonic() - started_s, 1), counted, tuple(failures))

    def case(self, number: int) -> tuple[str, str, Result]:
        """Run one case; returns its class, its variant and what became of it."""
        name, place = self._classes[number % len(self._classes)], number // len(self._classes)
        forge = self._forge(number)
        as_message = name in messages.CLASSES
        if as_message and name in bundles.CLASSES:
            as_message, place = place % 2 == 0, place // 2
        if as_message:
            variant, message = messages.make(name, forge, place)
            return name, variant, self.judge.message(message, forge)
        work = Path(tempfile.mkdtemp(dir=self.root))
        try:
            variant, case = bundles.make(name, forge, work / "bundle", place)
            return name, f"bundle: {variant}", self.judge.bundle(case, forge, work / "bundle")
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _forge(self, number: int) -> Forge:
        return Forge(self.root, random.Random(f"{self.seed}/{number}"), digest=self.judge.good_digest)


def _short(reason: str) -> str:
    """A reason without what differs from case to case."""
    text = re.sub(r"^bundle \S+( [0-9a-f]{12})?: |^\S*/\S+ (?=holds)", "", reason)
    text = re.sub(r"'[^']*'|\"[^\"]*\"", "…", text)
    text = re.sub(r"\S*/\S+|[0-9a-f]{12,}|-?\d[\d.e+,-]*", "…", text)
    return text[:70].strip()


def run(cases: int, seed: int, results: Path | None, *, only: Sequence[str] = (), bug: str | None = None) -> bool:
    """Run what is not in ``results`` yet; returns whether every case held."""
    done = {chunk.first: chunk for chunk in read(results) if chunk.seed == seed} if results else {}
    good = all(not chunk.failures for chunk in done.values())
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        campaign = Campaign(Path(folder), seed, bug=bug, only=only)
        try:
            for first in range(0, cases, CHUNK_CASES):
                if first in done:
                    continue
                chunk = campaign.chunk(first, min(CHUNK_CASES, cases - first))
                good = good and not chunk.failures
                print(f"cases {first} to {first + chunk.cases - 1}: {chunk.seconds} s, {len(chunk.failures)} failed")
                for failure in chunk.failures[:FAILURES_TOLD]:
                    print(f"  {failure}")
                sys.stdout.flush()
                if results is not None:
                    with results.open("ab") as file:
                        file.write(msgspec.json.encode(chunk) + b"\n")
        finally:
            campaign.close()
    return good


def read(results: Path | None) -> list[Chunk]:
    """The chunks in a results file."""
    if results is None or not results.exists():
        return []
    return [msgspec.json.decode(line, type=Chunk) for line in results.read_bytes().splitlines()]


def summary(chunks: Sequence[Chunk]) -> str:
    """The table, one line per class: cases, how many were refused, and for which reasons most."""
    reasons: dict[str, Counter[str]] = {name: Counter() for name in CLASSES}
    for chunk in chunks:
        for name, _, reason, count in chunk.rows:
            reasons[name][reason] += count
    failed = Counter(re.sub(r"^case \d+ \(([^:]+):.*", r"\1", f) for chunk in chunks for f in chunk.failures)
    lines = ["| class | cases | refused | reasons, the most frequent |", "|---|---:|---:|---|"]
    for name, counted in reasons.items():
        told = "; ".join(f"{reason} ({count})" for reason, count in counted.most_common(2))
        total = counted.total()
        lines.append(f"| {name} | {total:,} | {total - failed[name]:,} | {told} |")
    total = sum(counted.total() for counted in reasons.values())
    inside = sum(reasons[name].total() for name in INSIDE)
    lines.append(
        f"| all | {total:,} | {total - failed.total():,} | of these signed, digested and wrong inside: {inside:,} |"
    )
    return "\n".join(lines)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=len(CLASSES) * 560, help="how many in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, help="file that is appended to; what is in it is not run again")
    parser.add_argument(
        "--only", action="append", default=[], choices=CLASSES, help="only this class (may be repeated)"
    )
    parser.add_argument("--plant", choices=[*BUGS], help="leave a check out; the campaign then has to fail")
    parser.add_argument("--summary", action="store_true", help="print the table of the results file, and run nothing")
    arguments = parser.parse_args()
    structlog.configure(processors=[_drop])
    if arguments.summary:
        print(summary(read(arguments.results)))
        return 0
    good = run(arguments.cases, arguments.seed, arguments.results, only=arguments.only, bug=arguments.plant)
    print(summary(read(arguments.results)) if arguments.results else "every case held" if good else "cases failed")
    return 0 if good else 1


def _drop(*_: object) -> dict[str, object]:
    raise structlog.DropEvent


if __name__ == "__main__":
    sys.exit(main())
