"""Which definitions of a folder can be used when some of them cannot."""

from pathlib import Path

import pytest

from scoring.contract.errors import ConfigurationError
from tests.support.training import ROOT
from training.catalog import load_definition, load_definitions, read_catalog

FARE = (ROOT / "tests" / "integration" / "dags" / "models" / "fare.py").read_text()


def write(folder: Path, file: str, name: str = "fare", topics: str = "", more: str = "") -> None:
    text = FARE.replace('name="fare"', f'name="{name}"' + (f", topics={topics}" if topics else ""))
    head = "from scoring.contract.manifest import Topics\n" if topics else ""
    (folder / file).write_text(head + text + more)


def shared(topic: str) -> str:
    return f'Topics(input="{topic}", predictions="p.{topic}", dead_letters="d.{topic}")'


def test_a_broken_file_is_told_and_the_others_are_used(tmp_path: Path) -> None:
    write(tmp_path, "good.py")
    (tmp_path / "broken.py").write_text("import no_such_module\n")
    (tmp_path / "ends.py").write_text("import sys\nsys.exit('stop')\n")
    (tmp_path / "empty.py").write_text("x = 1\n")
    catalog = read_catalog(tmp_path)
    assert list(catalog.definitions) == ["fare"]
    assert set(catalog.mistakes) == {"broken.py", "ends.py", "empty.py"}
    assert catalog.mistakes["broken.py"] == ("No module named 'no_such_module'",)
    assert load_definition(tmp_path, "fare").name == "fare"
    with pytest.raises(ConfigurationError, match=r"broken\.py: No module named"):
        load_definition(tmp_path, "broken")
    with pytest.raises(ConfigurationError, match=r"empty\.py: defines no model"):
        load_definitions(tmp_path)


def test_of_two_that_contend_for_a_name_neither_is_used(tmp_path: Path) -> None:
    write(tmp_path, "one.py")
    write(tmp_path, "two.py")
    write(tmp_path, "three.py", "tip")
    catalog = read_catalog(tmp_path)
    assert list(catalog.definitions) == ["tip"]
    assert catalog.mistakes == {
        "one.py": ("model 'fare' is defined twice (also in two.py); give one of them another name",),
        "two.py": ("model 'fare' is defined twice (also in one.py); give one of them another name",),
    }


def test_of_two_that_contend_for_an_input_topic_neither_is_used(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "a", shared("rides"))
    write(tmp_path, "b.py", "b", shared("rides"))
    write(tmp_path, "c.py", "c", shared("trips"))
    catalog = read_catalog(tmp_path)
    assert list(catalog.definitions) == ["c"]
    assert catalog.mistakes["a.py"] == (
        "model 'a' reads the input topic 'rides', and so does 'b' in b.py; give each its own",
    )
    assert set(catalog.mistakes) == {"a.py", "b.py"}


def test_a_definition_under_two_names_of_one_file_is_one_definition(tmp_path: Path) -> None:
    write(tmp_path, "one.py", more="\nalso = fare\n")
    assert list(load_definitions(tmp_path)) == ["fare"]
