"""Load from a compiled generator, on all cores that there are: tests conclude nothing from how fast it is."""

import os
from pathlib import Path

import httpx
import pytest

from bench.environments import NotInstalled
from bench.load import Answers, Question, generator, load
from tests.support.api_ground import Api
from tests.support.ground import record


def need_generator() -> None:
    """Skip outside CI where the generator is missing."""
    try:
        generator()
    except NotInstalled as error:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing(str(error))


def question_of(api: Api, token: str, records: int) -> Question:
    """A request for so many records."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/x-ndjson"}
    return Question(f"{api.url}{api.path}", b"\n".join(map(record, range(records))), headers)


def loaded(question: Question, folder: Path, **how: float) -> Answers:
    """Ask for some seconds (see ``bench.load.load``)."""
    return load(question, folder, pinned=False, **how)  # type: ignore[arg-type]


def metric(api: Api, name: str) -> float:
    """The sum of a metric over its labels."""
    with api.client() as client:
        return summed(client.get("/metrics"), name)


def summed(answer: httpx.Response, name: str) -> float:
    """The sum of a metric over its labels, in an answer of /metrics."""
    lines = [line for line in answer.text.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
    return sum(float(line.rpartition(" ")[2]) for line in lines)
