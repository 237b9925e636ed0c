"""The short forms of the benches on a real broker: that they measure, and that they notice who does not score right."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import flights as data
from bench import throughput
from bench.ground import INPUT, Ground, opened
from bench.throughput import CONTESTANTS

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning"),  # MLflow about its own functions
]
RECORDS = 40_000


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    prepared = data.prepare(tmp_path_factory.mktemp("flights"))
    with opened(prepared) as found:
        found.preload(INPUT, 2 * RECORDS)
        yield found


@pytest.mark.parametrize("name", ["baton", "pass-through"])
def test_a_contestant_is_measured_by_what_became_visible(ground: Ground, name: str) -> None:
    found = throughput.measure(ground, CONTESTANTS[name], RECORDS)
    assert 0 < found["records"] <= 2 * RECORDS  # how many are left behind the warm-up is the machine's affair
    assert found["records_per_s"] > 0
    assert found["processor_us_per_record"] >= 0  # in ticks of the system's clock
    assert found["scores_checked"] >= (RECORDS // 100 if name == "baton" else 0)


def test_a_contestant_that_does_not_score_is_no_contestant(ground: Ground) -> None:
    cheat = throughput.Contestant("cheat", RECORDS, CONTESTANTS["pass-through"].start, scores=True)
    with pytest.raises(RuntimeError, match="scores are wrong"):
        throughput.measure(ground, cheat, RECORDS)


def test_records_have_about_400_bytes_and_23_features(ground: Ground) -> None:
    sizes = [len(value) for _, value in ground.flights.messages]
    assert 350 < sum(sizes) / len(sizes) < 480
    assert len(ground.flights.parts.manifest.schema.features) == 23
    assert Path(ground.flights.folder).exists()
