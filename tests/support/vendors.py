"""Forty sources: a vendor's API on loopback that pages, limits its rate and drops connections, and files beside it.

Of what the API has some is slow, some fails at first, and some for ever.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from tests.support.http_api import Fault, HttpApi, SteppedClock, cut, hang_up, status
from tests.support.training import START

FILES, APIS = 11, 29
ROWS, PAGE_ITEMS = 120, 40
PAGES = ROWS // PAGE_ITEMS
RATE_PER_S = 15.0
DROPPED_EACH = 9
PATH = "v1/values"


class Plan(msgspec.Struct, frozen=True):
    """How the API's sources behave, by their names.

    Attributes:
        slow: they take ``slow_s`` in all.
        late: they answer only after so many requests were refused.
        never: they never answer.
    """

    slow_s: float
    slow: Sequence[str] = ("api_03", "api_12", "api_21")
    late: Mapping[str, int] = msgspec.field(default_factory=lambda: {"api_05": 4, "api_17": 4})
    never: Sequence[str] = ("api_09",)


class _Now(SteppedClock):
    """Time as it passes."""

    @property
    def s(self) -> float:
        return time.monotonic()

    @s.setter
    def s(self, _: float) -> None:
        pass


class Vendor(HttpApi):
    """The API. ``mended`` lets everything be answered."""

    def __init__(self, plan: Plan) -> None:
        super().__init__([{"id": f"r{row:03}", "value": row * 0.5} for row in range(ROWS)], "next", PAGE_ITEMS)
        self.clock = _Now()
        self.rate_per_s = RATE_PER_S
        self.mended = False
        self.refused: Counter[str] = Counter()
        self.slowed_down = 0
        self.dropped = 0
        self._plan = plan
        self._lock = Lock()

    def fault_of(self, path: str) -> Fault | None:
        """What it does instead of answering this request."""
        name = dict(parse_qsl(urlsplit(path).query)).get("source", "")
        with self._lock:
            if not self.mended and (name in self._plan.never or self.refused[name] < self._plan.late.get(name, 0)):
                self.refused[name] += 1
                return status(503)
            if len(self.asked) % DROPPED_EACH == 0 and name not in self._plan.late:
                self.dropped += 1
                return cut if len(self.asked) % 2 else hang_up
        return None

    def must_wait_s(self) -> float:
        """How long until it takes another request."""
        with self._lock:
            wait_s = super().must_wait_s()
            self.slowed_down += wait_s > 0
        return wait_s

    def page(self, query: dict[str, str]) -> tuple[dict[str, Any], str | None]:
        """The body and the next link of an answer; a slow source takes its time for it."""
        if query["source"] in self._plan.slow:
            time.sleep(self._plan.slow_s / PAGES)
        return super().page(query)


@contextmanager
def vendor(plan: Plan) -> Iterator[Vendor]:
    """The API, on a free port of loopback."""
    with Vendor(plan).served() as api:
        assert isinstance(api, Vendor)
        yield api


def names() -> list[str]:
    """The names of all sources, in their order."""
    return [*(f"file_{number:02}" for number in range(FILES)), *(f"api_{number:02}" for number in range(APIS))]


def write_project(folder: Path) -> Path:
    """The files and the definition; returns the folder of the definitions."""
    rows = [f"r{row:03},{START + timedelta(hours=row):%Y-%m-%d %H:%M:%S},{row}" for row in range(ROWS)]
    (folder / "file_00.csv").write_text("\n".join(["id,at,miles", *rows]))
    for number in range(1, FILES):
        lines = [f"r{row:03},{row * number}" for row in range(ROWS)]
        (folder / f"file_{number:02}.csv").write_text("\n".join(["id,value", *lines]))
    models = folder / "models"
    models.mkdir()
    (models / "forty.py").write_text(_DEFINITION.replace("FOLDER", str(folder)))
    return models


_DEFINITION = f'''"""A model of forty sources: what is to be shown is how they are pulled."""

from datetime import timedelta

from training import field
from training.definition import Estimator, Gates, Label, ModelDefinition
from training.feature import number
from training.sources import ApiLimits, NextLink, by_key, files, http

FILES = [f"file_{{number:02}}" for number in range(1, {FILES})]
APIS = [f"api_{{number:02}}" for number in range({APIS})]
KEY = by_key({{"id": "id"}})
ATTEMPTS = {{"api_05": 4, "api_09": 2, "api_17": 4}}

forty = ModelDefinition(
    name="forty",
    sources=[
        files("FOLDER/file_00.csv", name="file_00", timezone="UTC"),
        *(
            files(f"FOLDER/{{name}}.csv", name=name, columns={{name: "value"}}, brings=[name], join=KEY)
            for name in FILES
        ),
        *(
            http(
                "vendor",
                "{PATH}",
                name=name,
                items="data.items",
                paging=NextLink(path="paging.next"),
                parameters={{"source": name, "from": "{{start}}"}},
                limits=ApiLimits(attempts=ATTEMPTS.get(name, 20)),
                columns={{name: "value"}},
                brings=[name],
                join=KEY,
            )
            for name in APIS
        ),
    ],
    key="id",
    event_time="at",
    fields=[
        field.string("id", required=True),
        field.time("at", required=True),
        field.number("miles"),
        *(field.number(name) for name in [*FILES[1:], *APIS]),
    ],
    label=Label("file_01", known_after=timedelta(hours=1)),
    features=[number("miles")],
    estimator=Estimator("sklearn.linear_model.LinearRegression"),
    gates=Gates(maximum={{"rmse": 5.0}}),
)
'''
