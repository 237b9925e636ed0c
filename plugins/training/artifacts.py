"""What a run shows to people: its curves as pictures, its tables as CSV and JSON."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import msgspec

from training import figures
from training.candidate import Curves, read_curves
from training.results import Evaluated, Gated, Trained


def artifacts_of(trained: Trained | None, evaluated: Evaluated | None, gated: Gated) -> Mapping[str, bytes]:
    """The files of a run by name; a run in which nothing was evaluated has its verdicts alone."""
    found = {"verdicts.json": _json(gated.verdicts)}
    if trained is None or evaluated is None:
        return found
    found["evidence.json"] = _json(evaluated)
    found["slices.csv"] = slice_table(evaluated).encode()
    return found | _pictures(evaluated, read_curves(Path(trained.folder)))


def slice_table(evaluated: Evaluated) -> str:
    """A row per slice and metric: rows, the candidate's and the baseline's value, gain and its standard error."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["slice", "value", "rows", "metric", "candidate", "baseline", "gain", "standard_error"])
    for each in evaluated.slices.judged if evaluated.slices else ():
        for found in each.comparisons:
            numbers = (found.candidate, found.baseline, found.gain, found.error)
            table.writerow([each.of, each.value, each.rows, found.metric, *(f"{number:.6g}" for number in numbers)])
    return text.getvalue()


def _pictures(evaluated: Evaluated, curves: Curves) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    if evaluated.calibration is not None:
        found["reliability.png"] = figures.reliability(evaluated.calibration)
    if any(curves.roc.values()):
        found["roc.png"] = figures.roc(curves.roc, evaluated)
    if any(curves.classes.values()):
        found["roc-of-classes.png"] = figures.one_versus_rest(curves.classes)
    if curves.confusion:
        found["confusion.png"] = figures.confusion(curves.confusion, [*curves.classes])
    for compared in evaluated.comparisons:
        if curves.gains.get(compared.metric):
            found[f"gain-{compared.metric}.png"] = figures.gain(compared, curves.gains[compared.metric])
    if evaluated.slices is not None and evaluated.slices.judged:
        found["slices.png"] = figures.slices(evaluated.slices)
    return found


def _json(found: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(found), indent=1)
