"""The commands as a person or a script calls them: their words, their JSON and their exit statuses."""

import base64
import json
import os
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from confluent_kafka import Consumer, TopicPartition

from scoring.cli import main
from scoring.contract.manifest import Topics
from scoring.contract.progress import Progress
from scoring.contract.topics import NOTICES
from scoring.kafka import Options
from scoring.promotion.ledger import Ledger
from scoring.promotion.notices import KafkaNotices
from scoring.registry.folder import FolderRegistry
from scoring.settings import read_settings
from scoring.topics import ensure_topics
from scoring.worker.cache import Cache, LiveVersion, Memory, Remembered
from tests.support.arena import wait_until_settled
from tests.support.bundles import make_bundle
from tests.support.decisions import PASSED, proposal

pytestmark = pytest.mark.integration


class Said(msgspec.Struct, frozen=True):
    """What a command wrote, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Baton = Callable[..., Said]


@pytest.fixture
def baton(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Baton:
    """Runs a command in this process, as ``baton`` does."""

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["baton", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()  # click exits by itself, also with 0
        written = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Said(ended.value.code, written.out, written.err)

    return run


class Place:
    """Settings of a deployment of its own, with three registered versions."""

    def __init__(self, folder: Path, kafka: Options, model: str) -> None:
        self.folder, self.kafka, self.model = folder, kafka, model
        self.ledger_url = f"sqlite:///{folder / 'ledger.db'}"
        key = base64.b64encode(b"k" * 32).decode()
        (folder / "keys.json").write_text(json.dumps({"active": "k1", "keys": {"k1": key}}))
        self.digests = {
            str(number): make_bundle(folder / "registry" / model / str(number), number, model=model)
            for number in (1, 2, 3)
        }
        ensure_topics(kafka, [Topics.of(model)])

    def variables(self) -> dict[str, str]:
        return {
            "BATON_KAFKA_BOOTSTRAP": str(self.kafka["bootstrap.servers"]),
            "BATON_SIGNING_KEYS_FILE": str(self.folder / "keys.json"),
            "BATON_LEDGER_URL": self.ledger_url,
            "BATON_REGISTRY_URI": (self.folder / "registry").as_uri(),
            "BATON_CACHE_DIR": str(self.folder / "cache"),
            "BATON_MODELS": self.model,
            "BATON_DEPLOYMENT": self.model,
        }

    def ledger(self) -> Ledger:
        return Ledger.open(self.ledger_url)

    def decide(self, version: str) -> None:
        ledger = self.ledger()
        head = ledger.head(self.model)
        parent = head.sequence if head else 0
        ledger.decide(proposal(version, model=self.model, parent=parent, digest=self.digests[version]))

    def settle(self) -> None:
        """Wait until what was announced can be read."""
        wait_until_settled(str(self.kafka["bootstrap.servers"]), NOTICES)

    def announced(self) -> int | None:
        self.settle()
        settings = read_settings()
        found = KafkaNotices(settings.need_kafka(), settings.need_keyring(), self.ledger()).newest().get(self.model)
        return found.notice.sequence if found and found.notice else None


@pytest.fixture
def place(tmp_path: Path, kafka: Options, unique_name: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(tmp_path, kafka, unique_name("m"))
    for name, value in made.variables().items():
        monkeypatch.setenv(name, value)
    return made


def test_a_ledger_is_made_by_its_command_only(place: Place, baton: Baton) -> None:
    said = baton("ledger", "log", place.model)
    assert said.status == 2
    assert said.err.startswith("baton: there is no ledger at")
    assert "baton ledger migrate" in said.err
    assert not (place.folder / "ledger.db").exists()
    assert baton("ledger", "migrate").status == 0
    assert baton("ledger", "migrate").status == 0
    assert baton("ledger", "log", place.model).status == 0
    assert baton("ledger", "identity", "--json").document == {"ledger": str(place.ledger().identity())}


def test_a_promotion_by_hand_is_decided_announced_and_aliased(place: Place, baton: Baton) -> None:
    baton("ledger", "migrate")
    said = baton("promote", place.model, "1", "--reason", "first", "--force", "--actor", "ann", "--json")
    assert said.status == 0, said.err
    entry = said.document["entry"]
    assert (entry["sequence"], entry["version"], entry["actor"], entry["forced"]) == (1, "1", "ann", True)
    assert {action["copy"] for action in said.document["repaired"]["actions"]} == {"alias", "notice"}
    assert place.announced() == 1


def test_a_candidate_without_passed_gates_is_refused_in_one_line(place: Place, baton: Baton) -> None:
    baton("ledger", "migrate")
    said = baton("promote", place.model, "1", "--reason", "hope")
    assert said.status == 1
    assert said.err.count("\n") == 1
    assert said.err.startswith(f"baton: {place.model}: version 1 carries no verdict")
    assert place.announced() is None


def test_a_retry_with_the_same_run_id_decides_nothing_new(place: Place, baton: Baton) -> None:
    baton("ledger", "migrate")
    call = ("promote", place.model, "1", "--reason", "first", "--force", "--run-id", "nightly-7", "--json")
    assert baton(*call).document["entry"] == baton(*call).document["entry"]
    assert len(place.ledger().entries(place.model)) == 1


def test_on_another_head_than_the_named_one_nothing_is_decided(place: Place, baton: Baton) -> None:
    place.decide("1")
    said = baton("promote", place.model, "2", "--reason", "late", "--force", "--on", "0")
    assert said.status == 1
    assert "now has sequence 1" in said.err


def test_waiting_for_nobody_says_that_nobody_was_there(place: Place, baton: Baton) -> None:
    place.decide("1")
    said = baton("promote", place.model, "2", "--reason", "x", "--force", "--wait", "--limit", "1")
    assert said.status == 0, said.err
    assert "no worker was ever seen to serve" in said.out
    assert "sequence 2" in said.err


def test_a_rollback_says_what_it_did_and_what_it_cannot_do(place: Place, baton: Baton) -> None:
    place.decide("1")
    said = baton("rollback", place.model, "--reason", "worse")
    assert (said.status, "no champion before" in said.err) == (1, True)
    place.decide("2")
    said = baton("rollback", place.model, "--reason", "worse")
    assert said.status == 0, said.err
    assert f"{place.model}: sequence 3, rollback version 1" in said.out
    assert place.announced() == 3
    said = baton("promote", place.model, "2", "--reason", "again")
    assert said.status == 1


def test_a_model_is_retired_once_and_comes_back(place: Place, baton: Baton) -> None:
    said = baton("retire", place.model, "--reason", "given up")
    assert (said.status, "there is no ledger" in said.err) == (2, True)
    place.decide("1")
    said = baton("retire", place.model, "--reason", "given up", "--on", "7")
    assert (said.status, "now has sequence 1" in said.err) == (1, True)
    call = ("retire", place.model, "--reason", "given up", "--actor", "ann", "--run-id", "r1", "--json")
    said = baton(*call)
    assert said.status == 0, said.err
    entry = said.document["entry"]
    assert (entry["sequence"], entry["kind"], entry["version"], entry["actor"]) == (2, "retire", "1", "ann")
    assert place.announced() == 2
    assert not (place.folder / "registry" / place.model / ".aliases" / "champion").exists()
    said = baton("retire", place.model, "--reason", "again")
    assert (said.status, "is retired already, since sequence 2" in said.err) == (1, True)
    assert baton("promote", place.model, "2", "--reason", "back", "--force").status == 0
    assert baton(*call).document["entry"] == entry, "a retry returns the entry that it made"
    assert [kept.kind.value for kept in place.ledger().entries(place.model)] == ["promote", "retire", "promote"]
    listed = baton("versions", place.model, "--json").document
    assert [found["standing"] for found in listed] == ["superseded", "champion", "candidate"]


def test_retiring_waits_for_the_workers_where_asked_to(place: Place, baton: Baton) -> None:
    place.decide("1")
    said = baton("retire", place.model, "--reason", "given up", "--wait", "--limit", "1")
    assert said.status == 0, said.err
    assert "no worker was ever seen to serve" in said.out


def test_a_version_is_shown_with_its_standing_its_evidence_and_what_it_was_made_from(
    place: Place, baton: Baton
) -> None:
    baton("ledger", "migrate")
    said = baton("show", place.model)
    assert (said.status, "has no entry in the ledger" in said.err) == (1, True)
    for version in ("1", "2"):
        place.decide(version)
    baton("rollback", place.model, "--reason", "worse")
    shown = baton("show", place.model)
    assert shown.status == 0, shown.err
    lines = shown.out.splitlines()
    assert lines[0] == f"{place.model}: version 1, champion"
    assert "sequence 1, promote version 1" in lines[1]
    assert "sequence 3, rollback version 1" in lines[2]
    assert f"  manifest: {place.digests['1']}" in lines
    assert any(line.startswith("  rows: 1 for training, 1 held out from") for line in lines)
    assert baton("show", place.model, "2").out.splitlines()[0] == f"{place.model}: version 2, rolled back"
    document = baton("show", place.model, "3", "--json").document
    assert (document["standing"], document["entries"], document["problem"]) == ("candidate", [], None)
    assert document["manifest"]["model"] == place.model
    assert baton("show", place.model, "9").status == 2


def test_a_damaged_bundle_is_shown_with_what_the_ledger_knows_of_it(place: Place, baton: Baton) -> None:
    place.decide("1")
    (place.folder / "registry" / place.model / "1" / "model.onnx").write_bytes(b"damaged")
    said = baton("show", place.model)
    assert said.status == 1
    assert "the bundle must not be believed: " in said.out
    assert f"gate quality: pass: {PASSED[0].sentence} (0.67, limit 0.6)" in said.out
    assert baton("show", place.model, "--json").document["manifest"] is None


def test_a_registered_version_is_verified_against_the_ledger(place: Place, baton: Baton) -> None:
    place.decide("1")
    said = baton("verify", place.model, "1", "--json")
    assert said.status == 0, said.err
    assert said.document["passed"]
    assert said.document["manifest_digest"] == place.digests["1"]
    registry = place.folder / "registry" / place.model
    shutil.rmtree(registry / "1")
    shutil.copytree(registry / "2", registry / "1")
    said = baton("verify", place.model, "1")
    assert said.status == 1, "a sound bundle, but another one than the ledger names"
    assert f"{place.digests['1']} was announced" in said.out
    assert baton("verify", place.model, "2").status == 0
    assert baton("verify", place.model, "9").status == 2


def test_pruning_lists_then_deletes_what_nothing_needs(
    place: Place, baton: Baton, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = datetime(2020, 1, 1, tzinfo=UTC)
    registry = FolderRegistry(place.folder / "registry", now=lambda: old)
    for number in (4, 5, 6):
        make_bundle(place.folder / f"made-{number}", number, model=place.model)
        assert registry.register(place.model, place.folder / f"made-{number}", {}) == str(number)
    place.decide("1")
    left = place.folder / "pipeline" / "staged" / place.model / ("a" * 16)
    left.mkdir(parents=True)
    os.utime(left, (0, 0))
    monkeypatch.setenv("BATON_SNAPSHOT_DIR", str(place.folder / "pipeline"))
    listed = baton("prune", "--keep", "1", "--days", "7", "--dry-run")
    assert listed.status == 0, listed.err
    assert "2 would go, which frees" in listed.out
    document = baton("prune", place.model, "--keep", "1", "--dry-run", "--json").document
    assert [(item["what"], item["name"]) for item in document["planned"]["items"]] == [
        ("version", "5"),
        ("version", "4"),
    ]
    assert document["planned"]["items"][0]["size_bytes"] > 500
    assert document["pruned"] is None
    assert left.exists()
    said = baton("prune", "--keep", "1")
    assert said.status == 0, said.err
    assert f"deleted version 4 of {place.model}" in said.err
    assert [info.version for info in registry.versions(place.model)] == ["1", "2", "3", "6"]
    again = baton("prune", "--keep", "1", "--json").document
    assert (again["planned"]["items"], again["pruned"]["items"]) == ([], [])
    assert baton("prune", "--days", "0").status == 2


def test_pruning_with_a_ledger_that_does_not_know_the_champion_deletes_nothing(place: Place, baton: Baton) -> None:
    place.decide("1")
    baton("reconcile")
    (place.folder / "ledger.db").rename(place.folder / "lost.db")
    baton("ledger", "migrate")
    said = baton("prune", place.model, "--keep", "1", "--days", "1")
    assert said.status == 1
    assert "names version 1, which the ledger does not know" in said.err
    assert len(baton("versions", place.model, "--json").document) == 3


def test_reconcile_finds_and_removes_a_difference(place: Place, baton: Baton) -> None:
    place.decide("1")
    said = baton("reconcile", place.model, "--check")
    assert said.status == 1
    assert "the ledger is at sequence 1; the alias names none, must name 1; the notice is absent" in said.out
    assert "repaired to sequence 1" in baton("reconcile").out
    place.settle()
    assert baton("reconcile", "--check").status == 0
    said = baton("reconcile", "--json")
    assert said.document == [{"model": place.model, "sequence": 1, "version": "1", "actions": [], "error": None}]


def test_a_model_that_cannot_be_repaired_is_named_and_fails(place: Place, baton: Baton) -> None:
    place.decide("1")
    (place.folder / "registry").rename(place.folder / "away")
    said = baton("reconcile")
    assert said.status == 1
    assert f"{place.model}: not repaired: " in said.out


def test_versions_say_how_each_stands(place: Place, baton: Baton) -> None:
    for version in ("1", "2"):
        place.decide(version)
    baton("rollback", place.model, "--reason", "worse")
    listed = baton("versions", place.model, "--json").document
    assert [(found["version"], found["standing"], found["sequences"]) for found in listed] == [
        ("1", "champion", [1, 3]),
        ("2", "rolled back", [2]),
        ("3", "candidate", []),
    ]
    assert "rolled back" in baton("versions", place.model).out


def test_the_log_shows_every_entry_and_what_was_rolled_back(place: Place, baton: Baton) -> None:
    for version in ("1", "2"):
        place.decide(version)
    baton("rollback", place.model, "--reason", "worse")
    lines = baton("ledger", "log", place.model).out.splitlines()
    assert len(lines) == 4
    assert "2 (rolled back at 3)" in lines[2]
    assert len(baton("ledger", "log", place.model, "--json").document) == 3


def test_an_entry_is_shown_with_its_evidence(place: Place, baton: Baton) -> None:
    place.decide("1")
    shown = baton("ledger", "show", place.model).out
    assert f"gate quality: pass: {PASSED[0].sentence}" in shown
    assert baton("ledger", "show", place.model, "1", "--json").document["evidence"][0]["gate"] == "quality"
    said = baton("ledger", "show", place.model, "9")
    assert (said.status, said.err) == (1, f"baton: the ledger has no sequence 9 of {place.model}\n")


def test_as_of_answers_by_event_time_and_by_the_moment_of_the_decision(place: Place, baton: Baton) -> None:
    baton("ledger", "migrate")
    baton("promote", place.model, "1", "--reason", "x", "--force", "--effective-from", "2013-04-01T00:00:00Z")
    found = baton("ledger", "as-of", place.model, "2013-04-01T02:00:00+02:00", "--json").document
    assert found["effective_from"] == "2013-04-01T00:00:00Z"
    assert baton("ledger", "as-of", place.model, "2013-03-31T23:59:59Z").status == 1
    assert baton("ledger", "as-of", place.model, "2013-04-02T00:00:00Z", "--decided").status == 1


@pytest.mark.parametrize("moment", ["2013-04-01T00:00:00", "yesterday"])
def test_a_moment_that_is_not_one_is_wrong_usage(place: Place, baton: Baton, moment: str) -> None:
    said = baton("ledger", "as-of", place.model, moment)
    assert said.status == 2
    assert "2013-04-01T00:00:00Z" in said.err


def test_topics_are_created_and_checked(place: Place, baton: Baton, unique_name: Callable[[str], str]) -> None:
    model = unique_name("m")
    said = baton("topics", "check", "--models", model)
    assert said.status == 1
    assert f"baton: {model}.input is not there: run `baton topics create`" in said.err
    created = baton("topics", "create", "--models", model, "--partitions", "3")
    assert created.status == 0, created.err
    assert f"created {model}.input" in created.out
    assert baton("topics", "check", "--models", model, "--partitions", "3", "--json").document["deviations"] == []


def test_another_ledger_is_adopted_with_the_deployment_stopped(place: Place, baton: Baton) -> None:
    place.decide("1")
    settings, old, new = read_settings(), UUID(int=9), place.ledger().identity()
    live = LiveVersion(sequence=8, version="8", digest="0" * 64)
    remembered = Memory(ledger=old, models={place.model: Remembered(highest=8, live=live)})
    cache = Cache(settings.need_cache_dir(), f"{place.model}/0")
    cache.remember(remembered)
    Cache(settings.need_cache_dir(), f"{place.model}-other/0").remember(remembered)
    topic = Topics.of(place.model).input
    group = {**place.kafka, "group.id": f"baton-{place.model}", "enable.auto.commit": False}
    consumer = Consumer(group)
    consumer.commit(offsets=[TopicPartition(topic, 1, 42, Progress(old, 8).encode())], asynchronous=False)
    said = baton("adopt-ledger", "--yes", "--json")
    assert said.status == 0, said.err
    assert said.document == {"ledger": str(new), "workers": [f"{place.model}/0"], "partitions": [f"{topic}/1"]}
    assert cache.recall() == Memory(ledger=new)
    (committed,) = consumer.committed([TopicPartition(topic, 1)], timeout=20)
    consumer.close()
    assert (committed.offset, Progress.decode(committed.metadata)) == (42, Progress(new, 0))
    assert Cache(settings.need_cache_dir(), f"{place.model}-other/0").recall() == remembered
    again = baton("adopt-ledger", "--yes", "--json").document
    assert (again["workers"], again["partitions"]) == ([], [])


def test_no_ledger_is_adopted_while_a_worker_runs(place: Place, baton: Baton) -> None:
    place.decide("1")
    consumer = Consumer({**place.kafka, "group.id": f"baton-{place.model}", "group.instance.id": "0"})
    consumer.subscribe([Topics.of(place.model).input])
    while not consumer.assignment():
        consumer.poll(0.2)
    said = baton("adopt-ledger", "--ledger", str(uuid4()), "--yes")
    consumer.close()
    assert said.status == 1
    assert "still has members" in said.err


@pytest.mark.parametrize(
    "command",
    [
        "topics",
        "topics create",
        "ledger",
        "ledger as-of",
        "promote",
        "rollback",
        "retire",
        "reconcile",
        "versions",
        "show",
        "verify",
        "prune",
        "adopt-ledger",
    ],
)
def test_every_command_explains_itself(baton: Baton, command: str) -> None:
    said = baton(*command.split(), "--help")
    assert said.status == 0
    assert len(said.out.splitlines()) > 5


@pytest.mark.parametrize("name", ["BATON_LEDGER_URL", "BATON_REGISTRY_URI", "BATON_KAFKA_BOOTSTRAP"])
def test_a_missing_setting_is_named_before_anything_is_decided(
    place: Place, baton: Baton, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    baton("ledger", "migrate")
    monkeypatch.delenv(name)
    said = baton("promote", place.model, "1", "--reason", "x", "--force")
    assert said.status == 2
    assert name in said.err
    monkeypatch.undo()
    assert place.ledger().entries(place.model) == []
