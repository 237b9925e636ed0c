"""Look-ahead: every way to score a period with a model that may know it, each refused, and what touches it, not."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from scoring.backfill.asked import Asked, asked_for
from scoring.backfill.prepare import Prepared, prepare
from scoring.backfill.refusals import BackfillRefused
from scoring.contract.errors import ConfigurationError
from scoring.contract.notice import Kind
from scoring.registry.folder import FolderRegistry
from scoring.scorer.bundle import open_bundle
from scoring.settings import Settings
from tests.support.past import DAY, FIRST, MODEL, Past, day, make_past

NEW_YORK = ZoneInfo("America/New_York")
MICROSECOND = timedelta(microseconds=1)
LONG_AGO = FIRST - 40 * DAY, FIRST - 30 * DAY


@pytest.fixture
def past(tmp_path: Path) -> Past:
    return make_past(tmp_path)


def prepared(past: Past, asked: Asked) -> Prepared:
    settings = Settings(
        ledger_url=past.environment["BATON_LEDGER_URL"],
        connections={"warehouse": past.environment["BATON_CONNECTIONS__WAREHOUSE"]},
    )
    return prepare(asked, settings, past.folder / "bundles", bring_from(past.registry))


def bring_from(registry: FolderRegistry) -> Callable[[str, str, str | None, Path], None]:
    """Fetched as ever, but tried in this process: what is shown here is what is refused before."""

    def bring(model: str, version: str, digest: str | None, folder: Path) -> None:
        registry.fetch(model, version, folder)
        open_bundle(folder, digest)

    return bring


Ask = tuple[datetime, datetime, str | None]


def champion_trained_later(past: Past) -> Ask:
    """A forced promotion counts from before the end of its own data."""
    past.register(1, start=day(-30), end=day(3))
    past.promote(1, effective_from=day(0), forced=True)
    return day(0), day(4), None


def champion_judged_on_the_period(past: Past) -> Ask:
    """It was fitted on what lay before, but its gates chose it by the period: the holdout."""
    past.register(1, start=day(-30), end=day(2), holdout_start=day(0))
    past.promote(1, effective_from=day(0), forced=True)
    return day(0), day(1), None


def champion_refitted_on_its_holdout(past: Past) -> Ask:
    past.register(1, start=day(-30), end=day(2), holdout_start=day(0), refitted_on_holdout=True)
    past.promote(1, effective_from=day(0), forced=True)
    return day(0), day(1), None


def champion_that_knows_later_labels(past: Past) -> Ask:
    """Its events end where the period begins, but their labels became known a day later."""
    past.register(1, start=day(-30), end=day(0), known_by=day(1))
    past.promote(1, effective_from=day(0))
    return day(0), day(4), None


def second_of_two_champions(past: Past) -> Ask:
    past.register(1, start=LONG_AGO[0], end=LONG_AGO[1])
    past.promote(1, effective_from=day(0))
    past.register(2, start=day(-30), end=day(3))
    past.promote(2, effective_from=day(2))
    return day(0), day(4), None


def rollback_to_a_version_that_saw_it(past: Past) -> Ask:
    past.register(1, start=day(-30), end=day(2))
    past.promote(1, effective_from=day(2))
    past.register(2, start=day(-30), end=day(2))
    past.promote(2, effective_from=day(3))
    past.promote(1, effective_from=day(1), kind=Kind.ROLLBACK)
    return day(1), day(4), None


def named_version_trained_on_it(past: Past) -> Ask:
    past.register(1, start=day(-30), end=day(4))
    return day(0), day(4), "1"


def named_version_trained_on_a_part_of_it(past: Past) -> Ask:
    past.register(1, start=day(1), end=day(2))
    return day(0), day(4), "1"


def named_version_trained_on_what_came_after(past: Past) -> Ask:
    """It saw none of these records, but their future."""
    past.register(1, start=day(10), end=day(20))
    return day(0), day(4), "1"


def named_version_that_begins_where_the_period_ends(past: Past) -> Ask:
    past.register(1, start=day(4), end=day(20))
    return day(0), day(4), "1"


def named_version_that_is_champion_later(past: Past) -> Ask:
    """To count as champion from when it may is no excuse for scoring what lies before."""
    past.register(1, start=day(-30), end=day(4))
    past.promote(1, effective_from=day(4))
    return day(0), day(4), "1"


def candidate_of_a_training_backfill(past: Past) -> Ask:
    """It counts as asked for at the end of its interval, was never promoted, and is named by hand."""
    past.register(1, start=day(-30), end=day(2), known_by=day(2))
    return day(1), day(3), "1"


def one_microsecond_before_the_end_of_its_data(past: Past) -> Ask:
    past.register(1, start=day(-30), end=day(2))
    return day(2) - MICROSECOND, day(3), "1"


def one_microsecond_before_its_last_label(past: Past) -> Ask:
    past.register(1, start=day(-30), end=day(1), known_by=day(2))
    return day(2) - MICROSECOND, day(3), "1"


def labels_known_before_the_end_of_its_events(past: Past) -> Ask:
    """The later of the two counts: the events themselves were seen."""
    past.register(1, start=day(-30), end=day(2), known_by=day(1))
    return day(1), day(3), "1"


def bundle_from_before_labels_were_dated(past: Past) -> Ask:
    past.register(1, start=day(-30), end=day(2), known_by=None)
    return day(1), day(3), "1"


def bundle_from_before_labels_were_dated_asked_for_late(past: Past) -> Ask:
    """Nothing says which labels it knows: it may be all that were known when it was asked for."""
    past.register(1, start=day(-30), end=day(0), known_by=None, created_at=day(2))
    return day(1), day(3), "1"


def version_that_is_promoted_again_after_a_rollback(past: Past) -> Ask:
    """Its second time as champion begins before the end of its data, while its first did not."""
    past.register(1, start=LONG_AGO[0], end=LONG_AGO[1])
    past.promote(1, effective_from=day(0))
    past.register(2, start=day(-30), end=day(2))
    past.promote(2, effective_from=day(3))
    past.promote(1, effective_from=day(0.5), kind=Kind.ROLLBACK)
    past.promote(2, effective_from=day(1), forced=True)
    return day(0), day(4), None


def model_that_is_revived_with_what_was_learned_meanwhile(past: Past) -> Ask:
    """Nothing scored from the first day on; what was trained on that time is entered as if it had."""
    past.register(1, start=LONG_AGO[0], end=LONG_AGO[1])
    past.promote(1, effective_from=day(0))
    past.promote(1, effective_from=day(1), kind=Kind.RETIRE)
    past.register(2, start=day(-30), end=day(3))
    past.promote(2, effective_from=day(1), forced=True)
    return day(0), day(4), None


def entry_that_a_wrong_clock_dates_back(past: Past) -> Ask:
    """Two seconds before the end of its data: a clock is off by more than that."""
    past.register(1, start=day(-30), end=day(1))
    past.promote(1, effective_from=day(1) - timedelta(seconds=2), forced=True)
    return day(1) - timedelta(seconds=2), day(2), None


def period_that_is_written_in_another_zone(past: Past) -> Ask:
    """The hour before its data end, by a clock that is an hour ahead and shows the end itself."""
    past.register(1, start=day(-30), end=day(1))
    ahead = timezone(timedelta(hours=1))
    return day(1).replace(tzinfo=ahead), day(2).replace(tzinfo=ahead), "1"


def period_that_begins_in_the_hour_that_comes_twice(past: Past) -> Ask:
    """Its data end at half past one in New York, the second time in that night; the period begins at the first."""
    end = datetime(2026, 11, 1, 1, 30, tzinfo=NEW_YORK, fold=1)
    past.register(1, start=day(-30), end=end.astimezone(UTC))
    return end.replace(fold=0), end + 2 * DAY, "1"


WAYS = (
    champion_trained_later,
    champion_judged_on_the_period,
    champion_refitted_on_its_holdout,
    champion_that_knows_later_labels,
    second_of_two_champions,
    rollback_to_a_version_that_saw_it,
    named_version_trained_on_it,
    named_version_trained_on_a_part_of_it,
    named_version_trained_on_what_came_after,
    named_version_that_begins_where_the_period_ends,
    named_version_that_is_champion_later,
    candidate_of_a_training_backfill,
    one_microsecond_before_the_end_of_its_data,
    one_microsecond_before_its_last_label,
    labels_known_before_the_end_of_its_events,
    bundle_from_before_labels_were_dated,
    bundle_from_before_labels_were_dated_asked_for_late,
    version_that_is_promoted_again_after_a_rollback,
    model_that_is_revived_with_what_was_learned_meanwhile,
    entry_that_a_wrong_clock_dates_back,
    period_that_is_written_in_another_zone,
    period_that_begins_in_the_hour_that_comes_twice,
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_it_is_refused_and_told_what_to_do(past: Past, way: Callable[[Past], Ask]) -> None:
    start, end, version = way(past)
    with pytest.raises(BackfillRefused) as refused:
        prepared(past, asked_for(MODEL, start, end, version=version))
    assert "--allow-lookahead" in str(refused.value)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_told_otherwise_it_marks_what_the_version_may_know_and_nothing_else(
    past: Past, way: Callable[[Past], Ask]
) -> None:
    start, end, version = way(past)
    found = prepared(past, asked_for(MODEL, start, end, version=version, allow_lookahead=True))
    spans = found.plan.spans
    assert any(span.lookahead for span in spans)
    assert [spans[0].start, *(span.end for span in spans)] == [*(span.start for span in spans), end.astimezone(UTC)]
    for span in spans:
        known = found.bundles[span.version].snapshot.seen_until
        assert span.end <= known if span.lookahead else span.start >= known


def from_the_end_of_its_data_on(past: Past) -> Ask:
    past.register(1, start=day(-30), end=day(2))
    return day(2), day(3), "1"


def from_its_last_label_on(past: Past) -> Ask:
    past.register(1, start=day(-30), end=day(1), known_by=day(2))
    return day(2), day(3), "1"


def champion_from_when_it_may_count(past: Past) -> Ask:
    """What the pipeline does: labels that are not known when a version begins to count do not exist for it."""
    past.register(1, start=day(-30), end=day(0), known_by=day(0.5))
    past.promote(1, effective_from=day(0.5))
    return day(0.5), day(4), None


@pytest.mark.parametrize(
    "way",
    [from_the_end_of_its_data_on, from_its_last_label_on, champion_from_when_it_may_count],
    ids=lambda w: w.__name__,
)
def test_what_only_touches_is_scored(past: Past, way: Callable[[Past], Ask]) -> None:
    start, end, version = way(past)
    found = prepared(past, asked_for(MODEL, start, end, version=version))
    assert [span.lookahead for span in found.plan.spans] == [False]


def test_every_reason_is_told_at_once(past: Past) -> None:
    past.register(1, start=day(-30), end=day(1.5))
    past.promote(1, effective_from=day(1))
    past.register(2, start=day(-30), end=day(3))
    past.promote(2, effective_from=day(2), forced=True)
    with pytest.raises(BackfillRefused) as refused:
        prepared(past, asked_for(MODEL, day(0), day(4)))
    text = str(refused.value)
    assert "no version counts from 2026-03-01T00:00:00Z to 2026-03-02T00:00:00Z" in text
    assert "version 1 saw what it would score, 2026-03-02T00:00:00Z to 2026-03-02T12:00:00Z" in text
    assert "version 2 saw what it would score, 2026-03-03T00:00:00Z to 2026-03-04T00:00:00Z" in text


def test_a_registry_that_gives_another_bundle_than_the_ledger_names_is_refused(past: Past) -> None:
    """Else a bundle could say of itself that it saw nothing."""
    past.register(1, start=day(-30), end=day(4))
    past.promote(1, effective_from=day(0), forced=True)
    other = make_past(_made(past.folder / "other"))
    other.register(1, start=LONG_AGO[0], end=LONG_AGO[1])
    with pytest.raises(BackfillRefused, match=r"version 1: .*was announced"):
        prepared(msgspec.structs.replace(past, registry=other.registry), asked_for(MODEL, day(0), day(4)))


def test_a_name_that_stood_for_another_bundle_then_is_refused(past: Past) -> None:
    """The registry was lost and begun anew: version 1 is not what scored under that name before."""
    past.register(1, start=LONG_AGO[0], end=LONG_AGO[1])
    past.promote(1, effective_from=day(0))
    for folder in (past.folder / "registry", past.folder / "made"):
        folder.rename(folder.with_name(f"lost-{folder.name}"))
    (past.folder / "registry").mkdir()
    past.register(1, start=LONG_AGO[0], end=LONG_AGO[1] + DAY)
    past.promote(1, effective_from=day(2))
    with pytest.raises(BackfillRefused) as refused:
        prepared(past, asked_for(MODEL, day(0), day(4)))
    assert "version 1 (sequence 1) was another bundle from 2026-03-01T00:00:00Z to 2026-03-03T00:00:00Z" in str(
        refused.value
    )
    assert len(prepared(past, asked_for(MODEL, day(2), day(4))).plan.spans) == 1


def test_a_moment_without_an_offset_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="need an offset from UTC"):
        asked_for(MODEL, day(0).replace(tzinfo=None), day(1))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_connections_that_are_missing_are_named(past: Past) -> None:
    past.register(1, start=LONG_AGO[0], end=LONG_AGO[1])
    settings = Settings(connections={})
    with pytest.raises(Exception, match="BATON_CONNECTIONS__WAREHOUSE"):
        prepare(asked_for(MODEL, day(0), day(1), version="1"), settings, past.folder / "b", bring_from(past.registry))
