"""What an attacker makes: forged messages and bundles, each aimed at going live if only one check were missing.

A forged notice names a bundle that is good and that nobody promoted; a forged bundle gives the scores that its golden
rows want. So whatever is believed wrongly shows as a model that is live.
"""

import hashlib
import hmac
import json
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from scoring.contract.acknowledgement import Acknowledgement, Outcome, Position, seal_acknowledgement
from scoring.contract.digest import digest_of
from scoring.contract.envelope import KEY_ID_HEADER, SIGNATURE_HEADER, Keyring, Sealed
from scoring.contract.heartbeat import Heartbeat, ModelStatus, State, seal_heartbeat
from scoring.contract.manifest import MANIFEST_FILE, Topics
from scoring.contract.notice import Kind, Notice, seal_notice
from tests.support.bundles import MOMENT, make_bundle

MODEL = "small"
LEDGER, OTHER_LEDGER = UUID(int=7), UUID(int=8)
SECRET = b"s" * 32
KEYRING = Keyring("k1", {"k1": SECRET})
# What the judge's worker has live when the campaign begins; everything below was there before.
LIVE_SEQUENCE = 1_000
# Ahead of everything that is ever live in a campaign: a forged message under it would count if it were believed.
AHEAD = 2_000_000
WORKER = "d/0"

Json = dict[str, Any]


class Message(msgspec.Struct, frozen=True):
    """A record for a control topic. ``kind`` is notice, acknowledgement or heartbeat."""

    kind: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


class BundleCase(msgspec.Struct, frozen=True):
    """A bundle in a registry, and what its validly signed notice says of it."""

    digest: str
    model: str = MODEL


class Parts(msgspec.Struct):
    """A bundle before it is written: its manifest as JSON (without files), and its files."""

    manifest: Json
    files: dict[str, bytes]

    def write(self, folder: Path, described: Mapping[str, Json] | None = None) -> str:
        """Write it with true digests, but for what ``described`` says of some files; returns the manifest's digest."""
        folder.mkdir(parents=True, exist_ok=True)
        files = {name: {"sha256": digest_of(c), "size_bytes": len(c)} for name, c in self.files.items()}
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        return write_manifest(folder, {**self.manifest, "files": {**files, **(described or {})}})


def write_manifest(folder: Path, manifest: Json | bytes) -> str:
    """Write a manifest as it is; returns its digest."""
    content = manifest if isinstance(manifest, bytes) else json.dumps(manifest, indent=1, sort_keys=True).encode()
    (folder / MANIFEST_FILE).write_bytes(content)
    return digest_of(content)


class Forge:
    """Makes the good things that are then spoiled.

    Args:
        root: a folder for templates.
        digest: of the good bundle that forged notices announce.
    """

    def __init__(self, root: Path, chooser: random.Random, *, model: str = MODEL, digest: str = "") -> None:
        self.chooser = chooser
        self.model = model
        self.topics = Topics.of(model)
        self._templates = {version: self._template(root / f"template-{version}", version, model) for version in (2, 3)}
        self._other = self._template(root / "template-other", 2, "other")
        self.digest = digest

    def parts(self, version: int = 2, *, other_model: bool = False) -> Parts:
        """A good bundle, in pieces."""
        template = self._other if other_model else self._templates[version]
        return Parts(json.loads(json.dumps(template.manifest)), dict(template.files))

    def notice(self, sequence: int, **changes: Any) -> Notice:
        """A notice that would be believed."""
        made = Notice(
            ledger=LEDGER,
            model=self.model,
            sequence=sequence,
            kind=Kind.PROMOTE,
            version="2",
            manifest_digest=self.digest,
            decided_at=MOMENT,
            effective_from=MOMENT,
        )
        return msgspec.structs.replace(made, **changes)

    def acknowledgement(self, sequence: int, **changes: Any) -> Acknowledgement:
        """An acknowledgement that would count."""
        made = Acknowledgement(
            ledger=LEDGER,
            model=self.model,
            sequence=sequence,
            version="2",
            worker=WORKER,
            instance="i1",
            outcome=Outcome.REFUSED,
            reason="forged",
            noticed_at=MOMENT,
            at=MOMENT,
        )
        return msgspec.structs.replace(made, **changes)

    def heartbeat(self, sequence: int, **changes: Any) -> Heartbeat:
        """A heartbeat that would make a worker count as live on a sequence, with every partition."""
        positions = tuple(
            Position(topic=self.topics.input, topic_id="t", partition=number, offset=9) for number in range(4)
        )
        status = ModelStatus(state=State.LIVE, sequence=sequence, version="2", positions=positions, lag=(0, 0, 0, 0))
        made = Heartbeat(
            worker=WORKER, instance="i1", counter=5_000, at=MOMENT, ledger=LEDGER, models={self.model: status}
        )
        return msgspec.structs.replace(made, **changes)

    def sealed(self, what: str, sequence: int, keyring: Keyring = KEYRING, **changes: Any) -> Message:
        """A message of a kind, signed."""
        time = MOMENT + timedelta(seconds=self.chooser.randrange(10_000))
        match what:
            case "notice":
                made = self.notice(sequence, **changes)
                found = seal_notice(made, source="forge", event_id=self.word(), time=time, keyring=keyring)
            case "acknowledgement":
                said = self.acknowledgement(sequence, **changes)
                found = seal_acknowledgement(said, event_id=self.word(), keyring=keyring)
            case _:
                beat = self.heartbeat(sequence, **changes)
                found = seal_heartbeat(beat, event_id=self.word(), keyring=keyring)
        return message(what, found)

    def word(self, letters: int = 12) -> str:
        """Some letters."""
        return "".join(self.chooser.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(letters))

    def _template(self, folder: Path, version: int, model: str) -> Parts:
        if not folder.exists():
            make_bundle(folder, version, model=model)
        manifest = json.loads((folder / MANIFEST_FILE).read_bytes())
        files = {name: (folder / name).read_bytes() for name in manifest["files"]}
        return Parts(manifest, files)


def message(kind: str, sealed: Sealed) -> Message:
    """What was sealed, as a record of its topic."""
    return Message(kind, sealed.key, sealed.value, [*sealed.headers])


def signed(kind: str, value: bytes, key: bytes, *, key_id: bytes = b"k1", secret: bytes = SECRET) -> Message:
    """Any bytes with a good signature."""
    signature = hmac.new(secret, value, hashlib.sha256).hexdigest().encode()
    return Message(kind, key, value, [(KEY_ID_HEADER, key_id), (SIGNATURE_HEADER, signature)])


def resigned(spoiled: Message, change: Callable[[Json], object]) -> Message:
    """A message whose event was changed by somebody who holds the key."""
    event = json.loads(spoiled.value or b"{}")
    change(event)
    return signed(spoiled.kind, json.dumps(event).encode(), spoiled.key or b"")


def rewritten(spoiled: Message, old: bytes, new: bytes) -> Message:
    """A message whose text was changed by somebody who holds the key."""
    value = spoiled.value or b""
    assert old in value, (old, value)
    return signed(spoiled.kind, value.replace(old, new, 1), spoiled.key or b"")


def now() -> datetime:
    """The time by the clock."""
    return datetime.now(UTC)
