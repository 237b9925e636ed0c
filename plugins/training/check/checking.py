"""The whole check of one model: its definition, its source, and a sample of it through the pipeline."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec

from scoring.contract.clock import epoch_s
from scoring.contract.errors import BatonError
from scoring.lookups.database import Engines
from scoring.settings import Settings
from training.check import columns as values
from training.check import loading, parts, sample
from training.check.as_worker import Scored, score
from training.check.drawing import drawn
from training.check.findings import Checked, Finding, Level, Sampled, Section
from training.check.judging import judged, verdict_findings
from training.check.outline import Outline
from training.check.rehearsal import Rehearsed, Watch, rehearse
from training.check.several import Several
from training.check.source import Table, end_of
from training.definition import ModelDefinition


def check(folder: Path, model: str, settings: Settings, *, most: int, now: datetime, watch: Watch) -> Checked:
    """Everything that can be said about a model without a scheduler, a broker, a registry or a ledger.

    Args:
        folder: of the model definitions.
        most: rows of the sample; 0 takes all.

    Raises:
        ConfigurationError: no file of the folder defines the model.
    """
    path = loading.file_of(folder, model)
    definition, outline, findings = watch("definition", loading.load, path, model)
    answer = _with(Checked(model=model, file=str(path)), findings)
    if definition is not None and outline is not None and answer.fine:
        answer = msgspec.structs.replace(answer, task=definition.task.value)
        answer = _OfData(definition, outline, settings, most, now, watch).added_to(answer)
    return msgspec.structs.replace(answer, steps=watch.seconds)


# Copies rows of an interval into a folder: at most so many.
Take = Callable[[Path, datetime, datetime, int], sample.Taken]


class _OfData(msgspec.Struct, frozen=True):
    """What the data of a definition say."""

    definition: ModelDefinition
    outline: Outline
    settings: Settings
    most: int
    now: datetime
    watch: Watch

    def added_to(self, answer: Checked) -> Checked:
        """The answer with what source and sample say."""
        engines = Engines(self.settings.need_connection)
        try:
            return self._of_source(answer, engines)
        except BatonError as error:
            keyword = "source" if self.definition.source is not None else "sources"
            return _with(answer, [self._finding(Section.SOURCE, str(error), keyword, "connection")])
        finally:
            engines.close()

    def _of_source(self, answer: Checked, engines: Engines) -> Checked:
        first, *others = self.definition.all_sources
        if others or first.origin is not None:
            return self._of_several(answer, engines)
        source = Table(self.definition, first, engines, self.outline, self.now)
        missing = self.watch("source", source.missing)
        answer = _with(answer, missing or source.written())
        if not answer.fine:
            return answer
        facts = self.watch("facts", source.facts)
        answer = _with(answer, source.findings(facts))
        if facts.last is None:
            return answer
        return self._of_sample(answer, partial(sample.take, self.definition, engines, self.outline), facts.last)

    def _of_several(self, answer: Checked, engines: Engines) -> Checked:
        several = Several(self.definition, engines, self.settings, self.outline, self.now)
        answer = _with(answer, self.watch("source", several.declared))
        if not answer.fine:
            return answer
        facts, found = self.watch("facts", several.facts)
        answer = _with(answer, found)
        if facts is None:
            return answer
        answer = _with(answer, several.of_facts(facts))
        return answer if facts.last is None else self._of_sample(answer, several.take, facts.last)

    def _of_sample(self, answer: Checked, take: Take, last: datetime) -> Checked:
        with tempfile.TemporaryDirectory(prefix="baton-check-") as scratch:
            return self._of_rows(answer, take, end_of(last, self.now), Path(scratch))

    def _of_rows(self, answer: Checked, take: Take, end: datetime, scratch: Path) -> Checked:
        start, _ = self.definition.interval_ending(end)
        taken = self.watch("sample", take, scratch, start, end, self.most)
        sampled = Sampled(
            rows=taken.rows,
            sampled=taken.sampled,
            every=taken.every,
            start=start,
            end=end,
            holdout_start=self.definition.holdout_start(end),
        )
        answer = msgspec.structs.replace(_with(answer, taken.findings), sample=sampled)
        if not taken.url or not taken.sampled:
            return answer
        own = _settings(self.settings, taken.url, scratch)
        done = rehearse(taken.definition, own, start, end, self.now, self.watch)
        found = [*self._values(done, sampled), *verdict_findings(done, self.definition, self.outline, taken.every)]
        answer = _with(answer, found)
        try:
            scored = None if done.bundle is None else self.watch("score", score, done, taken.definition, own)
        except BatonError as error:
            answer, scored = _with(answer, [self._finding(Section.SCORING, str(error), "lookups")]), None
        return self._whole(answer, sampled, done, scored)

    def _values(self, done: Rehearsed, sampled: Sampled) -> Iterator[Finding]:
        if not done.columns:
            return
        rows = values.rows_of(
            self.definition,
            self.outline,
            done.columns,
            holdout_start_s=epoch_s(sampled.holdout_start),
            every=sampled.every,
            now_s=epoch_s(self.now),
        )
        yield from values.column_findings(rows)
        yield from parts.split_findings(rows)
        yield from parts.skew_findings(rows)
        yield from parts.early_label(rows, done.snapshot.labels_not_yet_known if done.snapshot else 0)
        yield from values.lookup_findings(rows)

    def _whole(self, answer: Checked, sampled: Sampled, done: Rehearsed, scored: Scored | None) -> Checked:
        """The answer with the numbers of the steps, and with what stopped them where nothing else says it."""
        answer = _with(answer, scored.findings if scored else ())
        if done.stopped is not None:
            found = self._finding(done.stopped.section, done.stopped.sentence, done.stopped.about or "source")
            answer = _with(answer, [found if answer.fine else _because(found)])
        if done.trained is not None:
            rows = {"training_rows": done.trained.training_rows, "holdout_rows": done.trained.holdout_rows}
            sampled = msgspec.structs.replace(sampled, **rows)
        return msgspec.structs.replace(
            answer,
            sample=sampled,
            judged=judged(done, self.definition),
            drawn=None if scored is None else drawn(self.definition, scored.scores, scored.targets),
        )

    def _finding(self, section: Section, sentence: str, keyword: str, *texts: str) -> Finding:
        line = self.outline.line_of(keyword, *texts)
        return Finding(section=section, level=Level.ERROR, sentence=sentence, file=self.outline.file, line=line)


def _because(found: Finding) -> Finding:
    """What stopped the steps, where other findings say why already."""
    return msgspec.structs.replace(found, level=Level.NOTE, sentence=f"it went no further: {found.sentence}")


def _settings(settings: Settings, url: str, scratch: Path) -> Settings:
    """Folders and a ledger of the check's own; the connections that lookups need, and the sample's."""
    return Settings(
        connections={**settings.connections, sample.CONNECTION: url},
        snapshot_dir=scratch / "pipeline",
        ledger_url=f"sqlite:///{scratch / 'ledger.db'}",
        scoring_python=settings.scoring_python,
    )


def _with(answer: Checked, found: Iterable[Finding]) -> Checked:
    """The answer with further findings, section by section and the heaviest first."""
    sections, levels = list(Section), list(Level)
    ordered = sorted(
        [*answer.findings, *found], key=lambda each: (sections.index(each.section), levels.index(each.level))
    )
    return msgspec.structs.replace(answer, findings=tuple(ordered))
