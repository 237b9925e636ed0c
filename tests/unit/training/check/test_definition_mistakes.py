"""Every mistake of a definition at once, each with its line and what to do; nothing of the data is asked."""

from pathlib import Path

import pytest

from scoring.contract.errors import ConfigurationError
from training.check.findings import Finding
from training.check.loading import file_of, load

GOOD = '''"""How long a parcel takes."""

from datetime import timedelta

from training import field
from training.definition import Estimator, Gates, Label, ModelDefinition, Source
from training.feature import category, hour_of_day, number

WORDS = ("depot", "courier")

parcel = ModelDefinition(
    name="parcel",
    source=Source(connection="warehouse", table="parcels"),
    key="parcel_id",
    event_time="placed_at",
    fields=[
        field.string("parcel_id", required=True),
        field.time("placed_at", required=True),
        field.number("km"),
        *(field.string(name) for name in WORDS),
        field.number("scans", known_after=timedelta(hours=3)),
    ],
    features=[
        number("km"),
        *(category(name) for name in WORDS),
        hour_of_day("placed_at"),
    ],
    label=Label("minutes", known_after=timedelta(hours=6)),
    estimator=Estimator("sklearn.linear_model.Ridge", alpha=1.0),
    gates=Gates(
        maximum={"rmse": 5.0},
        minimum_rows=500,
    ),
)
'''


def found_in(folder: Path, text: str) -> list[Finding]:
    path = folder / "parcel.py"
    path.write_text(text)
    return load(path, "parcel")[2]


def line_with(text: str, part: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


def test_a_good_definition_has_none(tmp_path: Path) -> None:
    path = tmp_path / "parcel.py"
    path.write_text(GOOD)
    definition, outline, findings = load(path, "parcel")
    assert definition is not None
    assert outline is not None
    assert not findings
    assert definition.suite == str(tmp_path.parent / "expectations" / "parcel" / "snapshot.json")


@pytest.mark.parametrize(
    ("before", "after", "words", "remedy"),
    [
        ('key="parcel_id"', 'key="parcel"', "the key 'parcel' is not a field", "'parcel_id'"),
        (' number("km")', ' number("kn")', "feature 'kn'", "'km'"),
        (' number("km")', ' number("scans")', "'scans' is a leak", "known_after"),
        ('hour_of_day("placed_at")', 'hour_of_day("km")', "'km_hour_of_day'", "that type"),
        ('hour_of_day("placed_at")', 'category("depot")', "'depot' is there twice", "another name"),
        ('("depot", "courier")', '("depot", "curier", "kind!")', "schema: ", ""),
        ("hours=6", "hours=-6", "label: known_after", ""),
        ('"rmse": 5.0', '"rmsa": 5.0', "'rmsa' is no metric", "'rmse'"),
        ("minimum_rows=500", "minimum_rows=0", "minimum_rows must be", ""),
        ("Ridge", "RidgeClassifier", "is a classifier", ""),
        ("linear_model.Ridge", "linear_model.Rigde", "Rigde", "sklearn.linear_model.Ridge"),
        ("alpha=1.0", "alhpa=1.0", "alhpa", "parameters"),
        ('field.time("placed_at", required=True)', 'field.time("placed_at")', "must be a required", "required=True"),
        ('name="parcel"', 'name="Parcel"', "must be lower-case", "another name"),
    ],
)
def test_each_mistake_names_the_line_that_makes_it_and_a_remedy(
    tmp_path: Path, before: str, after: str, words: str, remedy: str
) -> None:
    text = GOOD.replace(before, after)
    assert text != GOOD
    (found, *_) = [each for each in found_in(tmp_path, text) if words in each.sentence]
    expected = line_with(text, after)
    if "required" in words:
        expected = line_with(text, "event_time=")
    if "there twice" in words:
        expected = line_with(text, 'category("depot")')
    if "schema" in words:
        expected = line_with(text, "fields=[")
    assert found.line == expected
    assert remedy in found.remedy
    assert found.place == f"{tmp_path / 'parcel.py'}:{expected}"


def test_a_definition_with_many_mistakes_tells_all_of_them(tmp_path: Path) -> None:
    text = GOOD.replace('key="parcel_id"', 'key="id"').replace(' number("km")', ' number("kilos")')
    text = text.replace("hours=6", "hours=-6").replace("minimum_rows=500", "minimum_rows=-1")
    assert len(found_in(tmp_path, text)) == 4


def test_misspelled_names_of_batons_own_are_told_together_although_the_first_ends_the_import(tmp_path: Path) -> None:
    text = GOOD.replace("import category, hour_of_day", "import categry, hour_of_day")
    text = text.replace("field.number(", "field.nmber(", 1).replace("minimum_rows", "minimum_row")
    found = {each.line: each.sentence.partition("; ")[2] for each in found_in(tmp_path, text)}
    assert found == {
        line_with(text, "categry"): "did you mean 'category'?",
        line_with(text, "minimum_row="): "did you mean 'minimum_rows'?",
        line_with(text, "field.nmber"): "did you mean 'number'?",
    }


@pytest.mark.parametrize(
    ("before", "after", "sentence", "remedy"),
    [
        ('WORDS = ("depot", "courier")', 'WORDS = ("depot", "courier"', "it is no Python", ""),
        ("*(category(name) for name in WORDS)", "*(category(name) for name in WORD)", "'WORD' is unknown", "'WORDS'"),
        ("timedelta(hours=6)", "days(6)", "'days' is unknown", "from training.definition import days"),
        ("hours=6", "ours=6", "TypeError", "mend that line"),
        ("from training import field", "from traning import field", "No module named 'traning'", "mend that line"),
    ],
)
def test_a_file_that_does_not_run_names_the_line_where_it_ends(
    tmp_path: Path, before: str, after: str, sentence: str, remedy: str
) -> None:
    text = GOOD.replace(before, after)
    (found,) = found_in(tmp_path, text)
    assert sentence in found.sentence
    assert remedy in found.remedy
    assert found.line == line_with(text, after)


def test_a_file_without_the_model_says_what_it_defines(tmp_path: Path) -> None:
    text = GOOD.replace('name="parcel"', 'name="letter"')
    (found,) = found_in(tmp_path, text)
    assert "it defines 'letter', not 'parcel'" in found.sentence


def test_a_model_is_found_in_a_file_of_any_name_and_a_missing_one_names_the_closest(tmp_path: Path) -> None:
    (tmp_path / "all_of_them.py").write_text(GOOD)
    (tmp_path / "parcels.py").write_text("(")
    assert file_of(tmp_path, "parcel").name == "all_of_them.py"
    with pytest.raises(ConfigurationError, match="did you mean 'parcels'"):
        file_of(tmp_path, "parcles")
    with pytest.raises(ConfigurationError, match="there is no folder"):
        file_of(tmp_path / "nowhere", "parcel")
