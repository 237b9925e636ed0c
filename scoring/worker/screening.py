"""Rules about what stands around a record's value, and about its lookups: a record that breaks one is not scored."""

from collections.abc import Sequence

import numpy as np
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from scoring.contract.asof import found_column
from scoring.contract.dead_letter import Reason
from scoring.contract.encoder import Column, Columns
from scoring.contract.features import FeatureSchema, Lookup
from scoring.contract.lookup import OnMiss, OnOutage
from scoring.contract.records import RecordRules
from scoring.kafka import RecordHeaders, headers_of
from scoring.scorer.decode import Decoded
from scoring.scorer.shape import Fault


def screened(decoded: Decoded, messages: Sequence[Message], schema: FeatureSchema) -> Decoded:
    """The records whose Kafka key, headers and timestamp keep the schema's rules, and the failures.

    Args:
        messages: of the whole batch, also those that did not decode.
    """
    rules = schema.records
    faults: dict[int, Fault] = {}
    if (
        rules.maximum_key_bytes is not None
        or rules.maximum_headers is not None
        or rules.maximum_header_bytes is not None
    ):
        for place, row in enumerate(decoded.rows):
            fault = _too_large(messages[row], rules)
            if fault is not None:
                faults[place] = fault
    kept = decoded.without(faults)
    if rules.ahead_s is None and rules.behind_s is None:
        return kept
    return timely(kept, [_timestamp_s(messages[row]) for row in kept.rows], schema)


def timely(decoded: Decoded, moments: Sequence[float], schema: FeatureSchema) -> Decoded:
    """The records whose event time keeps the schema's rules, and the failures.

    Args:
        moments: when each of ``decoded.rows`` was sent, in seconds since 1970; NaN where nobody knows.
    """
    if schema.records.ahead_s is None and schema.records.behind_s is None:
        return decoded
    fault = Reason.CLOCK_OFF, "its event time is too far from the record's timestamp", schema.event_time
    off = _clocks_off(decoded.columns[schema.event_time], moments, schema.records)
    return decoded.without(dict.fromkeys(off, fault))


def answered(decoded: Decoded, looked_up: Columns, schema: FeatureSchema) -> Decoded:
    """The records with their looked-up values, but for those whose lookup's answer is a dead letter."""
    whole = Decoded({**decoded.columns, **looked_up}, decoded.rows, decoded.failures)
    faults: dict[int, Fault] = {}
    for lookup in schema.lookups:
        for place, fault in _unanswered(lookup, looked_up).items():
            faults.setdefault(place, fault)
    return whole.without(faults)


def _too_large(message: Message, rules: RecordRules) -> Fault | None:
    return too_large(message.key(), headers_of(message), rules)


def too_large(key: bytes | None, headers: RecordHeaders, rules: RecordRules) -> Fault | None:
    """What is wrong with the size of a record's key and headers; None where nothing is."""
    if rules.maximum_key_bytes is not None and len(key or b"") > rules.maximum_key_bytes:
        return Reason.TOO_LARGE, f"its key has more than {rules.maximum_key_bytes} bytes", None
    if rules.maximum_headers is not None and len(headers) > rules.maximum_headers:
        return Reason.TOO_LARGE, f"it has more than {rules.maximum_headers} headers", None
    size_bytes = sum(len(name.encode()) + len(value or b"") for name, value in headers)
    if rules.maximum_header_bytes is not None and size_bytes > rules.maximum_header_bytes:
        return Reason.TOO_LARGE, f"its headers have more than {rules.maximum_header_bytes} bytes", None
    return None


def _timestamp_s(message: Message) -> float:
    kind, milliseconds = message.timestamp()
    return float("nan") if kind == TIMESTAMP_NOT_AVAILABLE else milliseconds / 1000.0


def _clocks_off(event_times: Column, moments: Sequence[float], rules: RecordRules) -> list[int]:
    """Where the event time is too far away; nothing is where the record has no timestamp."""
    ahead = np.asarray(event_times, dtype=np.float64) - np.array(moments, dtype=np.float64)
    off = np.zeros(len(moments), dtype=bool)
    if rules.ahead_s is not None:
        off |= ahead > rules.ahead_s
    if rules.behind_s is not None:
        off |= -ahead > rules.behind_s
    return [int(place) for place in np.flatnonzero(off)]


def _unanswered(lookup: Lookup, looked_up: Columns) -> dict[int, Fault]:
    """Records that the lookup's answer condemns: there is no row, or nobody could be asked."""
    column = looked_up.get(found_column(lookup.name))
    if column is None:
        return {}
    found = np.asarray(column, dtype=np.float64)
    faults: dict[int, Fault] = {}
    if lookup.on_miss == OnMiss.DEAD_LETTER:
        fault = Reason.LOOKUP_MISS, f"lookup {lookup.name!r} has no row for it", lookup.name
        faults.update(dict.fromkeys(np.flatnonzero(found == 0.0).tolist(), fault))
    if lookup.on_outage == OnOutage.DEAD_LETTER:
        fault = Reason.LOOKUP_OUTAGE, f"lookup {lookup.name!r} could not be asked", lookup.name
        faults.update(dict.fromkeys(np.flatnonzero(np.isnan(found)).tolist(), fault))
    return faults
