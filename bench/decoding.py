"""What decoding a record costs: with and without rules, among bad records, with fields that nobody declared.

Processor time of this process, medians of interleaved rounds. Run it alone: ``python -m bench.decoding``.
"""

import random
import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import click
import msgspec

from scoring.contract.features import Field, FieldType
from scoring.contract.records import ORDINARY, Answer, RecordRules
from scoring.scorer.decode import Decoder

ROUNDS = 9
RECORDS_A_ROUND = 16_384
FIELDS = (
    *(Field(name=name, type=FieldType.STRING, required=True) for name in ("flight_id", "carrier", "origin", "dest")),
    Field(name="tailnum", type=FieldType.STRING),
    Field(name="flight", type=FieldType.NUMBER),
    Field(name="distance", type=FieldType.NUMBER, required=True),
    Field(name="scheduled_departure", type=FieldType.TIME, required=True),
    Field(name="scheduled_arrival", type=FieldType.TIME),
    *(Field(name=f"measure_{number}", type=FieldType.NUMBER) for number in range(10)),
)
RULES = {
    "no rules": RecordRules(),
    "ordinary rules": ORDINARY,
    "ordinary, keys twice ignored": msgspec.structs.replace(ORDINARY, repeated_keys=Answer.IGNORE),
}


def record(number: int, rng: random.Random) -> bytes:
    """A flight of about 395 bytes."""
    departure = datetime(2013, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
    document: dict[str, object] = {
        "flight_id": f"UA-{number}-EWR-2013-01-01",
        "carrier": "UA",
        "origin": "EWR",
        "dest": "IAH",
        "tailnum": "N14228",
        "flight": 1545,
        "distance": 1400,
        "scheduled_departure": departure,
        "scheduled_arrival": departure + timedelta(minutes=200),
    }
    document.update({f"measure_{place}": round(rng.random() * 100, 2) for place in range(10)})
    return msgspec.json.encode(document)


def batches() -> dict[str, list[bytes]]:
    """The micro-batches that are measured, by what is in them."""
    rng = random.Random(1)
    good = [record(number, rng) for number in range(2_048)]
    found = {f"{count} good": good[:count] for count in (1, 256, 2_048)}
    found["256, one bad"] = [*good[:100], good[100][:-9], *good[101:256]]
    found["256, every tenth bad"] = [one[:-9] if place % 10 == 0 else one for place, one in enumerate(good[:256])]
    found["256, half bad"] = [one[:-9] if place % 2 else one for place, one in enumerate(good[:256])]
    found["256, each with a field more"] = [one[:-1] + b',"more":1}' for one in good[:256]]
    return found


def cost_us(decoder: Decoder, values: Sequence[bytes]) -> float:
    """Microseconds of processor time per record."""
    rounds = max(1, RECORDS_A_ROUND // len(values) if len(values) > 1 else 1_000)
    began_s = time.process_time()
    for _ in range(rounds):
        decoder.decode(values)
    return (time.process_time() - began_s) / rounds / len(values) * 1e6


@click.command()
def main() -> None:
    """Print a table of microseconds per record."""
    decoders = {name: Decoder(FIELDS, rules) for name, rules in RULES.items()}
    decoders["ordinary, nothing scanned"] = Decoder(FIELDS, ORDINARY, scanning=False)
    print(f"| µs a record of {len(record(1, random.Random(1)))} bytes | {' | '.join(decoders)} |")
    print("|---|" + "---:|" * len(decoders))
    for name, values in batches().items():
        rounds = [{which: cost_us(decoder, values) for which, decoder in decoders.items()} for _ in range(ROUNDS)]
        medians = (statistics.median(one[which] for one in rounds) for which in decoders)
        print(f"| {name} | {' | '.join(f'{median:.2f}' for median in medians)} |")


if __name__ == "__main__":
    main()
