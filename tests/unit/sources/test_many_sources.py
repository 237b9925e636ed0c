"""Rides in two tables, their weather behind an API and their fares in a file: read, kept, and joined."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from scoring.contract.clock import rfc3339
from scoring.contract.encoder import Column
from scoring.contract.errors import Unavailable
from scoring.contract.features import FieldType
from scoring.contract.source import Api, ApiLimits, Files, Join, NextLink, Source
from scoring.sources.joined import assemble, plan
from scoring.sources.open import Sources
from scoring.sources.staged import Staging
from tests.support.http_api import HttpApi, cut, status
from tests.support.trips import COLUMNS, END, KINDS, START, fill_table, table, trips

ALL = {**KINDS, "wind": FieldType.NUMBER, "fare": FieldType.NUMBER}
WEATHER = Source(
    connection="weather",
    table="",
    columns=(("wind", "wind.speed"),),
    origin=Api(
        path="v1/trips",
        items="data.items",
        parameters=(("from", "{start}"),),
        paging=NextLink(path="paging.next"),
        limits=ApiLimits(attempts=2),
    ),
    join=Join(match=(("city", "city"),), valid_at="at", max_age_s=86_400.0),
)


class Stage:
    """The sources of rides, with what reads and what keeps them."""

    def __init__(self, folder: Path, api: HttpApi, stack: ExitStack) -> None:
        connections = {"weather": api.url}
        for name, rows in (("warehouse", trips()[:100]), ("archive", trips()[100:])):
            connections[name] = f"sqlite:///{folder / name}.db"
            fill_table(connections[name], rows)
        fares = [f"{row['id']},{number}.5" for number, row in enumerate(trips())]
        (folder / "fares.csv").write_text("\n".join(["trip,amount", *fares]))
        self.api = api
        self.fares = Source(
            connection="",
            table="",
            columns=(("fare", "amount"),),
            origin=Files(url=str(folder / "fares.csv")),
            join=Join(match=(("trip", "trip_id"),)),
        )
        self.sources = [table(), table(connection="archive", name="old trips"), WEATHER, self.fares]
        self.reader = stack.enter_context(Sources(connections.__getitem__, api.clock.clock))
        self.staging = Staging(folder / "staging", api.clock.clock)

    def pulled(self) -> tuple[dict[str, Column], list[bool]]:
        """The records with all fields, and whether each source had been pulled before."""
        pulls = plan(self.sources, ALL, "pickup", START, END)
        kept = [self.staging.pull(pull, self.reader) for pull in pulls]
        read = [self.staging.read(each.record, pull.fields) for each, pull in zip(kept, pulls, strict=True)]
        return assemble(self.sources, pulls, read), [each.reused for each in kept]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    days = range(-40, 40)
    observed = [
        {"city": city, "at": rfc3339(START + timedelta(days=day)), "wind": {"speed": float(day)}}
        for day in days
        for city in ("Zürich", 'New, "York"')
    ]
    with ExitStack() as stack:
        yield Stage(tmp_path, stack.enter_context(HttpApi(observed, "next").served()), stack)


def test_records_of_all_sources_come_together_with_what_the_others_add(stage: Stage) -> None:
    found, _ = stage.pulled()
    expected = {
        row["id"]: (None if row["city"] is None else float((row["pickup"] - START).days), number + 0.5)
        for number, row in enumerate(trips())
        if START <= row["pickup"] < END
    }
    ids = [str(trip) for trip in found["trip_id"]]
    assert sorted(ids) == sorted(expected)
    np.testing.assert_array_equal(found["wind"], np.array([expected[trip][0] for trip in ids], dtype=np.float64))
    np.testing.assert_array_equal(found["fare"], np.array([expected[trip][1] for trip in ids]))
    assert [*found] == [*(field for field, _ in COLUMNS), "wind", "fare"]
    assert stage.api.asked[0] == f"/v1/trips?from={rfc3339(START - timedelta(days=1, seconds=1)).replace(':', '%3A')}"


def test_the_second_time_no_source_is_asked(stage: Stage) -> None:
    first, _ = stage.pulled()
    asked = len(stage.api.asked)
    second, reused = stage.pulled()
    assert (reused, len(stage.api.asked)) == ([True] * 4, asked)
    for name, column in first.items():
        np.testing.assert_array_equal(np.asarray(second[name]), np.asarray(column))


def test_after_one_source_failed_only_that_one_is_asked_again(stage: Stage) -> None:
    stage.api.faults = {1: status(500), 2: cut, 3: cut}
    with pytest.raises(Unavailable, match="source 'v1/trips': the connection failed"):
        stage.pulled()
    _, reused = stage.pulled()
    assert reused == [True, True, False, False]
