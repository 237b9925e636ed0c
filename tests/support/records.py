"""Records of a small schema: one that is plain to the compiled scan, and many that are not."""

from scoring.contract.features import Field, FieldType

FIELDS = (
    Field(name="id", type=FieldType.STRING, required=True),
    Field(name="at", type=FieldType.TIME, required=True),
    Field(name="x", type=FieldType.NUMBER, required=True),
    Field(name="color", type=FieldType.STRING),
    Field(name="flag", type=FieldType.BOOLEAN),
    Field(name="until", type=FieldType.TIME),
    Field(name="y", type=FieldType.NUMBER),
)
PLAIN = (
    b'{"id":"a","at":"2026-03-01T12:30:00Z","x":1,"color":"red","flag":true,'
    b'"until":"2026-03-02T00:00:00.5+01:30","y":-2.5e3}'
)
ODD = [
    b"",
    b"{}",
    b"[]",
    b"null",
    PLAIN[:-1],
    PLAIN + b"x",
    PLAIN + PLAIN,
    PLAIN.replace(b'"a"', b'"\\u0061"'),
    PLAIN.replace(b'"x"', b'"\\u0078"'),
    PLAIN.replace(b'"a"', b'"\\u0000"'),
    PLAIN.replace(b'"a"', b'"\x01"'),
    PLAIN.replace(b'"a"', b'"\xff"'),
    PLAIN.replace(b'"a"', b'"\xed\xa0\x80"'),
    PLAIN.replace(b'"y"', b'"x"'),
    PLAIN.replace(b'"y"', b'"\xc3\xbc"'),
    PLAIN.replace(b'"color":"red"', b'"z":1,"z":2'),
    PLAIN.replace(b'"color":"red"', b'"z":{"a":[1]}'),
    PLAIN.replace(b'"color":"red"', b'"z":"\xff"'),
    PLAIN.replace(b'"a"', b"null"),
    PLAIN.replace(b"true", b"tru"),
    PLAIN.replace(b"true", b"truex"),
    PLAIN.replace(b"true", b"1"),
    PLAIN.replace(b'"red"', b'"red"x'),
    PLAIN.replace(b'"red"', b"nul"),
    PLAIN.replace(b'"red"', b'"123456"'),
    PLAIN.replace(b'{"id"', b'{,"id"'),
    PLAIN.replace(b"-2.5e3}", b"-2.5e3,}"),
    PLAIN.replace(b'"id":"a",', b""),
    b'{"id":"a"}',
    b"{" + b",".join(b'"k%d":1' % number for number in range(100)) + b"," + PLAIN[1:],
]
