"""Sources that are not one table: each is asked by itself, then all are put together as a run does it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
import numpy as np

from scoring.contract.clock import epoch_s, from_epoch_s
from scoring.contract.encoder import Column
from scoring.contract.errors import BatonError
from scoring.contract.source import Api, Source
from scoring.lookups.database import Engines
from scoring.settings import Settings
from scoring.sources.joined import assemble, plan
from scoring.sources.open import Sources
from scoring.sources.port import Pull
from training.check.findings import Finding, Level, Section
from training.check.outline import Outline
from training.check.sample import Taken, every_of, written
from training.check.source import Facts, Table, fact_findings, line_of_source
from training.definition import ModelDefinition
from training.rows import at, missing

# Shares of the records for which a joined source has something: below them something is told.
SILENT, SELDOM = 0.01, 0.5


class Several:
    """The sources of a definition, to be asked.

    Args:
        now: what counts as the future.
    """

    def __init__(
        self, definition: ModelDefinition, engines: Engines, settings: Settings, outline: Outline, now: datetime
    ) -> None:
        self._definition = definition
        self._engines = engines
        self._settings = settings
        self._outline = outline
        self._now = now

    def declared(self) -> list[Finding]:
        """What connections and tables lack, of all sources together; files and APIs show it when they are read."""
        return [finding for source in self._definition.all_sources for finding in self._declared(source)]

    def _declared(self, source: Source) -> Iterator[Finding]:
        try:
            if source.connection:
                self._settings.need_connection(source.connection)
            if source.origin is None:
                table = Table(self._definition, source, self._engines, self._outline, self._now)
                yield from table.missing() or table.written()
        except BatonError as error:
            yield self._finding(source, Level.ERROR, str(error))
        known = {field.name for field in self._definition.known_fields}
        if source.join is not None and source.join.valid_at is None and known & {name for name, _ in source.columns}:
            told = f"source {source.title!r} is joined by key alone: nothing says when its rows became known"
            yield self._finding(source, Level.NOTE, told, "make sure that it was before the event, or join it as_of")

    def facts(self) -> tuple[Facts | None, list[Finding]]:
        """Counts and times of the records of all sources that hold any; None, and why, where one cannot be read."""
        found, findings = list[Facts](), list[Finding]()
        with Sources(self._settings.need_connection) as reader:
            for source in self._definition.all_sources:
                try:
                    found += [self._facts(source, reader)] if source.join is None else []
                except BatonError as error:
                    findings.append(self._finding(source, Level.ERROR, str(error)))
        return (None if findings else _together(found)), findings

    def _facts(self, source: Source, reader: Sources) -> Facts:
        if source.origin is None:
            return Table(self._definition, source, self._engines, self._outline, self._now).facts()
        key, event_time = self._definition.key, self._definition.event_time
        columns = tuple(pair for pair in source.columns if pair[0] in {key, event_time})
        start, end = self._definition.interval_ending(self._now)
        pull = Pull(
            source=msgspec.structs.replace(source, columns=columns),
            kinds=self._definition.source_types,
            event_time=event_time if isinstance(source.origin, Api) else None,
            start=start,
            end=end,
        )
        read = reader.read(pull)
        return _facts_of(read[key], np.asarray(read[event_time], dtype=np.float64), epoch_s(self._now))

    def of_facts(self, facts: Facts) -> Iterator[Finding]:
        """What the facts say."""
        for finding in fact_findings(self._definition, facts, self._now):
            line = None if finding.about is None else self._outline.line_of_column(finding.about)
            yield msgspec.structs.replace(finding, file=self._outline.file, line=line or self._line())

    def take(self, folder: Path, start: datetime, end: datetime, most: int) -> Taken:
        """Read all of ``[start, end)`` as a run does, and keep at most ``most`` rows; every source that fails is told.

        Raises:
            ConfigurationError: a source has two rows of one key.
        """
        definition, sources = self._definition, self._definition.all_sources
        pulls = plan(sources, definition.source_types, definition.event_time, start, end)
        read, findings = self._read(sources, pulls)
        if findings:
            return Taken(rows=0, sampled=0, every=1, definition=definition, url="", findings=findings)
        columns = assemble(sources, pulls, read)
        rows = len(columns[definition.key])
        every = every_of(rows, most)
        order = np.argsort(np.asarray(columns[definition.event_time], dtype=np.float64), kind="stable")
        taken = {name: at(column, order[every // 2 :: every]) for name, column in columns.items()}
        told = written(definition, folder, taken, rows, every)
        return msgspec.structs.replace(told, findings=[*self._silent(columns, rows)])

    def _read(self, sources: Sequence[Source], pulls: Sequence[Pull]) -> tuple[list[dict[str, Column]], list[Finding]]:
        read, findings = list[dict[str, Column]](), list[Finding]()
        with Sources(self._settings.need_connection) as reader:
            for source, pull in zip(sources, pulls, strict=True):
                try:
                    read.append(reader.read(pull))
                except BatonError as error:
                    findings.append(self._finding(source, Level.ERROR, str(error)))
        return read, findings

    def _silent(self, columns: Mapping[str, Column], rows: int) -> Iterator[Finding]:
        """Joined sources that add something to no record, or to few."""
        for source in self._definition.all_sources:
            if source.join is None or rows == 0:
                continue
            share = float(np.logical_or.reduce([~missing(columns[name]) for name, _ in source.columns]).mean())
            if share < SELDOM:
                matched = ", ".join(f"{column} = {field}" for column, field in source.join.match)
                told = f"source {source.title!r} adds something to {share:.1%} of the records"
                remedy = (
                    f"does {matched} match, also in letter case and type? Are its rows within max_age of the events?"
                )
                yield self._finding(source, Level.ERROR if share < SILENT else Level.WARNING, told, remedy)

    def _finding(self, source: Source, level: Level, sentence: str, remedy: str = "") -> Finding:
        return Finding(
            section=Section.SOURCE,
            level=level,
            sentence=sentence if repr(source.title) in sentence else f"source {source.title!r}: {sentence}",
            remedy=remedy,
            file=self._outline.file,
            line=line_of_source(self._outline, source),
        )

    def _line(self) -> int | None:
        return line_of_source(self._outline, self._definition.all_sources[0])


def _facts_of(keys: Column, times: np.typing.NDArray[np.float64], now_s: float) -> Facts:
    there = times[np.isfinite(times)]
    past = there[there <= now_s]
    without_key = int(missing(keys).sum())
    return Facts(
        rows=len(times),
        keys=len({key for key, gone in zip(list(keys), missing(keys).tolist(), strict=True) if not gone}),
        without_time=len(times) - len(there),
        without_key=without_key,
        ahead=len(there) - len(past),
        first=from_epoch_s(float(there.min())) if len(there) else None,
        last=from_epoch_s(float(past.max())) if len(past) else None,
    )


def _together(found: Sequence[Facts]) -> Facts:
    """Keys that are in two sources are told of later, by the pipeline's own rules."""
    firsts = [each.first for each in found if each.first is not None]
    lasts = [each.last for each in found if each.last is not None]
    return Facts(
        rows=sum(each.rows for each in found),
        keys=sum(each.keys for each in found),
        without_time=sum(each.without_time for each in found),
        without_key=sum(each.without_key for each in found),
        ahead=sum(each.ahead for each in found),
        first=min(firsts, default=None),
        last=max(lasts, default=None),
    )
