"""What a finished task of the pipeline is worth telling: one short fact from its result."""

from collections.abc import Callable, Mapping
from typing import Any

Result = Mapping[str, Any]


def fact(task_id: str, result: Result | None) -> str:
    """A few words on a task's result; empty where there is nothing to tell."""
    tell = _FACTS.get(task_id)
    if tell is None or not result:
        return ""
    try:
        return tell(result)
    except (KeyError, TypeError, ValueError):  # the result has another form than was known here: it is only a comment
        return ""


def _assemble(result: Result) -> str:
    return f"{result['rows']:,} flights, {result['labels_not_yet_known']:,} outcomes not known yet"


def _snapshot(result: Result) -> str:
    return f"kept as {result['sha256'][:12]}…"


def _validate(result: Result) -> str:
    failed = len(result.get("failed", ()))
    return f"{failed} of {result['expectations']} expectations fail" if failed else f"{result['expectations']} hold"


def _train(result: Result) -> str:
    return f"{result['training_rows']:,} rows to learn from, {result['holdout_rows']:,} held out"


def _evaluate(result: Result) -> str:
    base = result["baseline"]
    against = "the base rate" if base["kind"] == "trivial" else f"version {base['version']}"
    return ", ".join(
        f"{name} {value:.3f} against {base['metrics'][name]:.3f} of {against}"
        for name, value in result["metrics"].items()
        if name in base["metrics"] and name in {"auc", "rmse"}
    )


def _gates(result: Result) -> str:
    verdicts = result["verdicts"]
    failed = [verdict["gate"] for verdict in verdicts if verdict["judgement"] == "fail"]
    passed = [verdict["gate"] for verdict in verdicts if verdict["judgement"] == "pass"]
    if failed:
        return f"refused by {', '.join(failed)}"
    return f"{len(passed)} of {len(verdicts)} pass: {', '.join(passed)}"


def _register(result: Result) -> str:
    return f"version {result['version']}" if result["version"] else "no version, only its evidence"


def _promote(result: Result) -> str:
    return f"sequence {result['sequence']} of the ledger" if result["sequence"] else str(result["refused"])


def _wait(result: Result) -> str:
    return str(result["state"])


_FACTS: Mapping[str, Callable[[Result], str]] = {
    "assemble": _assemble,
    "snapshot": _snapshot,
    "validate": _validate,
    "train": _train,
    "evaluate": _evaluate,
    "gates": _gates,
    "register": _register,
    "promote": _promote,
    "wait_for_workers": _wait,
}
