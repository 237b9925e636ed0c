"""A bundle of each format as it was written once: every later version loads, verifies and scores it.

``fixtures/make_bundle_v1.py`` and ``…_v2.py`` say what is in them. Where this fails, mend the reader, never a fixture.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scoring.contract.dead_letter import Reason
from scoring.contract.digest import digest_of
from scoring.contract.errors import BundleRejected
from scoring.contract.features import Feature
from scoring.contract.manifest import FORMAT, MANIFEST_FILE
from scoring.contract.records import Answer
from scoring.registry.folder import FolderRegistry
from scoring.scorer.bundle import open_bundle
from scoring.scorer.golden import check_golden
from scoring.scorer.scorer import Scorer, lookup_columns

FIXTURES = Path(__file__).parent / "fixtures"
V1 = FIXTURES / "bundle-v1"
V1_DIGEST = "3c90efe11ef99fd041e60b9e84e3783e3eefdfe25f40f62c3b2cd71227fbd7a4"
V2 = FIXTURES / "bundle-v2"
V2_DIGEST = "c573aee0d73ed3b77ac9b85f8e341bea45082a2bff087cbad3e1a5f06c061ec9"
MAXIMUM_BYTES = 100_000


@pytest.mark.parametrize(
    ("folder", "digest", "others"), [(V1, V1_DIGEST, []), (V2, V2_DIGEST, ["lookup-city.json"])], ids=["v1", "v2"]
)
def test_the_fixtures_are_the_ones_that_were_frozen(folder: Path, digest: str, others: list[str]) -> None:
    files = sorted(path.name for path in folder.iterdir())
    assert files == ["golden.json", *others, "manifest.json", "model.onnx"]
    assert digest_of((folder / MANIFEST_FILE).read_bytes()) == digest
    assert sum(path.stat().st_size for path in folder.iterdir()) < MAXIMUM_BYTES


def test_the_fixture_holds_one_of_every_transform_of_its_format() -> None:
    used = {feature["type"] for feature in json.loads((V1 / MANIFEST_FILE).read_bytes())["schema"]["features"]}
    known = {kind.__struct_config__.tag for kind in Feature.__args__}
    assert len(used) == 11
    assert used <= known


def test_a_bundle_of_format_1_loads_verifies_and_scores_its_golden_rows() -> None:
    scorer = Scorer(open_bundle(V1, V1_DIGEST))
    assert len(scorer.bundle.golden) == 48
    check_golden(scorer)


def test_a_bundle_of_format_1_scores_and_decides_bit_for_bit_as_it_was_worked_out_by_hand() -> None:
    scorer = Scorer(open_bundle(V1, V1_DIGEST))
    golden = scorer.bundle.golden
    decoded = scorer.decode([row.message for row in golden])
    assert decoded.failures == []
    looked_up = lookup_columns(scorer, [row.lookups for row in golden])
    scores = scorer.score({**decoded.columns, **looked_up}, len(golden))
    expected = np.array([row["estimator"] for row in json.loads((V1 / "golden.json").read_bytes())])
    assert np.array_equal(scores, expected)
    decisions = scorer.decide(scores)
    assert decisions is not None
    assert 0 < int(decisions.sum()) < len(golden)


def test_a_bundle_of_format_1_goes_through_a_registry_unchanged(tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path)
    version = registry.register("bundle_v1", V1, {})
    registry.fetch("bundle_v1", version, tmp_path / "fetched")
    assert open_bundle(tmp_path / "fetched", V1_DIGEST).manifest.snapshot.refitted_on_holdout


def test_a_bundle_of_format_2_loads_verifies_and_scores_its_golden_rows() -> None:
    scorer = Scorer(open_bundle(V2, V2_DIGEST))
    assert len(scorer.bundle.golden) == 32
    check_golden(scorer)


def test_a_bundle_of_format_2_gives_the_probabilities_that_were_worked_out_by_hand() -> None:
    """To the last bits: the exponentials of numpy differ between processors."""
    scorer = Scorer(open_bundle(V2, V2_DIGEST))
    golden = scorer.bundle.golden
    decoded = scorer.decode([row.message for row in golden])
    assert decoded.failures == []
    looked_up = lookup_columns(scorer, [row.lookups for row in golden])
    scores = scorer.score({**decoded.columns, **looked_up}, len(golden))
    expected = np.array([row["estimator"] for row in json.loads((V2 / "golden.json").read_bytes())])
    assert scores.shape == (32, 9) == expected.shape
    assert float(np.abs(scores - expected).max()) <= 1e-12
    assert (scores.argmax(axis=1) == expected.argmax(axis=1)).all()
    assert len(set(scores.argmax(axis=1).tolist())) == 3
    assert scorer.decide(scores) is None


def test_a_bundle_of_format_2_keeps_its_rules_and_the_lookups_that_older_workers_did_not_know() -> None:
    scorer = Scorer(open_bundle(V2, V2_DIGEST))
    schema = scorer.schema
    assert schema.records.unknown_fields is Answer.DEAD_LETTER
    assert (schema.records.maximum_headers, schema.records.ahead_s) == (16, 3600.0)
    assert [type(lookup).__name__ for lookup in schema.lookups] == ["FrozenLookup", "TopicLookup"]
    record = json.loads(scorer.bundle.golden[0].message)
    (failure,) = scorer.decode([json.dumps({**record, "more": 1}).encode()]).failures
    assert failure.reason is Reason.UNKNOWN_FIELD
    found = scorer.frozen({**scorer.decode([scorer.bundle.golden[0].message]).columns}, 1)
    assert np.asarray(found["city.people"]).tolist() == [1.25]


@pytest.mark.parametrize("link", ["softmax", "ordered-softmax"])
def test_a_manifest_of_format_1_that_uses_what_format_2_added_is_refused(tmp_path: Path, link: str) -> None:
    classes = ["a", "b", "c"]
    rewrite(tmp_path / "classes", lambda document: document["output"].update(classes=classes))
    rewrite(tmp_path / "link", lambda document: document["output"].update(link=link))
    output = {"task": "multiclass", "link": link, "classes": classes, "threshold": None}
    rewrite(tmp_path / "task", lambda document: document["output"].update(output))
    for name, reason in {
        "classes": "a binary model has no classes",
        "link": f"a binary model has no {link}",
        "task": "format 1 knows no multiclass model; format 2 does",
    }.items():
        with pytest.raises(BundleRejected, match=reason):
            open_bundle(tmp_path / name)


@pytest.mark.parametrize("found", [FORMAT + 1, 99, 0, -1])
def test_a_bundle_of_an_unknown_format_is_refused_with_a_sentence(tmp_path: Path, found: int) -> None:
    rewrite(tmp_path / "bundle", lambda document: document.update(format=found))
    with pytest.raises(BundleRejected, match=rf"format {found} is unknown here \(known: .*{FORMAT}.*\); upgrade"):
        open_bundle(tmp_path / "bundle")


def test_an_unknown_format_is_named_even_where_nothing_else_can_be_read(tmp_path: Path) -> None:
    shutil.copytree(V1, tmp_path / "bundle")
    (tmp_path / "bundle" / MANIFEST_FILE).write_text('{"format": 7, "everything": ["is", "elsewhere"]}')
    with pytest.raises(BundleRejected, match="format 7 is unknown here"):
        open_bundle(tmp_path / "bundle")


@pytest.mark.parametrize("found", ['"1"', "1.5", "null", "true", "[1]"])
def test_a_format_that_is_no_number_is_refused(tmp_path: Path, found: str) -> None:
    rewrite(tmp_path / "bundle", lambda document: document.update(format=json.loads(found)))
    with pytest.raises(BundleRejected, match="manifest"):
        open_bundle(tmp_path / "bundle")


def test_a_field_that_a_later_version_adds_does_not_keep_this_one_from_reading_the_format(tmp_path: Path) -> None:
    rewrite(tmp_path / "bundle", lambda document: document.update(of_a_later_version={"a": 1}))
    check_golden(Scorer(open_bundle(tmp_path / "bundle")))


def rewrite(folder: Path, change: Any) -> None:
    """A copy of the fixture with another manifest."""
    shutil.copytree(V1, folder)
    document = json.loads((folder / MANIFEST_FILE).read_bytes())
    change(document)
    (folder / MANIFEST_FILE).write_text(json.dumps(document))
