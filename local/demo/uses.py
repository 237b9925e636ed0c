"""What teams do with predictions: read a table, ask over HTTP, ask why, score the past; all must agree."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from local.demo.errors import DemoFailed
from local.demo.stage import Stage
from local.programs import executable
from scoring.contract.clock import rfc3339
from scoring.contract.prediction import Prediction
from scoring.predictions.reading import Predictions
from scoring.predictions.tables import dead_letters, predictions

Json = Any
WITHIN_S = 90.0
# On a machine on which everything runs at once a request may wait longer than it would by default.
DEADLINE_MS = 10_000
_AGAIN = {429, 503, 504}
# Of April, which version 1 had not seen.
PAST = timedelta(days=2)


class UseFailed(DemoFailed):
    """Somebody would be told something else than the stream says."""


def wait_for_table(stage: Stage, scored: int, refused: int) -> None:
    """Until the table holds what the topics hold; raises UseFailed where it does not in time, or holds more."""
    engine = sa.create_engine(stage.local.predictions_url)
    wanted, deadline = (scored, refused), time.monotonic() + WITHIN_S
    while (found := _counts(engine)) != wanted:
        if time.monotonic() > deadline or any(has > most for has, most in zip(found, wanted, strict=True)):
            raise UseFailed(f"the tables hold {found} predictions and dead letters, the topics {wanted}")
        time.sleep(0.1)
    engine.dispose()


def newest(stage: Stage, key: str) -> tuple[Prediction, str]:
    """The newest prediction of a key in the table, and its place: topic, partition and offset."""
    table = Predictions.open(stage.local.predictions_url)
    found = table.latest(stage.definition.name, key)
    if found is None:
        raise UseFailed(f"the table has no prediction of {key}")
    return found.prediction, f"{found.prediction.input.topic} {found.prediction.input.partition} " + str(
        found.prediction.input.offset
    )


def ask(stage: Stage, record: bytes) -> Json:
    """Score one record by a request; the answer as JSON. Asks again as long as the API says that this is worth it."""
    request = urllib.request.Request(  # noqa: S310 - an address of the local stack
        f"{stage.local.api_url}/v1/models/{stage.definition.name}/score",
        b'{"records":[' + record + b"]}",
        {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {os.environ['BATON_API_TOKEN']}",
            "X-Request-Deadline-Ms": str(DEADLINE_MS),
        },
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + WITHIN_S
    while True:
        try:
            with opener.open(request, timeout=2 * DEADLINE_MS / 1_000) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            told = error.read().decode(errors="replace")[:500]
            if error.code not in _AGAIN or time.monotonic() > deadline:
                raise UseFailed(f"the API answers {error.code}: {told}") from error
        time.sleep(0.2)


def explain(stage: Stage, place: str) -> Json:
    """What ``baton explain`` says of a prediction's input, as JSON."""
    return _baton(stage, "explain", *place.split(), "--json")


def score_past(stage: Stage, start: datetime) -> tuple[Mapping[str, Any], int]:
    """Score the first days again from the warehouse; what the command says, and how many scores equal the stream's."""
    name = stage.definition.name
    period = ("--from", rfc3339(start), "--to", rfc3339(start + PAST))
    told = _baton(stage, "backfill", name, *period, "--name", "demonstration", "--json")
    again = sa.table(f"backfill_{name}_demonstration", sa.column("record_key"), sa.column("score"))
    same = (
        sa.select(sa.func.count())
        .select_from(again.join(predictions, again.c.record_key == predictions.c.record_key))
        .where(again.c.score == predictions.c.score)
    )
    engine = sa.create_engine(stage.local.predictions_url)
    with engine.connect() as connection:
        equal = connection.execute(same).scalar_one()
    engine.dispose()
    return told, equal


def _counts(engine: sa.Engine) -> tuple[int, int]:
    with engine.connect() as connection:
        return (
            connection.execute(sa.select(sa.func.count()).select_from(predictions)).scalar_one(),
            connection.execute(sa.select(sa.func.count()).select_from(dead_letters)).scalar_one(),
        )


def _baton(stage: Stage, *arguments: str) -> Json:
    command = [executable(stage.local, "baton"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WITHIN_S)
    if done.returncode:
        raise UseFailed(f"`baton {' '.join(arguments)}` ended with {done.returncode}: {done.stderr[-1_000:]}")
    return json.loads(done.stdout)
