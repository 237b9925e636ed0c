"""A chunk from its records to its rows: what each process of a backfill does, wherever it runs."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Self

import msgspec
import tenacity

from scoring.backfill.candidates import as_records
from scoring.backfill.outcomes import Outcomes, Values, known_of, outcomes
from scoring.backfill.parquet_store import ParquetStore
from scoring.backfill.plan import Chunk, Plan
from scoring.backfill.prepare import Prepared
from scoring.backfill.reading import SourceRecords
from scoring.backfill.scoring import scored
from scoring.backfill.sql_store import SqlStore
from scoring.backfill.staging import Staged, stage
from scoring.backfill.store import Kept, Store
from scoring.backfill.tables import table_name
from scoring.backfill.topic import TopicRecords, records_of
from scoring.contract.decoding import decodable
from scoring.contract.encoder import Column, Columns
from scoring.contract.errors import Unavailable
from scoring.contract.features import FeatureSchema, FrozenLookup
from scoring.contract.lookup import MAXIMUM_TIMEOUT_S, OnOutage
from scoring.lookups.sql import SqlLookups
from scoring.scorer.bundle import open_bundle
from scoring.scorer.decode import Decoded
from scoring.scorer.golden import check_golden
from scoring.scorer.scorer import Scorer
from scoring.sources.clock import REAL, Clock
from scoring.sources.open import Sources

ATTEMPTS = 6
LONGEST_WAIT_S = 30.0


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where the rows are kept: in a database, or in a folder."""

    model: str
    name: str
    url: str | None = None
    folder: str | None = None

    @property
    def where(self) -> str:
        """Names it, for people."""
        return f"table {table_name(self.model, self.name)}" if self.folder is None else self.folder

    def open(self, *, pooled: bool = False) -> Store:
        """The store.

        Args:
            pooled: keep a connection open for the next chunk, until ``Store.close``.

        Raises:
            ConfigurationError, Unavailable: as ``SqlStore.open``.
        """
        if self.folder is not None:
            return ParquetStore(Path(self.folder))
        return SqlStore.open(self.url or "", self.model, self.name, pooled=pooled)


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """All that a process needs to know.

    Attributes:
        bundles: folder of each version's bundle.
        connections: URLs by name.
        run: whose it is.
        topic, kafka: the input topic and what reaches it, where the records come from that.
        staged: what was read once of costly sources (see ``staging``).
    """

    plan: Plan
    place: Place
    bundles: Mapping[str, str]
    connections: Mapping[str, str]
    run: str
    topic: str = ""
    kafka: Mapping[str, Any] = {}
    staged: Mapping[str, str] = {}


decodable(Job)


def job_of(prepared: Prepared, plan: Plan, place: Place, run: str, folder: Path) -> Job:
    """The job of a plan on this host.

    Args:
        plan: the one that counts, as ``Store.begin`` tells it.
        folder: for what is read once.

    Raises:
        Unavailable, ConfigurationError: a source that is read once cannot be read.
    """
    staged: dict[str, str] = {}
    if plan.topic_id is None:
        manifests = [bundle.manifest for bundle in prepared.bundles.values()]
        with Sources(prepared.connections.__getitem__) as sources:
            staged = stage(plan, manifests, sources, folder)
    return Job(
        plan=plan,
        place=place,
        bundles={version: str(bundle.folder) for version, bundle in prepared.bundles.items()},
        connections=prepared.connections,
        run=run,
        topic=prepared.topic,
        kafka=prepared.kafka,
        staged=staged,
    )


class ChunkScorer:
    """Does chunks of one job, one after the other. A context manager: leaving it closes the connections."""

    def __init__(self, job: Job, clock: Clock = REAL) -> None:
        asked = job.plan.asked
        self._job = job
        self._clock = clock
        self._chunks = job.plan.chunks()
        self._store = job.place.open(pooled=True)
        self._sources = Sources(job.connections.__getitem__)
        self._records = SourceRecords(Staged(self._sources, job.staged), asked.start, asked.end)
        self._topic = TopicRecords(job.kafka, job.topic) if job.topic else None
        self._lookups = Waiting(SqlLookups(job.connections.__getitem__))
        self._scorer: tuple[str, Scorer] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sources.__exit__()
        self._lookups.close()
        self._store.close()
        if self._topic is not None:
            self._topic.close()

    def do(self, number: int) -> Kept:
        """Read, score and keep a chunk; what cannot be reached is asked again for a while.

        Raises:
            Unavailable: a source, a lookup or the store cannot be reached.
            ConfigurationError: one of them refuses the query.
            Superseded: another run has taken over.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Unavailable),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_exponential(max=LONGEST_WAIT_S),
            sleep=self._clock.sleep,
            reraise=True,
        )
        return retrying(lambda: self._store.write(self._job.run, self.outcomes(self._chunks[number])))

    def outcomes(self, chunk: Chunk) -> Outcomes:
        """What comes of the records of a chunk; nothing is kept."""
        scorer = self._scorer_of(chunk.span.version, chunk.span.manifest_digest)
        decoded, known = self._read(chunk, scorer)
        return outcomes(chunk, scorer, scored(scorer, self._lookups, decoded), known, len(known["record_key"]))

    def _read(self, chunk: Chunk, scorer: Scorer) -> tuple[Decoded, Mapping[str, Values]]:
        """The records of a chunk, and what is known of each whether or not it decodes."""
        if self._topic is not None and chunk.offsets is not None:
            found = records_of(chunk, scorer, self._topic.read(chunk.offsets))
            return found.decoded, found.known
        columns = self._records.read(scorer.manifest, chunk.start, chunk.end)
        return as_records(scorer, columns), known_of(scorer.schema, columns)

    def _scorer_of(self, version: str, digest: str) -> Scorer:
        if self._scorer is None or self._scorer[0] != digest:
            scorer = Scorer(open_bundle(Path(self._job.bundles[version]), digest))
            check_golden(scorer)
            self._scorer = digest, scorer
        return self._scorer[1]


class Waiting:
    """Lookups in a database, for records that can wait long: an outage is an error, whatever a worker makes of one."""

    def __init__(self, lookups: SqlLookups) -> None:
        self._lookups = lookups

    def resolve(self, schema: FeatureSchema, columns: Columns, rows: int) -> dict[str, Column]:
        """See ``LookupSource``."""
        return self._lookups.resolve(_waiting(schema), columns, rows)

    def close(self) -> None:
        """Closes the connections."""
        self._lookups.close()


@cache
def _waiting(schema: FeatureSchema) -> FeatureSchema:
    lookups = tuple(
        each
        if isinstance(each, FrozenLookup)
        else msgspec.structs.replace(each, on_outage=OnOutage.WAIT, timeout_s=MAXIMUM_TIMEOUT_S)
        for each in schema.lookups
    )
    return msgspec.structs.replace(schema, lookups=lookups)
