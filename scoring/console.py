"""What the commands share: how they read moments and write tables and JSON, and how they open what they work on."""

import os
import pwd
import socket
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

import click
import msgspec

from scoring.contract.clock import rfc3339
from scoring.promotion.entry import LedgerEntry
from scoring.promotion.ledger import Ledger
from scoring.promotion.notices import KafkaNotices
from scoring.promotion.observer import LIMIT_S, Answer
from scoring.promotion.repair import Repaired, repair
from scoring.registry.port import Registry
from scoring.settings import Settings

EXIT_REFUSED = 1


class Moment(click.ParamType[datetime]):
    """A moment in RFC 3339, with its offset from UTC."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read it; a moment without an offset could mean any of two dozen."""
        if isinstance(value, datetime):
            return value
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a moment such as 2013-04-01T00:00:00Z", param, ctx)
        if found.tzinfo is None:
            self.fail(f"{value!r} has no offset from UTC; write {value}Z or {value}+01:00", param, ctx)
        return found


json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON for machines.")
actor_option = click.option("--actor", help="Who decides; by default the user and host that run the command.")
wait_option = click.option("--wait", is_flag=True, help="Wait until every live worker has it.")
limit_option = click.option(
    "--limit", "limit_s", default=LIMIT_S, show_default=True, type=click.FloatRange(min=0), help="Seconds to wait."
)
run_id_option = click.option(
    "--run-id", help="Name of this decision; a retry with the same name returns the entry that it made."
)


def echo_json(document: object) -> None:
    """Write a document as indented JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def echo_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write rows in columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    for row in (headings, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def default_actor() -> str:
    """``user@host`` of the process."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user may have no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def new_run_id() -> str:
    """A run id that nobody else has."""
    return f"command-{uuid4()}"


def open_ledger(settings: Settings) -> Ledger:
    """The ledger of the settings; a command never makes one by accident."""
    return Ledger.open(settings.need_ledger_url(), migrating=False)


def open_notices(settings: Settings, ledger: Ledger) -> KafkaNotices:
    """The notice board of the settings."""
    return KafkaNotices(settings.need_kafka(), settings.need_keyring(), ledger)


def require_copies(settings: Settings) -> None:
    """Raise ConfigurationError now rather than after a decision that could then not be announced."""
    settings.need_kafka()
    settings.need_keyring()


def follow_up(
    settings: Settings, ledger: Ledger, registry: Registry, entry: LedgerEntry, *, waiting: bool, limit_s: float
) -> tuple[Repaired, Answer | None]:
    """Announce a decision and, where asked for, wait for the workers, with progress on standard error.

    Raises:
        Unavailable, ConfigurationError: the decision stands, but its copies could not be written.
    """
    repaired = repair(entry.model, ledger, registry, open_notices(settings, ledger))
    if not waiting:
        return repaired, None
    from scoring.promotion.convergence import wait_until_converged  # noqa: PLC0415 - only where a command waits

    answer = wait_until_converged(
        entry,
        ledger=ledger,
        kafka=settings.need_kafka(),
        keyring=settings.need_keyring(),
        limit_s=limit_s,
        progress=lambda answer: click.echo(answer.sentence, err=True),
    )
    return repaired, answer


def echo_decision(entry: LedgerEntry, repaired: Repaired, answer: Answer | None, *, as_json: bool) -> None:
    """Say what was decided, what followed, and how it stands at the workers."""
    if as_json:
        echo_json({"entry": entry, "repaired": repaired, "convergence": answer})
        return
    click.echo(describe_entry(entry))
    for action in repaired.actions:
        click.echo(f"  {action.copy}: {action.was or 'none'} -> {action.now or 'none'}")
    if answer is not None:
        click.echo(f"  {answer.sentence}")


def describe_entry(entry: LedgerEntry) -> str:
    """An entry in one line."""
    forced = ", forced" if entry.forced else ""
    return (
        f"{entry.model}: sequence {entry.sequence}, {entry.kind.value} version {entry.version}{forced}, "
        f"by {entry.actor} at {rfc3339(entry.decided_at)}: {entry.reason}"
    )
