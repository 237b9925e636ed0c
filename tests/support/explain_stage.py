"""A stream whose versions stand in a ledger, with what an explanation of its records needs."""

from pathlib import Path

from scoring.contract.acknowledgement import Position
from scoring.contract.notice import Kind
from scoring.database.migrations import migrate
from scoring.explain.acknowledged import Acknowledged
from scoring.explain.bundles import Bundles
from scoring.explain.collecting import Collector, Records
from scoring.predictions.database import MIGRATIONS, open_database
from scoring.predictions.rows import dead_letter_row, prediction_row
from scoring.predictions.stored import Record
from scoring.predictions.writing import Batch, Move, Partition, Tables
from scoring.registry.folder import FolderRegistry
from tests.support.arena import read_all
from tests.support.explained_stream import ExplainedStream


class Stage(ExplainedStream):
    """A stream, and what its explanations are collected from."""

    def collector(self, acknowledged: Acknowledged, registry: Path | None = None) -> Collector:
        bundles = Bundles(FolderRegistry(registry or self.folder / "registry"))
        records = Records(entries=self.book.entries, acknowledgements=acknowledged.of, bundles=lambda: bundles)
        return Collector({"bootstrap.servers": self.bootstrap}, self.model, self.topics, records)

    def acknowledged(self) -> Acknowledged:
        return Acknowledged({"bootstrap.servers": self.bootstrap}, self.keyring)

    def run(self, each: int) -> None:
        """A stream through four swaps, the last of them a rollback."""
        self.decide(1)
        self.start()
        self.wait_for_state("live", sequence=1)
        for version, kind in ((2, Kind.PROMOTE), (3, Kind.PROMOTE), (4, Kind.PROMOTE), (1, Kind.ROLLBACK)):
            self.feed_until_progress(each)
            self.decide(version, kind)
        self.feed(each)
        self.wait_until_done()


def fill_tables(url: str, stage: Stage) -> None:
    """Put all outcomes that there are now into the predictions' tables at ``url``, as a sink does."""
    database = open_database(url)
    migrate(database, MIGRATIONS)
    database.engine.dispose()
    tables = Tables.open(url)
    for topic in (stage.topics.predictions, stage.topics.dead_letters):
        topic_id = stage.topic_id(topic)
        for number in range(4):
            found = [
                Record(
                    place=Position(topic=topic, topic_id=topic_id, partition=number, offset=each.offset),
                    key=each.key,
                    value=each.value,
                    headers=tuple(each.headers),
                )
                for each in read_all(stage.bootstrap, topic)
                if each.partition == number
            ]
            if not found:
                continue
            partition = Partition(topic_id, number, topic)
            moves = [Move(partition, tables.begin(partition, 0), found[-1].place.offset + 1)]
            if topic == stage.topics.predictions:
                tables.write(Batch(moves, predictions=[prediction_row(each) for each in found]))
            else:
                tables.write(Batch(moves, dead_letters=[dead_letter_row(each) for each in found]))
    tables.close()
