"""The records of a poison campaign: hostile ones, good ones, and good ones that look odd. All follow from a seed."""

import random
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from scoring.contract.dead_letter import Reason
from scoring.contract.features import Category, FeatureSchema, Field, FieldType, HourOfDay, Number
from scoring.contract.records import Answer, RecordRules
from tests.support.bundles import COLORS, MOMENT

Headers = tuple[tuple[str, bytes | None], ...]
PARTITIONS = 4

RULES = RecordRules(
    unknown_fields=Answer.DEAD_LETTER,
    repeated_keys=Answer.DEAD_LETTER,
    null_characters=Answer.DEAD_LETTER,
    maximum_value_bytes=8_192,
    maximum_depth=16,
    maximum_text_characters=512,
    maximum_key_bytes=256,
    maximum_headers=16,
    maximum_header_bytes=4_096,
    ahead_s=3_600.0,
    behind_s=86_400.0,
)
SCHEMA = FeatureSchema(
    key="id",
    event_time="at",
    fields=(
        Field(name="id", type=FieldType.STRING, required=True),
        Field(name="at", type=FieldType.TIME, required=True),
        Field(name="x", type=FieldType.NUMBER, required=True),
        Field(name="color", type=FieldType.STRING),
        Field(name="flag", type=FieldType.BOOLEAN),
        Field(name="until", type=FieldType.TIME),
        Field(name="y", type=FieldType.NUMBER),
    ),
    features=(
        Number(name="x", of="x"),
        Category(name="color", of="color", vocabulary=COLORS),
        HourOfDay(name="hour", of="at"),
    ),
    records=RULES,
)


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A record as it is produced, and what must come of it.

    Attributes:
        kind: of which generator it is; ``good`` and ``odd`` ones are to be scored.
        number: the good record that it is, or was made from.
        reason: of the dead letter that it must become; None: it must be scored.
    """

    kind: str
    number: int
    value: bytes | None
    key: bytes | None
    headers: Headers
    timestamp_ms: int
    reason: Reason | None = None

    @property
    def partition(self) -> int:
        """The input partition."""
        return self.number % PARTITIONS


Parts = dict[str, bytes]
Kind = Callable[[random.Random, "Base"], Sent]


class Base(msgspec.Struct, frozen=True):
    """The good record that a hostile one is made from.

    Attributes:
        kind: for which generator.
        reason: what the hostile one must be refused for.
    """

    number: int
    kind: str = "good"
    reason: Reason | None = None

    @property
    def at(self) -> datetime:
        """The event time."""
        return MOMENT + timedelta(seconds=self.number % 10_000_000)

    @property
    def parts(self) -> Parts:
        """The JSON of each field."""
        return {
            "id": b'"r-%08d"' % self.number,
            "at": b'"%b"' % self.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode(),
            "x": b"0.%d" % (self.number % 10),
            "color": b'"%b"' % COLORS[self.number % 3].encode(),
            "flag": b"true" if self.number % 2 else b"false",
            "until": b"null" if self.number % 7 == 0 else b'"2026-12-31T23:59:59.5+02:00"',
            "y": b"%d" % (self.number % 1_000),
        }

    def with_parts(self, **changes: bytes) -> Sent:
        """A record some of whose fields hold something else."""
        return self.sent(document({**self.parts, **changes}))

    def sent(self, value: bytes | None, **changes: object) -> Sent:
        """A record with this value, and with the key, headers and timestamp of a good one unless they are changed."""
        record = Sent(
            kind=self.kind,
            number=self.number,
            value=value,
            key=b"k%d" % (self.number % 40),
            headers=(("correlation-id", b"c%d" % self.number),),
            timestamp_ms=int(self.at.timestamp() * 1000),
            reason=self.reason,
        )
        return msgspec.structs.replace(record, **changes)


def document(parts: Mapping[str, bytes]) -> bytes:
    """The JSON object of these fields."""
    return b"{" + b",".join(b'"%b":%b' % (name.encode(), content) for name, content in parts.items()) + b"}"


KINDS: dict[str, tuple[Kind, Reason]] = {}


def kind(reason: Reason) -> Callable[[Kind], Kind]:
    """Register a generator of hostile records under its own name."""

    def register(made: Kind) -> Kind:
        assert made.__name__ not in KINDS
        KINDS[made.__name__] = made, reason
        return made

    return register


def hostile(seed: int, index: int, number: int) -> Sent:
    """Hostile record ``index`` of a campaign; the kinds come in turn."""
    from tests.faults.poison import kinds  # noqa: F401  registers them

    name = [*KINDS][index % len(KINDS)]
    make, reason = KINDS[name]
    return make(random.Random(f"{seed} {name} {index}"), Base(number, name, reason))


def good(seed: int, number: int) -> Sent:
    """Good record ``number``; one of eight looks odd."""
    rng = random.Random(f"{seed} good {number}")
    return _odd(rng, Base(number, "odd")) if rng.random() < 0.125 else Base(number).sent(document(Base(number).parts))


def _odd(rng: random.Random, base: Base) -> Sent:
    """What must be scored although it looks odd: the same record in another form."""
    parts = base.parts
    shuffled = dict(rng.sample([*parts.items()], len(parts)))
    only = {name: content for name, content in parts.items() if name in {"id", "at", "x", "color"}}
    spread = b" \t\r\n,\n ".join(b'\n"%b" \t: %b ' % (k.encode(), v) for k, v in parts.items())
    forms: list[Callable[[], Sent]] = [
        lambda: base.sent(document(shuffled)),
        lambda: base.sent(document(only)),
        lambda: base.sent(b"\r\n{" + spread + b"}\t "),
        lambda: base.with_parts(x=b"%de-1" % (base.number % 10)),
        lambda: base.with_parts(x=b"0.%d%b" % (base.number % 10, b"0" * rng.randrange(1, 400))),
        lambda: base.with_parts(y=rng.choice([b"-0", b"-0.0", b"5e-324", b"1e-999", b"1.7976931348623157e308"])),
        lambda: base.with_parts(y=b"%d" % rng.getrandbits(900)),
        lambda: base.with_parts(flag=b"null", until=b"null", y=b"null"),
        lambda: base.sent(document(parts).replace(b'"id":', b'"\\u0069\\u0064":')),
        lambda: base.sent(document(parts).replace(b'"r-', b'"\\u0072\\u002d')),
        lambda: base.with_parts(until=b'"2026-01-01T00:00:00.%d-23:59"' % rng.randrange(1, 10**6)),
        lambda: base.sent(document(parts), key=None),
        lambda: base.sent(document(parts), key=b""),
        lambda: base.sent(document(parts), key=bytes(rng.randbytes(256))),
        lambda: base.sent(document(parts), headers=(("correlation-id", b"c%d" % base.number), ("x", None), ("", b""))),
    ]
    return rng.choice(forms)()


def records(seed: int, first: int, count: int, share: float) -> Iterator[Sent]:
    """Hostile records ``first`` to ``first + count`` of a campaign among good ones, of which they are about ``share``.

    With a share of 0 there are ``count`` good ones.
    """
    rng = random.Random(f"{seed} order {first}")
    number = first * 4
    done = 0
    while done < count:
        bad = rng.random() < share
        yield hostile(seed, first + done, number) if bad else good(seed, number)
        done += bad or share == 0.0
        number += 1
