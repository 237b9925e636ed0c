import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scoring.contract.errors import ConfigurationError
from scoring.contract.features import FieldType
from scoring.contract.manifest import Task, Topics
from scoring.contract.verdict import Judgement, Verdict
from tests.support.training import ROOT, classification, definition
from training import field
from training.catalog import load_definition, load_definitions
from training.definition import Estimator, Gates, Label, Source, days, months, table_lookup
from training.feature import category, number
from training.gates import GATES
from training.gates.evidence import Evidence
from training.limits import GATES as GATE_NAMES
from training.pull import column_types

VERDICT = Verdict(gate="mine", judgement=Judgement.PASS, sentence="fine")


def mine(_: Evidence) -> Verdict:
    return VERDICT


def parity(_: Evidence) -> Verdict:
    return VERDICT


def mistakes(**changes: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        definition(**changes)
    return str(caught.value)


def test_a_small_definition_needs_little_and_has_sensible_defaults() -> None:
    made = definition()
    assert made.task is Task.REGRESSION
    assert made.all_topics == Topics.of("fare")
    assert (made.history, made.holdout, made.schedule) == (months(12), months(1), None)


def test_an_estimator_of_another_kind_than_the_label_is_a_mistake() -> None:
    classifier = Estimator("sklearn.ensemble.HistGradientBoostingClassifier")
    piped = Estimator("sklearn.pipeline.make_pipeline", Estimator("sklearn.preprocessing.StandardScaler"), classifier)
    for estimator in (classifier, piped):
        assert "is a classifier, but the label is a number" in mistakes(estimator=estimator)
    told = mistakes(
        estimator=Estimator("sklearn.linear_model.RANSACRegressor"),
        label=Label("fare", at_least=20, known_after=timedelta(hours=1)),
        gates=Gates(minimum={"auc": 0.6}),
    )
    assert "is a regressor, but the label has at_least" in told


def test_all_mistakes_are_reported_together() -> None:
    told = mistakes(
        name="Fare!",
        key="trip",
        features=[number("kilometres"), category("miles")],
        estimator=Estimator("no_such_package.Model"),
        gates=Gates(),
        threshold=0.5,
        pass_through=["color"],
    )
    for part in ("'Fare!'", "'trip'", "'kilometres'", "a string is needed", "no_such_package", "state a minimum"):
        assert part in told
    assert "a regression has no decision" in told
    assert "pass_through: 'color'" in told


def test_a_feature_that_is_known_only_after_the_event_is_a_leak() -> None:
    fields = [*definition().fields, field.number("tip", known_after=timedelta(minutes=30))]
    assert "feature 'tip' is a leak: 'tip' is known 1800 s after the event" in mistakes(
        fields=fields, features=[number("tip")]
    )


def test_a_field_that_is_known_late_is_no_part_of_the_input() -> None:
    made = definition(fields=[*definition().fields, field.number("tip", known_after=timedelta(minutes=30))])
    assert "tip" not in {each.name for each in made.schema.fields}
    assert "tip" not in dict(made.manifest_sources[0].columns)


def test_the_label_cannot_also_be_known_at_the_event() -> None:
    assert "nothing is left to predict" in mistakes(fields=[*definition().fields, field.number("fare")])


@pytest.mark.parametrize("columns", [{"price": "fare"}, {"fare": "total", "price": "total"}, {"fare": "price"}])
def test_the_label_cannot_be_known_at_the_event_under_another_name(columns: dict[str, str]) -> None:
    told = mistakes(
        source=Source(connection="warehouse", table="trips", columns=columns),
        fields=[*definition().fields, field.number("price")],
        features=[number("price")],
    )
    assert "nothing is left to predict" in told
    assert "read by 'price'" in told


def test_one_column_cannot_be_known_both_at_the_event_and_later() -> None:
    late = field.number("tip", known_after=timedelta(minutes=30))
    source = Source(connection="warehouse", table="trips", columns={"bonus": "tip"})
    told = mistakes(source=source, fields=[*definition().fields, late, field.number("bonus")])
    assert "column 'tip' of the source is read by several fields" in told


def test_a_field_that_was_renamed_away_from_the_column_of_the_label_is_no_leak() -> None:
    source = Source(connection="warehouse", table="trips", columns={"fare": "total", "price": "fare"})
    made = definition(source=source, fields=[*definition().fields, field.number("price")])
    assert dict(made.manifest_sources[0].columns)["price"] == "fare"


@pytest.mark.parametrize(
    ("gates", "told"),
    [
        (Gates(minimum={"auc": 0.6}), "'auc' is no metric of a regression model (there are: r2, mae, rmse)"),
        (Gates(minimum={"rmse": 5.0}), "less rmse is better, so give it a maximum"),
        (Gates(maximum={"r2": 0.5}), "more r2 is better, so give it a minimum"),
        (Gates(maximum={"rmse": 5.0}, not_worse={"rmse": -1.0}), "the margin of 'rmse' must not be negative"),
        (Gates(maximum={"rmse": 5.0}, parity_tolerance=-1.0), "parity_tolerance must not be negative"),
        (Gates(maximum={"rmse": 5.0}, parity_tolerance=float("nan")), "parity_tolerance must not be negative"),
        (Gates(maximum={"rmse": float("inf")}), "the limit of 'rmse' must be a number, inf is none"),
        (Gates(maximum={"rmse": 5.0}, not_worse={"rmse": float("nan")}), "leave not_worse out for the default"),
        (Gates(maximum={"rmse": 5.0}, slice_margin={"auc": 0.1}), "'auc' is no metric of a regression model"),
        (Gates(maximum={"rmse": 5.0}, slice_margin={"rmse": -0.1}), "the slice_margin of 'rmse' must not be negative"),
        (Gates(maximum={"rmse": 5.0}, slice_minimum={"rmse": 4.0}), "less rmse is better, so give it a maximum"),
        (Gates(maximum={"rmse": 5.0}, slice_maximum={"rmse": 4.0}), "there are limits for slices but no slices"),
        (Gates(maximum={"rmse": 5.0}, confidence=95), "confidence must lie between 0.5 and 1"),
        (Gates(maximum={"rmse": 5.0}, calibration=0.0), "calibration must be positive"),
        (Gates(maximum={"rmse": 5.0}, newest_within=timedelta(days=-1)), "newest_within must not be negative"),
        (Gates(maximum={"rmse": 5.0}, minimum_rows=0), "minimum_rows must be at least 1"),
        (Gates(maximum={"rmse": 5.0}, slice_rows=0), "slice_rows must be at least 1"),
        (
            Gates(maximum={"rmse": 5.0}, rows_as_before=(1.1, 1.2)),
            "rows_as_before must be a share below 1 and one above",
        ),
        (Gates(maximum={"rmse": 5.0}, values_as_before=2.0), "values_as_before must lie between 0 and 1"),
        (Gates(maximum={"rmse": 5.0}, thinnest_week=1.5), "thinnest_week must lie between 0 and 1"),
        (Gates(maximum={"rmse": 5.0}, single_feature=2.0), "single_feature must lie above 0 and not above 1"),
        (
            Gates(maximum={"rmse": 5.0}, off={"callibration": "why"}),
            "off: there is no gate 'callibration' (there are: data",
        ),
        (Gates(maximum={"rmse": 5.0}, off={"calibration": " "}), "off: say why 'calibration' is turned off"),
        (Gates(maximum={"rmse": 5.0}, off={"data": "no time"}), "loosen the suite instead"),
        (Gates(maximum={"rmse": 5.0}, own=[lambda _: VERDICT]), "must be a function with a name"),
        (Gates(maximum={"rmse": 5.0}, own=[mine, mine]), "there is more than one gate 'mine'"),
        (Gates(maximum={"rmse": 5.0}, own=[parity]), "there is more than one gate 'parity'"),
    ],
)
def test_limits_that_make_no_sense_are_refused(gates: Gates, told: str) -> None:
    assert told in mistakes(gates=gates)


def test_a_gate_of_ones_own_may_be_turned_off_and_every_built_in_one_has_its_name_in_the_list() -> None:
    definition(gates=Gates(maximum={"rmse": 5.0}, own=[mine], off={"mine": "for now"}))
    assert tuple(GATES) == GATE_NAMES


@pytest.mark.parametrize(
    ("names", "told"),
    [(["color"], "'color' is no field"), (["tip"], "'tip' is no field that is known"), (["miles", "miles"], "twice")],
)
def test_slices_that_do_not_exist_or_are_known_late_are_refused(names: list[str], told: str) -> None:
    fields = [*definition().fields, field.number("tip", known_after=timedelta(minutes=30))]
    assert told in mistakes(slices=names, fields=fields)


def test_names_that_no_record_could_carry_are_refused() -> None:
    assert "schema:" in mistakes(fields=[*definition().fields, field.number("two words")])


def test_a_vocabulary_is_not_for_the_definition_to_give() -> None:
    feature = msgspec.structs.replace(category("trip_id"), vocabulary=("a",))
    assert "taken from the training rows" in mistakes(features=[feature])


def test_a_label_with_a_limit_makes_two_classes() -> None:
    made = definition(
        label=Label("fare", at_least=20, known_after=timedelta(hours=1)),
        gates=Gates(minimum={"auc": 0.6}),
        threshold=0.4,
    )
    assert made.task is Task.BINARY


def test_a_label_with_classes_makes_as_many() -> None:
    made = classification()
    assert made.task is Task.MULTICLASS
    assert column_types(made)["payment"] is FieldType.STRING
    assert column_types(definition())["fare"] is FieldType.NUMBER


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (("a",), "label: there are 1 classes, 3 to 100 are allowed"),
        (("a", "b"), "label: of two classes a binary model is made; give at_least"),
        (("a", "b", "b"), "label: of two classes a binary model is made"),
        (tuple(str(number) for number in range(101)), "label: there are 101 classes"),
        (("a", "b", "c", "a"), "label: the class 'a' is there twice"),
        (("a", "b", ""), "label: the class '' must have 1 to 200 characters"),
        ((1, 2, 3), "label: classes is (1, 2, 3); list the values of the column as text"),
        ("abc", "label: classes is 'abc'; list the values of the column as text"),
    ],
)
def test_what_is_wrong_with_classes_is_told(classes: Any, told: str) -> None:
    assert told in mistakes(
        label=Label("payment", known_after=timedelta(hours=1), classes=classes), gates=Gates(minimum={"auc": 0.6})
    )


def test_classes_go_with_no_limit_no_threshold_and_no_regressor() -> None:
    both = Label("payment", known_after=timedelta(hours=1), classes=("a", "b", "c"), at_least=1)
    told = mistakes(
        label=both,
        threshold=0.5,
        estimator=Estimator("sklearn.ensemble.RandomForestRegressor"),
        gates=Gates(minimum={"r2": 0.6}),
    )
    assert "at_least makes two classes of a number, classes names several; give one of them" in told
    assert "threshold: a model of several classes decides for the most probable one; leave it out" in told
    assert "is a regressor, but the label has classes; leave it out, or use a classifier" in told
    assert "'r2' is no metric of a multiclass model (there are: auc, log_loss, brier, accuracy)" in told


def test_accuracy_is_a_metric_of_several_classes_alone() -> None:
    label = Label("fare", at_least=20, known_after=timedelta(hours=1))
    told = mistakes(label=label, gates=Gates(minimum={"accuracy": 0.6}))
    assert "'accuracy' is no metric of a binary model (there are: auc, log_loss, brier)" in told
    with pytest.raises(ConfigurationError, match=r'state a minimum or maximum, such as minimum=\{"auc": 0.6\}'):
        classification(gates=Gates())


def test_the_interval_and_the_holdout_are_whole_months_by_the_calendar() -> None:
    made = definition(history=months(3), holdout=months(1))
    end = datetime(2013, 4, 1, tzinfo=UTC)
    assert made.interval_ending(end) == (datetime(2013, 1, 1, tzinfo=UTC), end)
    assert made.holdout_start(end) == datetime(2013, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "before"),
    [
        (datetime(2024, 3, 31, tzinfo=UTC), datetime(2024, 2, 29, tzinfo=UTC)),
        (datetime(2013, 1, 15, 6, tzinfo=UTC), datetime(2012, 12, 15, 6, tzinfo=UTC)),
    ],
)
def test_a_month_before_a_day_that_the_month_lacks_is_its_last_day(moment: datetime, before: datetime) -> None:
    assert months(1).before(moment) == before


def test_days_are_days_of_24_hours() -> None:
    assert days(7).before(datetime(2024, 3, 8, tzinfo=UTC)) == datetime(2024, 3, 1, tzinfo=UTC)


def test_a_lookup_names_plain_columns_as_numbers() -> None:
    made = table_lookup("w", connection="c", table="t", match={"a": "b"}, valid_at="at", fields=["temp"])
    assert (made.match, made.fields[0].type, made.lag_s) == ((("a", "b"),), "number", 0.0)


def test_an_estimator_shows_itself_as_the_call_that_makes_it() -> None:
    made = Estimator("sklearn.pipeline.make_pipeline", Estimator("sklearn.linear_model.Ridge", alpha=2.0))
    assert repr(made) == "sklearn.pipeline.make_pipeline(sklearn.linear_model.Ridge(alpha=2.0))"
    assert type(made.build()[-1]).__name__ == "Ridge"


@pytest.mark.parametrize(
    "estimator",
    [Estimator("sklearn.linear_model.Rigde"), Estimator("sklearn.linear_model.Ridge", alfa=2.0)],
    ids=["class", "parameter"],
)
def test_an_estimator_that_cannot_be_made_is_told_by_its_call(estimator: Estimator) -> None:
    with pytest.raises(ConfigurationError, match="estimator sklearn"):
        estimator.build()


def test_the_definitions_of_this_repository_load_with_their_suites_and_descriptions() -> None:
    found = load_definitions(ROOT / "models")
    assert list(found) == ["flight_delay"]
    flights = found["flight_delay"]
    assert flights.suite == str(ROOT / "expectations" / "flight_delay" / "snapshot.json")
    assert flights.description.startswith("Will a flight")
    assert list(load_definitions(ROOT / "tests" / "models")) == ["delivery_minutes"]


def test_loading_definitions_imports_no_library_for_data_training_or_the_registry() -> None:
    code = (
        "import sys; from pathlib import Path; from training.catalog import load_definitions; import training.pipeline;"
        f"load_definitions(Path({str(ROOT / 'models')!r}));"
        "print([n for n in ('pandas','numpy.f2py','pyarrow','sklearn','mlflow','onnx','great_expectations','airflow',"
        "'sqlalchemy') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_every_mistake_of_every_file_is_listed(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import no_such_module\n")
    (tmp_path / "empty.py").write_text("x = 1\n")
    (tmp_path / "_draft.py").write_text("raise RuntimeError\n")
    with pytest.raises(ConfigurationError) as caught:
        load_definitions(tmp_path)
    assert "broken.py: No module named 'no_such_module'" in str(caught.value)
    assert "empty.py: defines no model" in str(caught.value)
    assert "_draft" not in str(caught.value)


def test_two_files_cannot_define_one_model(tmp_path: Path) -> None:
    content = (ROOT / "models" / "flight_delay.py").read_text()
    (tmp_path / "one.py").write_text(content)
    (tmp_path / "two.py").write_text(content)
    with pytest.raises(ConfigurationError, match=r"two\.py: model 'flight_delay' is defined twice"):
        load_definitions(tmp_path)


def test_a_model_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ConfigurationError, match=r"'nothing' is not defined in .* \(defined: flight_delay\)"):
        load_definition(ROOT / "models", "nothing")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no folder"):
        load_definitions(tmp_path / "none")
