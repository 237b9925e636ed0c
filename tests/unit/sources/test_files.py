import uuid
from datetime import timedelta
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scoring.contract.clock import epoch_s
from scoring.contract.encoder import Column
from scoring.contract.errors import ConfigurationError, Unavailable
from scoring.contract.features import FieldType
from scoring.contract.source import Files, Format, Source
from scoring.sources.files import FilesReader
from tests.support.trips import (
    COLUMNS,
    KINDS,
    START,
    by_id,
    csv_text,
    expected,
    files,
    pull_of,
    trips,
    write_csv,
    write_parquet,
)

NONE: dict[str, str] = {}


def read(source: Source, connections: dict[str, str] | None = None, **changes: Any) -> list[tuple[Any, ...]]:
    return by_id(FilesReader((connections or NONE).__getitem__).read(pull_of(source, **changes)))


def csv_source(folder: Path, content: str, **kinds: FieldType) -> list[tuple[Any, ...]]:
    """What comes of a CSV file with a column ``value`` beside the time."""
    (folder / "rows.csv").write_text(content)
    columns = (("at", "at"), ("value", "value"))
    source = Source(connection="", table="", columns=columns, origin=Files(url=str(folder / "rows.csv")))
    pull = pull_of(source, kinds={"at": FieldType.TIME, **kinds}, event_time="at")
    return by_id(FilesReader(NONE.__getitem__).read(pull))


@pytest.mark.parametrize("name", ["trips.parquet", "trips.csv", "trips.csv.gz"])
def test_the_rows_of_the_interval_come_back_from_a_file(tmp_path: Path, name: str) -> None:
    (write_parquet if name.endswith("parquet") else write_csv)(tmp_path / name, trips())
    assert read(files((tmp_path / name).as_uri())) == expected(trips())


def test_several_files_are_one_source_whatever_their_formats(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", trips()[:70])
    write_csv(tmp_path / "b.csv", trips()[70:150])
    write_csv(tmp_path / "c.csv.gz", trips()[150:])
    (tmp_path / "folder.csv").mkdir()
    assert read(files(f"file://{tmp_path}/*")) == expected(trips())


def test_files_in_memory_are_read_as_any_other(tmp_path: Path) -> None:
    folder = f"memory://{uuid.uuid4().hex}"
    write_parquet(tmp_path / "a.parquet", trips())
    fsspec.filesystem("memory").pipe(f"{folder}/a.parquet", (tmp_path / "a.parquet").read_bytes())
    fsspec.filesystem("memory").pipe(f"{folder}/b.csv", csv_text(trips()))
    assert read(files(f"{folder}/*.parquet")) == read(files(f"{folder}/*.csv")) == expected(trips())


def test_a_file_behind_a_web_server_is_read_as_any_other(tmp_path: Path) -> None:
    sent: list[str | None] = []

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(tmp_path))

        def do_GET(self) -> None:
            sent.append(self.headers["authorization"])
            super().do_GET()

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
            pass

    write_csv(tmp_path / "trips.csv.gz", trips())
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert read(files(f"{url}/trips.csv.gz")) == expected(trips())
        assert sent == [None]
        web = {"web": url.replace("://", "://t0ken@")}
        assert read(files(f"{url}/trips.csv.gz", connection="web"), web) == expected(trips())
        assert set(sent[1:]) == {"Bearer t0ken"}
        with pytest.raises(Unavailable, match="there is no such file yet"):
            read(files(f"{url}/none.csv"))
        server.shutdown()


def test_the_format_can_be_stated_where_the_ending_says_nothing(tmp_path: Path) -> None:
    write_csv(tmp_path / "trips.txt", trips(), delimiter=";")
    stated = Files(url=str(tmp_path / "trips.txt"), format=Format.CSV, delimiter=";")
    assert read(files("", origin=stated)) == expected(trips())
    with pytest.raises(ConfigurationError, match=r"file '.*trips\.txt': nothing says whether it is Parquet or CSV"):
        read(files(str(tmp_path / "trips.txt")))


def test_files_that_are_not_there_may_come_yet(tmp_path: Path) -> None:
    with pytest.raises(
        Unavailable, match=r"source '\*\.parquet': no file matches .* yet; put the files there, or mend"
    ):
        read(files(f"{tmp_path}/*.parquet"))
    with pytest.raises(Unavailable, match=r"source 'a\.parquet': there is no such file yet; put it there, or mend"):
        read(files(f"{tmp_path}/a.parquet"))


def test_the_one_file_with_another_schema_is_named_with_all_that_is_wrong(tmp_path: Path) -> None:
    for name in ("a", "c"):
        write_parquet(tmp_path / f"{name}.parquet", trips())
    table = pa.table({"id": ["x"], "pickup": [START], "distance": ["far"], "shared": [True]})
    pq.write_table(table, tmp_path / "b.parquet")
    with pytest.raises(ConfigurationError) as caught:
        read(files(f"{tmp_path}/*.parquet"))
    assert f"file '{tmp_path}/b.parquet': column 'distance' is string, not number; column 'city' is not there" in str(
        caught.value
    )


@pytest.mark.parametrize(
    "types",
    [
        {"pickup": pa.timestamp("ns"), "distance": pa.float32()},
        {"pickup": pa.timestamp("us", tz="Europe/Zurich"), "city": pa.large_string()},
        {"city": pa.dictionary(pa.int8(), pa.string()), "shared": pa.bool_()},
    ],
)
def test_parquet_may_hold_a_type_in_any_of_its_forms(tmp_path: Path, types: dict[str, Any]) -> None:
    rows = [{**row, "distance": None if row["distance"] is None else float(int(row["distance"]))} for row in trips()]
    naive = types["pickup"].tz is None if "pickup" in types else False
    stored = [{**row, "pickup": row["pickup"].replace(tzinfo=None) if naive else row["pickup"]} for row in rows]
    write_parquet(tmp_path / "a.parquet", stored, **types)
    assert read(files(f"{tmp_path}/a.parquet")) == expected(rows)


@pytest.mark.parametrize(
    "stored", [pa.timestamp("s"), pa.timestamp("ms", tz="UTC"), pa.int64(), pa.float64(), pa.string()]
)
def test_the_interval_is_exact_in_every_unit_of_time(tmp_path: Path, stored: Any) -> None:
    moments = [START + timedelta(seconds=seconds) for seconds in (-1, 0, 1)]
    values: list[Any] = [moment.timestamp() for moment in moments]
    if pa.types.is_string(stored):
        values = [moment.isoformat() for moment in moments]
    elif pa.types.is_timestamp(stored):
        values = moments if stored.tz else [moment.replace(tzinfo=None) for moment in moments]
    pq.write_table(pa.table({"id": ["a", "b", "c"], "pickup": pa.array(values, stored)}), tmp_path / "a.parquet")
    source = files(f"{tmp_path}/a.parquet", columns=COLUMNS[:2])
    found = read(source, end=START + timedelta(seconds=1))
    assert found == [("b", START.timestamp())]


def test_dates_are_the_midnights_they_begin_with_in_utc(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"], "pickup": pa.array([START.date()])}), tmp_path / "a.parquet")
    assert read(files(f"{tmp_path}/a.parquet", columns=COLUMNS[:2])) == [("a", START.timestamp())]


def test_whole_numbers_in_parquet_are_the_text_of_a_class(tmp_path: Path) -> None:
    table = pa.table({"id": [1, 2], "pickup": [START, START]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert [row[0] for row in read(files(f"{tmp_path}/a.parquet", columns=COLUMNS[:2]))] == ["1", "2"]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (FieldType.NUMBER, " 1.5e3 ", 1500.0),
        (FieldType.NUMBER, "inf", None),
        (FieldType.NUMBER, "nan", None),
        (FieldType.NUMBER, '""', None),
        (FieldType.BOOLEAN, "TRUE", 1.0),
        (FieldType.BOOLEAN, "0", 0.0),
        (FieldType.STRING, "", None),
        (FieldType.STRING, '""', ""),
        (FieldType.STRING, '"two\nlines"', "two\nlines"),
        (FieldType.TIME, "2024-01-01 01:00:00.25+01:00", START.timestamp() + 0.25),
        (FieldType.TIME, "2024-01-01T00:00:00.1234567Z", START.timestamp() + 0.123457),
        (FieldType.TIME, "1704067200.5", START.timestamp() + 0.5),
    ],
)
def test_a_text_in_a_csv_file_is_what_its_field_is_declared_to_be(
    tmp_path: Path, kind: FieldType, text: str, value: Any
) -> None:
    assert csv_source(tmp_path, f"at,value\n2024-01-01T00:00:00Z,{text}\n", value=kind) == [(START.timestamp(), value)]


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        (FieldType.NUMBER, "1.234,5", "'1.234,5' is not a number"),
        (FieldType.BOOLEAN, "yes", "'yes' is not a boolean; write true or false"),
        (FieldType.TIME, "2024-01-01 00:00:00", "is not a time; write it as 2024-01-31T12:00:00Z"),
        (FieldType.TIME, "01/02/2024", "is not a time"),
        (FieldType.NUMBER, "x" * 1000, "x …' is not a number"),
    ],
)
def test_a_text_that_cannot_be_read_is_told_with_its_file_column_and_row(
    tmp_path: Path, kind: FieldType, text: str, told: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        csv_source(tmp_path, f'at,value\n1704067200,1\n1704067200,"{text}"\n', value=kind)
    assert f"file '{tmp_path}/rows.csv', column 'value', row 2: " in str(caught.value)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "it cannot be read as CSV: Empty CSV file"),
        ("at,other\n1,2\n", "Column 'value'.* does not exist in CSV file; its first line must name the columns"),
        ("at,value\n1\n", "it cannot be read as CSV: .*Expected 2 columns, got 1"),
    ],
)
def test_a_file_that_is_no_such_csv_is_named(tmp_path: Path, content: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=f"rows.csv': {told}"):
        csv_source(tmp_path, content, value=FieldType.NUMBER)


def in_zone(path: Path, timezone: str, **kinds: FieldType) -> dict[str, Column]:
    columns = tuple((name, name) for name in kinds)
    origin = Files(url=str(path), timezone=timezone)
    source = Source(connection="", table="", columns=columns, origin=origin)
    return FilesReader(NONE.__getitem__).read(pull_of(source, kinds=kinds, event_time=None))


@pytest.mark.parametrize(
    ("timezone", "expected_hours"),
    [("UTC", [5.0, 29.5, 0.0, 5.0]), ("America/New_York", [10.0, 34.5, 5.0, 5.0])],
)
def test_times_without_an_offset_are_read_in_the_zone_that_is_stated(
    tmp_path: Path, timezone: str, expected_hours: list[float]
) -> None:
    texts = ["2024-01-01 05:00:00", "2024-01-02T05:30", "2024-01-01", "2024-01-01T05:00:00Z"]
    (tmp_path / "rows.csv").write_text("\n".join(["at", *texts, ""]))
    pq.write_table(pa.table({"at": texts}), tmp_path / "rows.parquet")
    for name in ("rows.csv", "rows.parquet"):
        found = in_zone(tmp_path / name, timezone, at=FieldType.TIME)["at"]
        hours = (np.asarray(found, dtype=np.float64) - epoch_s(START)) / 3_600.0
        np.testing.assert_array_equal(hours, expected_hours)


def test_a_time_that_parquet_keeps_without_a_zone_is_read_in_the_one_that_is_stated(tmp_path: Path) -> None:
    naive = pa.array([START.replace(tzinfo=None, microsecond=1)], pa.timestamp("us"))
    pq.write_table(pa.table({"at": naive}), tmp_path / "rows.parquet")
    for timezone, hours in (("", 0), ("Europe/Zurich", -1)):
        found = in_zone(tmp_path / "rows.parquet", timezone, at=FieldType.TIME)["at"]
        assert list(found) == [epoch_s(START.replace(microsecond=1)) + 3_600.0 * hours]


def test_a_time_without_an_offset_says_what_to_state_where_no_zone_is(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("at\n2024-01-01 05:00:00\n")
    with pytest.raises(ConfigurationError, match=r"'2024-01-01 05:00:00' is not a time; .*: state the timezone of the"):
        in_zone(tmp_path / "rows.csv", "", at=FieldType.TIME)


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ConfigurationError, match=r"a\.parquet': it cannot be read as Parquet"):
        read(files(f"{tmp_path}/a.parquet"))


def test_the_options_of_a_store_come_from_the_connection_and_stay_out_of_messages() -> None:
    source = files("memory://none/*.csv", connection="lake")
    with pytest.raises(Unavailable) as caught:
        read(source, {"lake": "memory://ada:geheim@?client_kwargs=%7B%22a%22%3A1%7D"})
    assert "no file matches" in str(caught.value)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("s3://lake/a.parquet", "s3fs.*; install that package beside Baton"),
        ("nowhere://lake/a.parquet", "its URL or its connection's options are wrong"),
        ("file:///tmp", "'/tmp' is a folder; end its URL with a pattern"),
    ],
)
def test_a_place_that_cannot_be_reached_is_an_error(url: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        read(files(url))


def test_files_that_take_longer_than_the_timeout_are_given_up(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", trips())
    with pytest.raises(Unavailable, match="not read within its 1e-09 s"):
        read(files(f"{tmp_path}/a.csv", timeout_s=1e-9))


def test_without_an_event_time_every_row_comes_back(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", trips())
    write_csv(tmp_path / "b.csv", trips())
    assert len(read(files(f"{tmp_path}/*"), event_time=None, kinds=KINDS)) == 400
