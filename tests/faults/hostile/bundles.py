"""Hostile bundles: damaged files, true digests over manifests and golden rows that lie, names that lead elsewhere."""

import json
import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scoring.contract.manifest import FORMAT, GOLDEN_FILE, MANIFEST_FILE, MODEL_FILE
from tests.faults.hostile import operators
from tests.faults.hostile.graphs import make as make_graph
from tests.support.forge import BundleCase, Forge, Json, Parts, write_manifest

FILES = (MANIFEST_FILE, MODEL_FILE, GOLDEN_FILE)
Make = Callable[[Forge, Path], BundleCase]


def make(name: str, forge: Forge, folder: Path, number: int) -> tuple[str, BundleCase]:
    """One bundle of a class in ``folder``; returns its variant, and what its notice says."""
    if name in operators.CLASSES:
        variant, graph = make_graph(name, forge, number)
        parts = forge.parts()
        parts.files[MODEL_FILE] = graph
        return variant, BundleCase(parts.write(folder))
    variants = _CLASSES[name]
    build = variants[number % len(variants)]
    return build.__name__.strip("_").replace("_", " "), build(forge, folder)


# --- damaged, with the digest that was announced ------------------------------------------------------------------


def _spoiled(forge: Forge, folder: Path, change: Callable[[bytes], bytes]) -> BundleCase:
    digest = forge.parts().write(folder)
    path = folder / forge.chooser.choice(FILES)
    path.write_bytes(change(path.read_bytes()))
    return BundleCase(digest)


def _flipped_bits(forge: Forge, folder: Path) -> BundleCase:
    return _spoiled(forge, folder, lambda content: _flip(forge.chooser, content))


def _flip(chooser: random.Random, content: bytes) -> bytes:
    spoiled = bytearray(content)
    for place in chooser.sample(range(len(content) * 8), chooser.randint(1, 16)):
        spoiled[place // 8] ^= 1 << place % 8
    return bytes(spoiled)


def _cut(forge: Forge, folder: Path) -> BundleCase:
    return _spoiled(forge, folder, lambda content: content[: forge.chooser.randrange(len(content))])


def _a_file_of_another_bundle(forge: Forge, folder: Path) -> BundleCase:
    digest = forge.parts(2).write(folder)
    name = forge.chooser.choice((MODEL_FILE, GOLDEN_FILE))
    (folder / name).write_bytes(forge.parts(3).files[name])
    return BundleCase(digest)


def _files_that_changed_places(forge: Forge, folder: Path) -> BundleCase:
    digest = forge.parts().write(folder)
    one, other = forge.chooser.sample(FILES, 2)
    contents = (folder / one).read_bytes(), (folder / other).read_bytes()
    (folder / one).write_bytes(contents[1])
    (folder / other).write_bytes(contents[0])
    return BundleCase(digest)


def _another_whole_bundle(forge: Forge, folder: Path) -> BundleCase:
    return BundleCase(_other_digest(forge, forge.parts(2).write(folder)))


def _other_digest(forge: Forge, digest: str) -> str:
    return forge.chooser.choice((forge.chooser.randbytes(32).hex(), "0" * 64, digest[::-1], digest[1:] + digest[:1]))


def _a_digest_of_a_file_that_is_not_so(forge: Forge, folder: Path) -> BundleCase:
    parts = forge.parts()
    name = forge.chooser.choice((MODEL_FILE, GOLDEN_FILE))
    described = {name: {"sha256": forge.chooser.randbytes(32).hex(), "size_bytes": len(parts.files[name])}}
    return BundleCase(parts.write(folder, described))


def _a_size_that_is_not_so(forge: Forge, folder: Path) -> BundleCase:
    parts = forge.parts()
    name = forge.chooser.choice((MODEL_FILE, GOLDEN_FILE))
    described = json.loads((_written(parts, folder) / MANIFEST_FILE).read_bytes())["files"][name]
    size = forge.chooser.choice((0, 1, described["size_bytes"] + 1, 2**31, 2**40, 2**62))
    return BundleCase(parts.write(folder, {name: {**described, "size_bytes": size}}))


def _written(parts: Parts, folder: Path) -> Path:
    parts.write(folder)
    return folder


def _of_another_model(forge: Forge, folder: Path) -> BundleCase:
    return BundleCase(forge.parts(other_model=True).write(folder))


def _of_a_model_by_another_name(forge: Forge, folder: Path) -> BundleCase:
    name = forge.chooser.choice(("Small", "small ", "../small", "", "small\0", "x" * 64, "smäll", "other"))
    return _with_manifest(forge, folder, lambda manifest: manifest.update(model=name))


# --- manifests that lie -------------------------------------------------------------------------------------------


def _with_manifest(forge: Forge, folder: Path, change: Callable[[Json], object]) -> BundleCase:
    parts = forge.parts()
    change(parts.manifest)
    return BundleCase(parts.write(folder))


def _other_features_than_the_graph(forge: Forge, folder: Path) -> BundleCase:
    def change(manifest: Json) -> None:
        features = manifest["schema"]["features"]
        if forge.chooser.random() < 0.5:
            features.pop(forge.chooser.randrange(len(features)))
        else:
            features.append({"type": "number", "name": forge.word(), "of": "x"})

    return _with_manifest(forge, folder, change)


def _features_that_lead_nowhere(forge: Forge, folder: Path) -> BundleCase:
    def change(manifest: Json) -> None:
        schema = manifest["schema"]
        first, color, hour = schema["features"]
        field = schema["fields"][0]
        spoiled, what = forge.chooser.choice(
            (
                (first, {"of": "nowhere"}),
                (first, {"of": "color"}),
                (first, {"type": "exec"}),
                (hour, {"zone": forge.chooser.choice(_ZONES)}),
                (color, {"vocabulary": ["red", "red", "blue"]}),
                (schema, {"key": "nowhere"}),
                (schema, {"event_time": "x"}),
                (schema, {"features": []}),
                (schema, {"fields": [*schema["fields"], field]}),
                (field, {"name": "a b"}),
                (field, {"type": "blob"}),
            )
        )
        spoiled.update(what)

    return _with_manifest(forge, folder, change)


_ZONES = ("../../../etc/passwd", "/etc/passwd", "Europe", "Nowhere/Land", "", "UTC\0", "z" * 5_000, ".", "posixrules/x")


def _topics_that_are_somebody_elses(forge: Forge, folder: Path) -> BundleCase:
    wrong = forge.chooser.choice(
        (
            "baton.notices",
            "baton.workers",
            "baton.acknowledgements",
            "__consumer_offsets",
            "__transaction_state",
            "",
            "a b",
            "..",
            ".",
            "x" * 250,
            "smäll",
            "small.input",
            "small.predictions",
            "small.dead-letters",
        )
    )

    def change(manifest: Json) -> None:
        names = ["input", "predictions", "dead_letters"]
        taken = wrong.removeprefix("small.").replace("-", "_")
        manifest["topics"][forge.chooser.choice([name for name in names if name != taken])] = wrong

    return _with_manifest(forge, folder, change)


def _outputs_that_are_not_so(forge: Forge, folder: Path) -> BundleCase:
    changes: tuple[Json, ...] = (
        {"output_name": "other"},
        {"input_name": "other"},
        {"input_type": "float"},
        {"input_type": "string"},
        {"column": 1},
        {"column": 2**40},
        {"column": -1},
        {"link": "sigmoid"},
        {"link": "softmax"},
        {"task": "poetry"},
        {"task": "binary"},
        {"exact": False, "tolerance": 1e308},
        {"exact": False, "tolerance": 10.0},
        {"exact": False, "tolerance": -1.0},
        {"threshold": "high"},
        {"task": "multiclass", "threshold": None},
        {"task": "multiclass", "threshold": None, "classes": ["a", "b", "c"]},
        {"task": "multiclass", "classes": ["a", "b", "c"], "column": 0},
        {"task": "multiclass", "threshold": None, "classes": ["a", "b", "a"], "link": "ordered-softmax"},
        {"classes": ["a", "b", "c"]},
        {"link": "ordered-softmax"},
    )
    return _with_manifest(forge, folder, lambda manifest: manifest["output"].update(forge.chooser.choice(changes)))


def _numbers_that_are_none(forge: Forge, folder: Path) -> BundleCase:
    parts = forge.parts()
    parts.write(folder)
    text = (folder / MANIFEST_FILE).read_text()
    old = forge.chooser.choice(('"threshold": 2.5', '"tolerance": 0.0', '"training_rows": 1', f'"format": {FORMAT}'))
    new = forge.chooser.choice(("NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 5_000, "[]", '"1"', "true", "0x1"))
    assert old in text
    return BundleCase(write_manifest(folder, text.replace(old, f"{old.split(':')[0]}: {new}", 1).encode()))


def _absurd_json(forge: Forge, folder: Path) -> BundleCase:
    forge.parts().write(folder)
    content = (folder / MANIFEST_FILE).read_bytes()
    forms = (
        b"",
        b"null",
        b"[]",
        b"\xef\xbb\xbf" + content,
        content.decode().encode("utf-16"),
        content[:-3],
        content * 2,
        content.replace(b'"model"', b'"model": "small", "model"', 1),
        content.replace(b'"files"', b'"files": {}, "files"', 1),
        content.replace(b'"format"', b'"format": 2, "format"', 1),
        content.replace(b'"small"', b'"sm\\ud800all"', 1),
        content.replace(b'"small"', b'"sm\xffall"', 1),
        content.replace(b"{", b'{"deep": ' + b"[" * 100_000 + b"]" * 100_000 + b",", 1),
        content.replace(b"{", b'{"long": "' + b"x" * (17 * 2**20) + b'",', 1),
    )
    weights = [1.0] * (len(forms) - 1) + [0.1]
    return BundleCase(write_manifest(folder, forge.chooser.choices(forms, weights)[0]))


def _times_and_rows_that_cannot_be(forge: Forge, folder: Path) -> BundleCase:
    changes: tuple[Json, ...] = (
        {"start": "2026-03-01T12:30:00"},
        {"end": "2020-01-01T00:00:00Z"},
        {"holdout_start": "2030-01-01T00:00:00Z"},
        {"training_rows": -1},
        {"holdout_rows": -5},
        {"sha256": "Z" * 64},
        {"sha256": "0" * 63},
        {"start": "yesterday"},
    )
    return _with_manifest(forge, folder, lambda manifest: manifest["snapshot"].update(forge.chooser.choice(changes)))


def _parts_that_are_missing(forge: Forge, folder: Path) -> BundleCase:
    def change(manifest: Json) -> None:
        name = forge.chooser.choice(("model", "schema", "output", "topics", "snapshot", "estimator", "created_at"))
        if forge.chooser.random() < 0.5:
            del manifest[name]
        else:
            manifest[name] = forge.chooser.choice((None, [], 7, {"x": 1}))

    return _with_manifest(forge, folder, change)


def _another_format(forge: Forge, folder: Path) -> BundleCase:
    number = forge.chooser.choice((0, FORMAT + 1, 99, -1, 2**70))
    return _with_manifest(forge, folder, lambda manifest: manifest.update(format=number))


def _fields_passed_on_that_are_not_there(forge: Forge, folder: Path) -> BundleCase:
    wrong = forge.chooser.choice((["nowhere"], ["id", "id"], ["weather.wind"], [""], ["x" * 10_000]))
    return _with_manifest(forge, folder, lambda manifest: manifest.update(pass_through=wrong))


# --- golden rows --------------------------------------------------------------------------------------------------


def _with_golden(forge: Forge, folder: Path, change: Callable[[list[Json]], object]) -> BundleCase:
    parts = forge.parts()
    rows = json.loads(parts.files[GOLDEN_FILE])
    changed = change(rows)
    parts.files[GOLDEN_FILE] = changed if isinstance(changed, bytes) else json.dumps(rows).encode()
    return BundleCase(parts.write(folder))


def _rows_that_are_not_reproduced(forge: Forge, folder: Path) -> BundleCase:
    def change(rows: list[Json]) -> None:
        row = forge.chooser.choice(rows)
        field = forge.chooser.choice(("compiled", "estimator"))
        off = row[field] + forge.chooser.choice((1e-9, -1e-9, 1.0, 1e300, 4.5e-16))
        # Probabilities where there is one number, too: the right number as the only one of a list.
        row[field] = forge.chooser.choice((off, off, off, [row[field]], [row[field]] * 3, []))

    return _with_golden(forge, folder, change)


def _rows_of_another_model(forge: Forge, folder: Path) -> BundleCase:
    return _with_golden(forge, folder, lambda _: forge.parts(3).files[GOLDEN_FILE])


def _rows_that_do_not_decode(forge: Forge, folder: Path) -> BundleCase:
    message = forge.chooser.choice(("", "e30=", "bnVsbA==", "/w==", "eyJpZCI6MX0=", "W1tbW1tb"))
    return _with_golden(forge, folder, lambda rows: forge.chooser.choice(rows).update(message=message))


def _no_rows(forge: Forge, folder: Path) -> BundleCase:
    content = forge.chooser.choice((b"[]", b"", b"null", b"{}", b"[null]", b"[[]]", b'""', b" "))
    return _with_golden(forge, folder, lambda _: content)


def _rows_of_numbers_that_are_none(forge: Forge, folder: Path) -> BundleCase:
    def change(rows: list[Json]) -> bytes:
        forge.chooser.choice(rows)["compiled"] = "HERE"
        number = forge.chooser.choice((b"NaN", b"Infinity", b"1e999", b"null", b'"2"', b"true", b"1" + b"0" * 400))
        return json.dumps(rows).encode().replace(b'"HERE"', number)

    return _with_golden(forge, folder, change)


def _too_many_rows(forge: Forge, folder: Path) -> BundleCase:
    count = forge.chooser.choice((210, 500))  # times twenty
    return _with_golden(forge, folder, lambda rows: rows.extend(rows * count))


def _rows_with_a_key_twice(forge: Forge, folder: Path) -> BundleCase:
    return _with_golden(
        forge, folder, lambda rows: json.dumps(rows).replace('"compiled"', '"compiled": 9, "compiled"', 1).encode()
    )


# --- names and links ----------------------------------------------------------------------------------------------


def _names_that_lead_elsewhere(forge: Forge, folder: Path) -> BundleCase:
    name = forge.chooser.choice(
        (
            "../secret",
            "/etc/passwd",
            "a/b",
            ".",
            "..",
            "",
            "a\0b",
            "x" * 300,
            "manifest.json",
            "-rf",
            ".hidden",
            "a b",
            "model.onnx/",
            "Manifest.JSON",
            "MODEL.onnx",
            "Golden.json",
            "con\n",
            "\u202egpj.exe",
        )
    )
    described = {name: {"sha256": "0" * 64, "size_bytes": forge.chooser.choice((0, 1, 10))}}
    return BundleCase(forge.parts().write(folder, described))


def _names_that_differ_in_case_only(forge: Forge, folder: Path) -> BundleCase:
    parts = forge.parts()
    name = forge.chooser.choice((MODEL_FILE.upper(), "Golden.json", "Model.Onnx", "GOLDEN.JSON"))
    parts.files[name] = b"other"
    return BundleCase(parts.write(folder))


def _strangers(forge: Forge, folder: Path) -> BundleCase:
    digest = forge.parts().write(folder)
    names: tuple[Any, ...] = (
        "extra.py",
        "__init__.py",
        "MLmodel",
        ".env",
        "a\nb",
        b"\xff\xfe.bin",
        b"\xed\xa0\x80",
        "model.onnx.data",
    )
    for place in range(forge.chooser.choice((1, 3, 80))):
        name = forge.chooser.choice(names)
        encoded = os.fsencode(name) + (b"" if place == 0 else b"%d" % place)
        with open(os.path.join(os.fsencode(folder), encoded), "wb") as file:  # noqa: PTH118, PTH123  names that are no text
            file.write(b"x")
    return BundleCase(digest)


def _links(forge: Forge, folder: Path) -> BundleCase:
    digest = forge.parts().write(folder)
    path = folder / forge.chooser.choice(FILES)
    kept = folder.parent / f"{folder.name}.kept"
    target = forge.chooser.choice((Path("/etc/passwd"), Path("/dev/zero"), kept, path, Path("nowhere")))
    path.rename(kept)
    path.symlink_to(target)
    return BundleCase(digest)


def _what_is_no_file(forge: Forge, folder: Path) -> BundleCase:
    digest = forge.parts().write(folder)
    path = folder / forge.chooser.choice((*FILES, "beside"))
    path.unlink(missing_ok=True)
    forge.chooser.choice((path.mkdir, lambda: os.mkfifo(path)))()
    return BundleCase(digest)


def _files_that_are_missing(forge: Forge, folder: Path) -> BundleCase:
    digest = forge.parts().write(folder)
    (folder / forge.chooser.choice(FILES)).unlink()
    return BundleCase(digest)


def _files_without_end(forge: Forge, folder: Path) -> BundleCase:
    """Files that take no room here and terabytes where they are copied to."""
    parts = forge.parts()
    name = forge.chooser.choice(("weights.bin", MODEL_FILE, MANIFEST_FILE))
    digest = parts.write(folder, {"weights.bin": {"sha256": "0" * 64, "size_bytes": 2**40}})
    with (folder / name).open("ab") as file:
        file.truncate(2**40)
    return BundleCase(digest)


_CLASSES: Mapping[str, tuple[Make, ...]] = {
    "bit flips": (_flipped_bits,),
    "truncation": (_cut,),
    "swapped parts": (_a_file_of_another_bundle, _files_that_changed_places),
    "wrong digest": (_another_whole_bundle, _a_digest_of_a_file_that_is_not_so, _a_size_that_is_not_so),
    "wrong model": (_of_another_model, _of_a_model_by_another_name),
    "manifests that lie": (
        _other_features_than_the_graph,
        _features_that_lead_nowhere,
        _topics_that_are_somebody_elses,
        _outputs_that_are_not_so,
        _numbers_that_are_none,
        _absurd_json,
        _times_and_rows_that_cannot_be,
        _parts_that_are_missing,
        _another_format,
        _fields_passed_on_that_are_not_there,
    ),
    "golden rows": (
        _rows_that_are_not_reproduced,
        _rows_of_another_model,
        _rows_that_do_not_decode,
        _no_rows,
        _rows_of_numbers_that_are_none,
        _too_many_rows,
        _rows_with_a_key_twice,
    ),
    "names and links": (
        _names_that_lead_elsewhere,
        _names_that_differ_in_case_only,
        _strangers,
        _links,
        _what_is_no_file,
        _files_that_are_missing,
        _files_without_end,
    ),
}
CLASSES = (*_CLASSES, *operators.CLASSES)
# Signed, and with true digests: what is wrong is inside.
INSIDE = ("manifests that lie", "golden rows", *operators.CLASSES)
