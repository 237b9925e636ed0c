"""A bundle with a frozen table: it is whole or refused, and scores with nothing around it."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from scoring.contract.asof import FOREVER_S, Rows, found_column
from scoring.contract.errors import BundleRejected
from scoring.contract.features import FrozenLookup, LookupField
from scoring.contract.frozen import encode_table, file_of
from scoring.contract.lookup import OnMiss
from scoring.contract.manifest import MANIFEST_FILE
from scoring.scorer.bundle import open_bundle
from scoring.scorer.golden import check_golden
from scoring.scorer.scorer import Scorer, lookup_columns
from tests.support.bundles import make_bundle, score_of, small_record, small_schema

TOWN = FrozenLookup(
    name="town",
    connection="nowhere",
    table="towns",
    match=(("color", "color"),),
    fields=(LookupField(name="size"),),
    on_miss=OnMiss.DEAD_LETTER,
)
ROWS = Rows(
    keys=[("red",), ("blue",)],
    valid_at=np.full(2, FOREVER_S),
    known_at=None,
    values={"size": np.array([1.5, np.nan])},
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    frozen = {file_of("town"): encode_table(TOWN, ROWS)}
    make_bundle(tmp_path / "bundle", 1, schema=small_schema((TOWN,)), frozen=frozen)
    return tmp_path / "bundle"


def test_it_scores_with_what_is_in_it(folder: Path) -> None:
    scorer = Scorer(open_bundle(folder))
    check_golden(scorer)
    decoded = scorer.decode([msgspec.json.encode(small_record(number)) for number in range(6)])
    found = scorer.frozen(decoded.columns, 6)
    assert [small_record(number)["color"] for number in range(3)] == ["blue", "green", "red"]
    np.testing.assert_equal(np.asarray(found["town.size"]).tolist(), [np.nan, np.nan, 1.5] * 2)
    assert np.asarray(found[found_column("town")]).tolist() == [1.0, 0.0, 1.0] * 2
    assert scorer.score(decoded.columns, 6).tolist() == [score_of(1, number) for number in range(6)]
    assert lookup_columns(scorer, [{}] * 6) == {}


def test_its_file_is_named_by_the_manifest_and_what_is_not_that_file_is_refused(folder: Path) -> None:
    path = folder / file_of("town")
    path.write_bytes(path.read_bytes().replace(b"1.5", b"9.5"))
    with pytest.raises(BundleRejected, match=r"lookup-town\.json is not the file that the manifest names"):
        open_bundle(folder)


def test_a_manifest_that_looks_up_what_is_not_in_the_bundle_is_refused(tmp_path: Path, folder: Path) -> None:
    make_bundle(tmp_path / "plain", 1)
    manifest = msgspec.json.decode((tmp_path / "plain" / MANIFEST_FILE).read_bytes())
    manifest["schema"]["lookups"] = [msgspec.to_builtins(TOWN)]
    (tmp_path / "plain" / MANIFEST_FILE).write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(BundleRejected, match=r"the manifest names no lookup-town\.json"):
        open_bundle(tmp_path / "plain")


def test_a_table_of_another_lookup_is_refused(tmp_path: Path) -> None:
    other = encode_table(TOWN, Rows([("red",)], np.full(1, FOREVER_S), None, {"size": np.array([1.0])}))
    wrong = other.replace(b'"red"', b"1.0")
    with pytest.raises(BundleRejected, match="holds something else"):
        make_bundle(tmp_path / "bundle", 1, schema=small_schema((TOWN,)), frozen={file_of("town"): wrong})
