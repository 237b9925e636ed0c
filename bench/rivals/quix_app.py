"""Quix Streams, exactly once, at its tuned best.

Its own unit of work is the record, which would leave the model one row at a time. A count window per key makes
micro-batches; windows are per key, so this contestant's input has one key per partition. It commits every so many
records, because one producer that commits more often waits for the broker each time.
"""

import os
from typing import Any

from bench.rivals.model import Environment, Record, answer, open_model


def main() -> None:
    from quixstreams import Application  # type: ignore[import-not-found]  # noqa: PLC0415  in an environment of its own

    environment = Environment()
    predict = open_model(environment.model)
    application = Application(
        broker_address=environment.bootstrap,
        consumer_group=environment.group,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=float(os.environ.get("BENCH_COMMIT_S", "1.0")),
        commit_every=int(os.environ.get("BENCH_COMMIT_RECORDS", "0")),
        auto_create_topics=False,
        use_changelog_topics=False,
        state_dir=os.environ["BENCH_STATE"],
        loglevel="WARNING",
        consumer_extra_config={"fetch.queue.backoff.ms": 5},
        producer_extra_config={"linger.ms": 5, "batch.size": 1_000_000},
    )
    source = application.topic(environment.source, value_deserializer="json")
    target = application.topic(environment.target, key_serializer="str", value_serializer="json")

    def score(window: dict[str, Any]) -> list[dict[str, Any]]:
        records: list[Record] = window["value"]
        return [answer(record, found) for record, found in zip(records, predict(records), strict=True)]

    stream = application.dataframe(source)
    stream = stream.tumbling_count_window(environment.batch_records).collect().final().apply(score, expand=True)
    stream.to_topic(target, key=lambda value: value["flight_id"])
    application.run()


if __name__ == "__main__":
    main()
