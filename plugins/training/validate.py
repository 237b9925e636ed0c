"""Validate: hold the snapshot against the model's Great Expectations suite, which is reviewable JSON.

Great Expectations itself is content with too little: it drops an expectation whose type is misspelled, an empty suite
succeeds, and rules about values succeed where there are no values. So a suite must be complete after loading, must
expect a number of rows, and every rule must have looked at something.
"""

import io
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from scoring.contract.verdict import Judgement, Verdict
from scoring.settings import Settings
from training.definition import ModelDefinition
from training.evidence.facts import data_facts
from training.results import RunRequest, SnapshotRef, Validated
from training.snapshot import verified_bytes

GATE = "data"
_ROW_COUNTS = {"expect_table_row_count_to_be_between": "min_value", "expect_table_row_count_to_equal": "value"}


class Expectation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One expectation of a suite's file, by Great Expectations' own names."""

    type: str
    kwargs: dict[str, Any]
    severity: str = "critical"
    notes: str | None = None
    meta: dict[str, Any] | None = None


class Suite(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A suite's file."""

    name: str
    expectations: tuple[Expectation, ...]


def validate(
    definition: ModelDefinition,
    request: RunRequest,
    settings: Settings,  # noqa: ARG001  every step takes the settings
    snapshot: SnapshotRef,
) -> Validated:
    """Hold the snapshot against the suite (see ``training.pipeline``)."""
    content = verified_bytes(snapshot)
    held = _held(definition, snapshot, content)
    return msgspec.structs.replace(held, data=data_facts(definition, request, content))


def _held(definition: ModelDefinition, snapshot: SnapshotRef, content: bytes) -> Validated:
    try:
        suite = read_suite(Path(definition.suite or ""))
    except (OSError, msgspec.MsgspecError) as error:
        return _refused(0, [f"the suite {definition.suite} cannot be read: {error}"])
    vacuous = list(vacuous_parts(suite))
    if vacuous:
        return _refused(len(suite.expectations), vacuous)
    try:
        failed = list(failures(suite, content))
    except Exception as error:  # a rule with arguments that it does not take, for one
        failed = [f"the suite {suite.name} cannot be evaluated: {' '.join(str(error).split())}"]
    if failed:
        return _refused(len(suite.expectations), failed)
    sentence = f"all {len(suite.expectations)} expectations of {suite.name} hold for {snapshot.rows:,} rows"
    verdict = Verdict(gate=GATE, judgement=Judgement.PASS, sentence=sentence, value=0.0, limit=0.0)
    return Validated(verdict=verdict, expectations=len(suite.expectations))


def read_suite(path: Path) -> Suite:
    """The suite in a file.

    Raises:
        OSError: it is not there.
        msgspec.MsgspecError: it is not a suite.
    """
    return msgspec.json.decode(path.read_bytes(), type=Suite)


def vacuous_parts(suite: Suite) -> Iterator[str]:
    """Why a suite that succeeds would prove nothing."""
    if not suite.expectations:
        yield f"the suite {suite.name} is empty, so it checks nothing"
        return
    limits = [rule.kwargs.get(_ROW_COUNTS[rule.type]) for rule in suite.expectations if rule.type in _ROW_COUNTS]
    if not any(isinstance(limit, int) and limit > 0 for limit in limits):
        yield f"the suite {suite.name} expects no number of rows, so it would accept an empty snapshot"
    for rule in suite.expectations:
        if not rule.kwargs.get("mostly", 1.0) > 0:
            yield f"{_name(rule)} holds whatever the values are, for mostly is {rule.kwargs['mostly']}"


def failures(suite: Suite, content: bytes) -> Iterator[str]:
    """A sentence for each expectation that does not hold for the snapshot, or that could not be evaluated."""
    gx = _great_expectations()
    loaded = gx.ExpectationSuite(name=suite.name, expectations=[msgspec.to_builtins(r) for r in suite.expectations])
    kept = [expectation.expectation_type for expectation in loaded.expectations]
    if kept != [rule.type for rule in suite.expectations]:
        unknown = sorted({rule.type for rule in suite.expectations} - set(kept)) or "some"
        yield f"Great Expectations does not know {unknown} of the suite {suite.name}; is the type misspelled?"
        return
    results = _results(gx, loaded, content)
    if len(results) != len(suite.expectations):
        yield f"only {len(results)} of {len(suite.expectations)} expectations were evaluated"
    for result in results:  # in an order of their own
        problem = _problem(result)
        if problem is not None:
            yield f"{_name(_rule(result))}: {problem}"


def _great_expectations() -> Any:
    """The library, without its telemetry and without the hundreds of lines that it logs while it is imported."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    import great_expectations  # noqa: PLC0415  it takes seconds to load

    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)  # it resets its own
    return great_expectations


def _results(gx: Any, suite: Any, content: bytes) -> Sequence[Mapping[str, Any]]:
    import pandas as pd  # noqa: PLC0415  only this step needs it

    frame = pd.read_parquet(io.BytesIO(content))
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("snapshots").add_dataframe_asset("snapshot")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    return [result.to_json_dict() for result in batch.validate(suite).results]


def _rule(result: Mapping[str, Any]) -> Expectation:
    config = result["expectation_config"]
    return Expectation(config["type"], {name: value for name, value in config["kwargs"].items() if name != "batch_id"})


def _problem(result: Mapping[str, Any]) -> str | None:
    """Why an expectation does not count as met; None where it is."""
    details: Mapping[str, Any] = result.get("result") or {}
    if not result["success"]:
        exception = _exception(result.get("exception_info") or {})
        if exception is not None:
            return f"could not be evaluated: {exception}"
        if "unexpected_percent" in details and details["unexpected_percent"] is not None:
            return (
                f"{details['unexpected_count']:,} of {details['element_count']:,} values do not "
                f"({details['unexpected_percent']:.1f}%)"
            )
        return f"found {details.get('observed_value', 'otherwise')}"
    elements, missing = details.get("element_count"), details.get("missing_count")
    if elements is not None and missing is not None and elements == missing:
        return "there is not a single value to look at"
    return None


def _exception(info: Mapping[str, Any]) -> str | None:
    """The message inside Great Expectations' nested account of what was raised."""
    if info.get("raised_exception"):
        return str(info.get("exception_message"))
    for nested in info.values():
        if isinstance(nested, Mapping):
            found = _exception(nested)
            if found is not None:
                return found
    return None


def _name(rule: Expectation) -> str:
    """An expectation in words: ``distance to be between (min_value 10, max_value 5000)``."""
    words = rule.type.removeprefix("expect_").replace("column_values_", "").replace("column_", "").replace("_", " ")
    columns = [str(value) for name, value in rule.kwargs.items() if name.startswith("column")]
    limits = [f"{name} {_short(value)}" for name, value in rule.kwargs.items() if not name.startswith("column")]
    return f"{' and '.join(columns)} {words}".strip() + (f" ({', '.join(limits)})" if limits else "")


def _short(value: Any) -> str:
    return f"of {len(value)}" if isinstance(value, list) else str(value)


def _refused(expectations: int, failed: list[str]) -> Validated:
    more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
    sentence = "the snapshot is refused: " + "; ".join(failed[:3]) + more
    verdict = Verdict(gate=GATE, judgement=Judgement.FAIL, sentence=sentence, value=float(len(failed)), limit=0.0)
    return Validated(verdict=verdict, expectations=expectations, failed=tuple(failed))
