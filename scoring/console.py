"""What the commands share: how they read moments and write tables and JSON, open what they work on, and decide."""

import functools
import os
import pwd
import re
import shutil
import socket
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import click
import msgspec

from scoring.contract.clock import rfc3339
from scoring.contract.manifest import Topics
from scoring.contract.notice import Kind
from scoring.contract.verdict import Verdict
from scoring.letters.text import harmless, harmless_json
from scoring.promotion import naming
from scoring.promotion.entry import LedgerEntry
from scoring.promotion.ledger import Ledger
from scoring.promotion.notices import KafkaNotices
from scoring.promotion.observer import LIMIT_S, Answer
from scoring.promotion.repair import Repaired, repair
from scoring.promotion.rules import rolled_back
from scoring.registry.open import open_registry
from scoring.registry.port import Registry
from scoring.settings import Settings, read_settings

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
            whole = found.isoformat()  # a date alone takes no offset
            self.fail(f"{value!r} has no offset from UTC; write {whole}Z or {whole}+01:00", param, ctx)
        try:
            return found.astimezone(UTC)
        except OverflowError:
            self.fail(f"{value!r} lies outside of the years 1 to 9999 in UTC", param, ctx)


_UNITS_S = {"s": 1, "min": 60, "h": 3_600, "d": 86_400}


class Length(click.ParamType[int]):
    """A length of time in seconds: ``90s``, ``10min``, ``6h``, ``1d``."""

    name = "length"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"([1-9][0-9]{0,6})(s|min|h|d)", value)
        if found is None:
            self.fail(f"{value!r} is not a length of time such as 90s, 10min, 6h or 1d", param, ctx)
        return int(found[1]) * _UNITS_S[found[2]]


class WithDefault(click.Group):
    """A group in which what is no command's name is a model's: ``baton backfill MODEL`` is ``… run MODEL``."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; of a model's name, the one that runs."""
        return super().get_command(ctx, cmd_name) or super().get_command(ctx, "run")

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """A model's name is the first argument of the command that runs."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            return super().resolve_command(ctx, ["run", *args])
        return super().resolve_command(ctx, args)


topics_option = click.option(
    "--topics",
    "named_topics",
    metavar="INPUT,PREDICTIONS,DEAD-LETTERS",
    help="The model's topics, instead of those that its champion's manifest names.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON for machines.")
head_option = click.option(
    "--on", "while_head", type=click.IntRange(min=0), help="Only while this sequence is the ledger's head."
)
_DECISION_OPTIONS = (
    click.option("--reason", required=True, help="Why, for those who read the ledger later."),
    click.option("--actor", help="Who decides; by default the user and host that run the command."),
    click.option("--run-id", help="Name of this decision; a retry with the same name returns the entry that it made."),
    click.option("--wait", is_flag=True, help="Wait until every live worker has it."),
    click.option(
        "--limit", "limit_s", default=LIMIT_S, show_default=True, type=click.FloatRange(min=0), help="Seconds to wait."
    ),
    json_option,
)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a command that decides was told, whatever it decides.

    Attributes:
        wait: whether to wait, at most ``limit_s``, until every live worker has it.
    """

    reason: str
    actor: str
    run_id: str
    wait: bool
    limit_s: float
    as_json: bool


def decision_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that every decision has; it gets what they say as ``asked``."""

    @functools.wraps(command)
    def asking(
        *, reason: str, actor: str | None, run_id: str | None, wait: bool, limit_s: float, as_json: bool, **own: Any
    ) -> None:
        asked = Asked(
            reason=reason,
            actor=actor or default_actor(),
            run_id=run_id or new_run_id(),
            wait=wait,
            limit_s=limit_s,
            as_json=as_json,
        )
        command(asked=asked, **own)

    decorated: Callable[..., None] = asking
    for option in reversed(_DECISION_OPTIONS):
        decorated = option(decorated)
    return decorated


def carry_out(asked: Asked, decide: Callable[[Ledger, Registry], LedgerEntry]) -> None:
    """Decide, announce, wait where asked to, tell; ends the process with status 1 where the workers do not follow.

    Raises:
        ConfigurationError: a setting is missing; nothing was decided.
        BatonError: of ``decide``; and Unavailable where the decision stands, but its copies could not be written.
    """
    settings = read_settings()
    # Now, rather than after a decision that could then not be announced.
    settings.need_kafka()
    settings.need_keyring()
    ledger, registry = open_ledger(settings), open_registry(settings.need_registry_uri())
    entry = decide(ledger, registry)
    repaired, answer = _follow_up(settings, ledger, registry, entry, asked)
    _echo_decision(entry, repaired, answer, as_json=asked.as_json)
    sys.exit(EXIT_REFUSED if answer and not answer.green else 0)


def echo_json(document: object) -> None:
    """Write a document as indented JSON; the same document, but nothing in it commands a terminal."""
    click.echo(harmless_json(msgspec.json.format(msgspec.json.encode(document), indent=2).decode()))


def echo_lines(lines: Iterable[str]) -> None:
    """Write lines that may hold somebody else's text; on a terminal, folded to its width."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in lines:
        for part in (harmless(line),) if width is None else folded(harmless(line), width):
            click.echo(part)


def folded(line: str, width: int) -> list[str]:
    """A line in parts of at most ``width`` characters; those that follow are indented further."""
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.wrap(
        line, width, subsequent_indent=indent, break_on_hyphens=False, drop_whitespace=True, replace_whitespace=False
    ) or [""]


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


def topics_of(settings: Settings, model: str, named: str | None = None) -> Topics:
    """A model's topics: those that somebody named, those of its champion's manifest, or by their standard names.

    Args:
        named: ``INPUT,PREDICTIONS,DEAD-LETTERS``.

    Raises:
        ConfigurationError: ``named`` is not that.
    """
    if named is not None:
        return naming.named_topics(named)
    return naming.topics_of(
        settings,
        model,
        lambda error: click.echo(f"baton: the topics of {model} are taken by their standard names: {error}", err=True),
    )


def open_notices(settings: Settings, ledger: Ledger) -> KafkaNotices:
    """The notice board of the settings."""
    return KafkaNotices(settings.need_kafka(), settings.need_keyring(), ledger)


def _follow_up(
    settings: Settings, ledger: Ledger, registry: Registry, entry: LedgerEntry, asked: Asked
) -> tuple[Repaired, Answer | None]:
    """Announce a decision and, where asked for, wait for the workers, with progress on standard error."""
    repaired = repair(entry.model, ledger, registry, open_notices(settings, ledger))
    if not asked.wait:
        return repaired, None
    from scoring.promotion.convergence import wait_until_converged  # noqa: PLC0415 - only where a command waits

    answer = wait_until_converged(
        entry,
        ledger=ledger,
        kafka=settings.need_kafka(),
        keyring=settings.need_keyring(),
        limit_s=asked.limit_s,
        progress=lambda answer: click.echo(answer.sentence, err=True),
    )
    return repaired, answer


def _echo_decision(entry: LedgerEntry, repaired: Repaired, answer: Answer | None, *, as_json: bool) -> None:
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


def standing_of(version: str, entries: Sequence[LedgerEntry]) -> str:
    """How a version stands: champion, retired, rolled back, superseded (was champion), or candidate (never was).

    Args:
        entries: all of the model's, in the order of their sequence.
    """
    own = [entry for entry in entries if entry.version == version]
    if not own:
        return "candidate"
    if own[-1] is entries[-1]:
        return "retired" if own[-1].kind is Kind.RETIRE else "champion"
    return "rolled back" if own[-1].manifest_digest in rolled_back(entries) else "superseded"


def verdict_lines(verdicts: tuple[Verdict, ...]) -> Iterator[str]:
    """A line per verdict, with its number and limit where it has them."""
    if not verdicts:
        yield "  no verdict of any gate"
    for verdict in verdicts:
        numbers = "" if verdict.value is None else f" ({verdict.value:.6g}"
        if numbers:
            numbers += ")" if verdict.limit is None else f", limit {verdict.limit:.6g})"
        yield f"  gate {verdict.gate}: {verdict.judgement.value}: {verdict.sentence}{numbers}"


def size_text(size_bytes: int | None) -> str:
    """A size for people: ``1.2 MB``; a dash where it is not known."""
    if size_bytes is None:
        return "-"
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
