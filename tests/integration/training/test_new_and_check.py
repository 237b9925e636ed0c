"""From a file to a definition that the whole pipeline takes, and a leak that is planted in it is told by its name."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from local import samples
from scoring.cli import group
from tests.support import deliveries
from tests.support.postgres import MakeDatabase
from tests.support.training import ROOT
from training.catalog import load_definition
from training.check.findings import Checked
from training.definition import ModelDefinition

pytestmark = pytest.mark.timeout(900)

Write = Callable[..., Path]
SETS = [
    pytest.param(samples.churn, "left", "goodbye_letters", id="binary"),
    pytest.param(samples.progression, "progression", "dose", id="regression"),
    pytest.param(samples.wines, "cultivar", "shelf", id="multiclass"),
]


def baton(folder: Path, *arguments: str, **connections: str) -> Result:
    """Run the command line over the models of a folder."""
    variables = {f"BATON_CONNECTIONS__{name.upper()}": url for name, url in connections.items()}
    command = [*arguments, "--models", str(folder / "models")]
    return CliRunner().invoke(group, command, env={"OMP_NUM_THREADS": "1", **variables})


def made(folder: Path, path: Path, label: str, *arguments: str) -> ModelDefinition:
    """The definition that is written for a file."""
    done = baton(folder, "new", path.stem, "--from", str(path), "--label", label, "--yes", *arguments)
    assert done.exit_code == 0, done.output
    return load_definition(folder / "models", path.stem)


def check(folder: Path, model: str, *arguments: str, **connections: str) -> tuple[Checked, int]:
    """The answer of a check, and its exit status."""
    database = {model: f"sqlite:///{folder / 'var' / model}.db"}
    done = baton(folder, "check", model, "--json", *arguments, **{**database, **connections})
    return msgspec.json.decode(done.stdout, type=Checked), done.exit_code


@pytest.mark.parametrize(("write", "label", "_leak"), SETS)
def test_a_file_becomes_a_definition_of_forty_lines_that_the_whole_pipeline_accepts(
    tmp_path: Path, write: Write, label: str, _leak: str
) -> None:
    definition = made(tmp_path, write(tmp_path / f"{write.__name__}.csv"), label)
    written = (tmp_path / "models" / f"{write.__name__}.py").read_text()
    assert len(written.splitlines()) <= 40
    assert max(map(len, written.splitlines())) <= 120

    page = tmp_path / "report.html"
    found, status = check(tmp_path, definition.name, "--report", str(page))
    assert [each for each in found.findings if each.level == "error"] == []
    assert status == 0
    assert found.judged
    assert all(verdict.judgement == "pass" for verdict in found.judged.verdicts)
    assert {"pull", "suite", "fit", "evaluate", "gates", "bundle", "score"} <= set(found.steps)
    assert page.read_text().count("<svg") >= 2


@pytest.mark.parametrize(("write", "label", "leak"), SETS)
def test_a_planted_leak_is_left_out_by_the_one_and_told_by_name_by_the_other(
    tmp_path: Path, write: Write, label: str, leak: str
) -> None:
    definition = made(tmp_path, write(tmp_path / f"{write.__name__}.csv", leak=True), label)
    assert {field.name for field in definition.fields if field.known_after_s > 0} == {leak}
    assert leak not in {feature.name for feature in definition.features}

    path = tmp_path / "models" / f"{definition.name}.py"
    kind = "category" if leak == "shelf" else "number"
    planted = path.read_text().replace(f'"{leak}", known_after=timedelta(days=1)', f'"{leak}"')
    planted = planted.replace("    features=[\n", f'    features=[\n        {kind}("{leak}"),\n')
    path.write_text(planted.replace("import day_of_week", f"import {kind}, day_of_week"))
    found, status = check(tmp_path, definition.name)
    told = [each for each in found.findings if each.about == leak and each.level == "error"]
    assert [each.sentence.partition(":")[2] for each in told] == [" is it a leak?"], found.findings
    assert told[0].line == next(
        n for n, line in enumerate(planted.splitlines(), 1) if f'{kind}("{leak}")' in line and "field." not in line
    )
    assert "leakage" not in {each.about for each in found.findings}
    assert status == 1


def test_a_table_becomes_a_definition_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'parcels.db'}"
    deliveries.fill(url)
    done = baton(tmp_path, "new", "parcel", "--from-table", "parcels", "deliveries", "--label", "minutes", parcels=url)
    assert done.exit_code == 0, done.output
    definition = load_definition(tmp_path / "models", "parcel")
    assert definition.all_sources[0].table == "deliveries"
    assert {"km", "kg", "express", "depot"} <= {feature.name for feature in definition.features}
    found, status = check(tmp_path, "parcel", "--sample", "3000", parcels=url)
    assert status == 0, found.findings
    assert found.sample
    assert (found.sample.every, found.sample.sampled) == (2, 3000)


def test_a_file_may_be_named_itself_where_its_values_are_plain(tmp_path: Path) -> None:
    path = samples.wines(tmp_path / "wines.csv")
    definition = made(tmp_path, path, "cultivar", "--in-place")
    assert [each.title for each in definition.all_sources] == ["wines.csv"]
    assert not (tmp_path / "var").exists()
    found, status = check(tmp_path, "wines")
    assert [each for each in found.findings if each.level == "error"] == []
    assert status == 0
    odd = samples.churn(tmp_path / "churn.csv", rows=400)
    refused = baton(tmp_path, "new", "churn", "--from", str(odd), "--label", "left", "--yes", "--in-place")
    assert "'left' is one of two texts, and a binary model takes a number; leave --in-place away" in str(
        refused.exception
    )
    worse = odd.with_name("gaps.csv")
    worse.write_text(odd.read_text().replace(",yes\n", ",1\n").replace(",no\n", ",0\n").replace(",,", ",n/a,"))
    refused = baton(tmp_path, "new", "gaps", "--from", str(worse), "--label", "left", "--yes", "--in-place")
    assert "'n/a' is not a number; without it the file is loaded into a database" in str(refused.exception)
    assert not (tmp_path / "models" / "gaps.py").exists()


def test_nothing_is_written_over_and_everything_unclear_is_told_at_once(tmp_path: Path) -> None:
    path = samples.churn(tmp_path / "churn.csv", rows=400)
    made(tmp_path, path, "left")
    again = baton(tmp_path, "new", "churn", "--from", str(path), "--label", "left")
    assert "would be written over; --force does so" in str(again.exception)
    unclear = baton(tmp_path, "new", "other", "--from", str(path), "--key", "plan", "--event-time", "minutes")
    lines = str(unclear.exception).splitlines()[1:]
    assert len(lines) == 3
    assert all(word in str(unclear.exception) for word in ("plan", "minutes", "--label"))
    assert made(tmp_path, path, "left", "--force").label.column == "left"


def test_the_answer_for_machines_says_what_was_guessed_and_what_to_set(tmp_path: Path) -> None:
    path = samples.churn(tmp_path / "churn.csv", rows=400)
    done = baton(tmp_path, "new", "churn", "--from", str(path), "--label", "left", "--json")
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["setting"] == f"BATON_CONNECTIONS__CHURN=sqlite:///{tmp_path / 'var' / 'churn.db'}"
    assert {"key", "event time", "task", "gates", "left out"} <= {guess["what"] for guess in document["guesses"]}
    with sqlite3.connect(document["setting"].partition("sqlite:///")[2]) as database:
        assert database.execute("select count(*) from churn").fetchone() == (400,)
    database.close()


@pytest.fixture
def parcels(tmp_path: Path) -> Path:
    """A folder with the deliveries of the tests: model, suite and database."""
    deliveries.fill(f"sqlite:///{tmp_path / 'parcels.db'}")
    for name in ("models/delivery_minutes.py", "expectations/delivery_minutes/snapshot.json"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text((ROOT / "tests" / name).read_text())
    return tmp_path


def change(folder: Path, before: str, after: str) -> None:
    path = folder / "models" / "delivery_minutes.py"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))


def of_parcels(folder: Path) -> Checked:
    return check(folder, "delivery_minutes", parcels=f"sqlite:///{folder / 'parcels.db'}")[0]


def test_lookups_pipelines_and_renamed_columns_are_checked_as_well(parcels: Path) -> None:
    found = of_parcels(parcels)
    assert found.fine, found.findings
    assert found.judged
    assert found.judged.bundle_bytes > 1_000


def test_columns_and_tables_that_are_not_there_are_told_together_with_the_closest_name(parcels: Path) -> None:
    change(parcels, '"kilometres": "km"', '"kilometres": "kms"')
    change(parcels, 'field.string("courier"', 'field.string("curier"')
    found = of_parcels(parcels)
    assert [(each.about, each.remedy) for each in found.findings] == [
        ("kilometres", "did you mean 'km'?"),
        ("curier", "did you mean 'courier'?"),
    ]
    change(parcels, 'table="deliveries"', 'table="delivery"')
    (table,) = of_parcels(parcels).findings
    assert table.remedy == "did you mean 'deliveries'?"


def test_a_column_of_another_type_a_double_key_and_a_time_ahead_are_told(parcels: Path) -> None:
    with sqlite3.connect(parcels / "parcels.db") as database:
        database.execute("create table copies as select * from deliveries")
        database.execute("insert into copies select * from deliveries limit 5")
        database.execute("update copies set placed_at = '2999-01-01 00:00:00' where rowid in (7, 8)")
        database.execute("update copies set km = 'far' where rowid = 900")
    database.close()
    change(parcels, 'table="deliveries"', 'table="copies"')
    change(parcels, "history=months(3)", "history=months(12)")
    told = {each.about: each for each in of_parcels(parcels).findings}
    assert "5 of 6,005 rows have a key 'order_id' that another row has too" in told["order_id"].sentence
    assert "2 of 6,005 events lie after now" in told["placed_at"].sentence
    assert "declared as number, but its column holds something else" in told["kilometres"].sentence


def test_a_lookup_that_never_matches_and_a_suite_that_does_not_hold_are_told(parcels: Path) -> None:
    change(parcels, 'match={"depot": "depot"}', 'match={"status": "depot"}')
    suite = parcels / "expectations" / "delivery_minutes" / "snapshot.json"
    suite.write_text(suite.read_text().replace('"min_value": ', '"min_value": 9'))
    found = of_parcels(parcels)
    told = [(each.section.value, each.about) for each in found.findings if each.level == "error"]
    assert ("lookups", "load") in told
    assert ("data", "suite") in told
    (ending,) = [each.sentence for each in found.findings if each.level == "note"]
    assert "it went no further: Pipeline cannot be compiled" in ending  # its imputer finds nothing to go by


def test_a_connection_that_is_not_set_is_told_with_its_variable(parcels: Path) -> None:
    (found,) = check(parcels, "delivery_minutes")[0].findings
    assert "BATON_CONNECTIONS__PARCELS" in found.sentence
    assert found.line is not None


def test_a_server_is_checked_as_well_and_times_without_a_zone_are_told(
    parcels: Path, make_postgres_database: MakeDatabase
) -> None:
    url = make_postgres_database()
    deliveries.fill(url)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("alter table deliveries alter column promised_at type timestamp"))
    engine.dispose()
    found, status = check(parcels, "delivery_minutes", "--sample", "2500", parcels=url)
    assert status == 0, found.findings
    assert ("promised_at", "warning") in [(each.about, each.level.value) for each in found.findings]
    assert found.sample
    assert found.sample.every == 2
    drafted = baton(
        parcels, "new", "parcel", "--from-table", "parcels", "deliveries", "--label", "minutes", parcels=url
    )
    assert drafted.exit_code == 0, drafted.output
    definition = load_definition(parcels / "models", "parcel")
    assert {"placed_at", "promised_at"} <= {field.name for field in definition.fields if field.type.value == "time"}


@pytest.mark.parametrize("form", ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S+00:00", "%d.%m.%Y"])
def test_times_that_sqlite_would_compare_as_other_text_are_told(parcels: Path, form: str) -> None:
    engine = sa.create_engine(f"sqlite:///{parcels / 'parcels.db'}")
    with engine.begin() as connection:
        for row in connection.execute(sa.select(*deliveries.deliveries.c["order_id", "placed_at"]).limit(300)).all():
            changed = sa.text("update deliveries set placed_at = :moment where order_id = :order")
            connection.execute(changed, {"moment": row.placed_at.strftime(form), "order": row.order_id})
    engine.dispose()
    found = of_parcels(parcels)
    told = [each for each in found.findings if each.about == "placed_at" and each.level == "error"]
    assert told, found.findings
    assert "SQLite compares times as text" in told[0].sentence


def test_a_strong_feature_is_used_but_both_commands_ask_for_a_look_at_it(tmp_path: Path, warehouse_file: Path) -> None:
    url, label = f"sqlite:///{warehouse_file}", ("--label", "arr_delay", "--at-least", "15")
    done = baton(tmp_path, "new", "flights", "--from-table", "warehouse", "flights", *label, "--json", warehouse=url)
    assert done.exit_code == 0, done.output
    looks = [guess["value"] for guess in json.loads(done.stdout)["guesses"] if guess["what"] == "look at"]
    assert looks == ["dep_delay"]
    definition = load_definition(tmp_path / "models", "flights")
    assert [field.name for field in definition.fields if field.known_after_s > 0] == ["arrived_at"]
    found, status = check(tmp_path, "flights", "--sample", "10000", warehouse=url)
    assert status == 1
    assert [each.about for each in found.findings if each.level == "error"] == ["dep_delay"]
