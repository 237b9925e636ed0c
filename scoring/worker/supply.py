"""What bundles and looked-up values come through, whoever scores with them."""

from scoring.contract.features import TableLookup
from scoring.lookups.port import LookupSource
from scoring.lookups.sources import Late, Sources
from scoring.lookups.topic import TopicLookups
from scoring.scorer.trial import TrialLimits
from scoring.settings import Settings
from scoring.worker.fetch_process import FetchProcess


def lookups_of(settings: Settings, topic_lookups: TopicLookups) -> Sources:
    """Where looked-up values come from, for one thread: what is in memory is shared."""

    def tables() -> LookupSource:
        from scoring.lookups.sql import SqlLookups  # noqa: PLC0415  # a third of a start

        return SqlLookups(settings.need_connection, kinds=(TableLookup,))

    return Sources(Late(TableLookup, tables), topic_lookups)


def fetch_process_of(settings: Settings, cores: frozenset[int] = frozenset()) -> FetchProcess:
    """What fetches and tries bundles, within the limits of the settings."""
    limits = TrialLimits(
        memory_bytes=settings.trial_memory_bytes,
        processor_s=settings.trial_processor_s,
        # Backfills score more at a time than a small micro-batch: never try less than that.
        records=max(settings.maximum_batch_records, TrialLimits().records),
    )
    return FetchProcess(limits=limits, cores=cores)
