"""The load gate: what it measures in a process of its own, and what it refuses."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scoring.contract.manifest import MANIFEST_FILE
from scoring.contract.verdict import Judgement
from scoring.scorer.probed import BatchTime, Probed
from tests.support.bundles import make_bundle
from training import load
from training.budget import P50_MS, P99_MS, LoadBudget
from training.gates.evidence import NotMeasured
from training.gates.load import gate
from training.load import allowed_s, probe
from training.results import LoadProbe, from_json, to_json

BUILT_FOR = {"baton": "0.1.0", "numpy": "2.4.6", "onnxruntime": "1.31.1", "python": "3.11.7"}
MEBIBYTE = 2**20


class Stub(msgspec.Struct):
    """As much of the evidence as the gate looks at."""

    load: LoadProbe | None
    budget: LoadBudget = LoadBudget()

    @property
    def definition(self) -> Any:
        return msgspec.defstruct("D", [("gates", Any)])(msgspec.defstruct("G", [("load", LoadBudget)])(self.budget))

    def evaluation(self) -> "Stub":
        return self


def judged(found: LoadProbe | None, budget: LoadBudget | None = None) -> Any:
    return gate(Stub(found, budget or LoadBudget()))  # type: ignore[arg-type]  # a stub of the evidence


def probed(
    *,
    share: float = 0.5,
    load_s: float = 0.2,
    peak_mib: int = 120,
    first_ms: float = 3.0,
    versions: Mapping[str, str | None] | None = None,
) -> LoadProbe:
    """A measurement whose micro-batches take ``share`` of the default budget."""
    present: dict[str, str | None] = {**BUILT_FOR, **(versions or {})}
    return LoadProbe(
        built_for=BUILT_FOR,
        probed=Probed(
            load_s=load_s,
            first_prediction_ms=first_ms,
            resident_bytes=peak_mib * MEBIBYTE,
            peak_bytes=peak_mib * MEBIBYTE,
            bundle_bytes=MEBIBYTE,
            batches=tuple(
                BatchTime(
                    records=size,
                    runs=100,
                    p50_ms=share * P50_MS[size],
                    p99_ms=share * P99_MS[size],
                    wall_p50_ms=9e9,
                    wall_p99_ms=9e9,
                )
                for size in P50_MS
            ),
            versions={name: number for name, number in present.items() if number is not None},
        ),
    )


def test_the_default_budget_is_as_it_was_fixed() -> None:
    assert LoadBudget() == LoadBudget(
        load_s=10.0,
        resident_bytes=2**30,
        first_prediction_ms=1_000.0,
        p50_ms={1: 5.0, 64: 10.0, 1_024: 50.0, 4_096: 200.0},
        p99_ms={1: 20.0, 64: 40.0, 1_024: 150.0, 4_096: 600.0},
    )
    assert list(LoadBudget().mistakes()) == []
    assert LoadBudget().sizes == (1, 64, 1_024, 4_096)


def test_a_bundle_within_its_budget_passes_with_the_measurement_nearest_to_its_limit() -> None:
    verdict = judged(probed(share=0.5))
    assert verdict.judgement is Judgement.PASS
    assert (verdict.value, verdict.limit) == (2.5, 5.0)
    assert "loading takes 0.2 s" in verdict.sentence
    assert "120 MiB" in verdict.sentence


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (probed(share=1.01), "half of the micro-batches of 1 take 5.05 ms \\(5 allowed\\)"),
        (probed(load_s=10.1), "loading takes 10.1 s \\(10 allowed\\)"),
        (probed(peak_mib=1_025), "it holds 1025 MiB of memory \\(1024 allowed\\)"),
        (probed(first_ms=1_001), "the first prediction takes 1001 ms"),
        (probed(versions={"onnxruntime": "1.30.9"}), "built for onnxruntime 1.31.1, but 1.30.9 is installed"),
        (probed(versions={"numpy": "1.99.0"}), "built for numpy 2.4.6, but 1.99.0 is installed"),
        (probed(versions={"baton": "0.0.9"}), "built for baton 0.1.0, but 0.0.9 is installed"),
        (probed(versions={"onnxruntime": None}), "built for onnxruntime 1.31.1, which is not installed"),
        (LoadProbe(refused="wrong SHA-256"), "wrong SHA-256"),
        (probed(load_s=float("nan")), "loading takes nan"),
    ],
)
def test_what_exceeds_the_budget_or_runs_on_older_packages_is_refused(found: LoadProbe, told: str) -> None:
    assert judged(probed()).judgement is Judgement.PASS
    verdict = judged(found)
    assert verdict.judgement is Judgement.FAIL
    assert re.search(told, verdict.sentence), verdict.sentence


@pytest.mark.parametrize(
    "versions",
    [
        {"onnxruntime": "1.31.0"},
        {"onnxruntime": "1.32.0"},
        {"onnxruntime": "2.0.0"},
        {"numpy": "2.10.0"},
        {"python": "3.13.1"},
        {"msgspec": "0.1"},
        {"onnxruntime": "1.31.1.post1"},
        {"baton": "0.1.0rc1"},
    ],
)
def test_newer_packages_and_other_patches_are_no_reason_to_refuse(versions: Mapping[str, str | None]) -> None:
    assert judged(probed(versions=versions)).judgement is Judgement.PASS


def test_what_was_not_measured_is_an_error_and_no_pass() -> None:
    for found in (None, LoadProbe(error="no such interpreter")):
        with pytest.raises(NotMeasured, match=r"not loaded|no such interpreter"):
            judged(found)


def test_a_micro_batch_of_the_budget_that_was_not_measured_is_an_error() -> None:
    with pytest.raises(NotMeasured, match=r"micro-batches of \[7\]"):
        judged(probed(), LoadBudget(p50_ms={7: 1.0}))


def test_a_budget_without_numbers_is_a_mistake() -> None:
    budget = LoadBudget(load_s=0, resident_bytes=-1, first_prediction_ms=float("nan"), p50_ms={}, p99_ms={0: 1.0})
    assert len(list(budget.mistakes())) == 5


# --- the process --------------------------------------------------------------------------------------------------


def with_environment(folder: Path, environment: Mapping[str, str]) -> None:
    document = msgspec.json.decode((folder / MANIFEST_FILE).read_bytes())
    document["environment"] = dict(environment)
    (folder / MANIFEST_FILE).write_bytes(msgspec.json.encode(document))


def test_a_bundle_is_measured_in_a_fresh_process_that_has_only_the_scoring_side(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", 1)
    with_environment(tmp_path / "bundle", dict.fromkeys(("baton", "numpy", "onnxruntime"), "0.0.1"))
    found = probe(tmp_path / "bundle")
    assert found.error is None
    assert found.refused is None
    assert found.probed is not None
    assert [batch.records for batch in found.probed.batches] == [1, 64, 1_024, 4_096]
    assert judged(found).judgement is Judgement.PASS, judged(found).sentence
    assert from_json(LoadProbe, to_json(found)) == found


def test_the_process_gets_no_setting_and_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", 1)
    seen: dict[str, str] = {}
    monkeypatch.setenv("BATON_LEDGER_URL", "postgresql://user:secret@host/ledger")
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")

    def started(_: list[str], *, env: dict[str, str], **rest: object) -> "subprocess.CompletedProcess[bytes]":
        seen.update(env)
        assert rest["timeout"] == allowed_s(LoadBudget()) * 5
        return subprocess.CompletedProcess([], 0, b"", b"")

    monkeypatch.setattr(subprocess, "run", started)
    probe(tmp_path / "bundle")
    assert seen["OMP_NUM_THREADS"] == "1"
    assert not [name for name in seen if name.startswith(("BATON_", "AIRFLOW"))]
    assert "secret" not in str(seen)


def test_another_interpreter_does_not_inherit_this_ones_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", 1)
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    found: list[dict[str, str]] = []

    def started(_: list[str], *, env: dict[str, str], **__: object) -> "subprocess.CompletedProcess[bytes]":
        found.append(env)
        return subprocess.CompletedProcess([], 0, b"", b"")

    monkeypatch.setattr(subprocess, "run", started)
    probe(tmp_path / "bundle", python=Path(sys.executable))
    probe(tmp_path / "bundle")
    assert [env.get("PYTHONPATH") for env in found] == [None, "/somewhere"]


def test_an_interpreter_that_is_not_there_is_an_error_and_no_pass(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", 1)
    found = probe(tmp_path / "bundle", python=tmp_path / "python")
    assert "cannot be started" in (found.error or "")


def test_a_process_that_hangs_is_ended_and_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", 1)
    hanging = tmp_path / "python"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(load, "allowed_s", lambda _: 0.1)
    found = probe(tmp_path / "bundle", python=hanging)
    assert "was ended after" in (found.refused or "")


def test_a_bundle_beyond_three_times_its_memory_is_refused(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", 1)
    found = probe(tmp_path / "bundle", budget=LoadBudget(resident_bytes=MEBIBYTE // 16))
    assert found.probed is None
    assert found.refused


def test_a_damaged_bundle_is_refused_with_its_reason(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", 1)
    (tmp_path / "bundle" / "model.onnx").write_bytes(b"damaged")
    assert "wrong SHA-256" in (probe(tmp_path / "bundle").refused or "")
