"""Bytewax at its tuned best: batches from its own Kafka source. It has no exactly-once delivery to Kafka."""

import json
from typing import Any

from bench.rivals.model import Environment, answer, open_model


def main() -> None:
    from bytewax import operators  # type: ignore[import-not-found]  # noqa: PLC0415  in an environment of its own
    from bytewax.connectors.kafka import (  # type: ignore[import-not-found]  # noqa: PLC0415
        KafkaSink,
        KafkaSinkMessage,
        KafkaSource,
    )
    from bytewax.dataflow import Dataflow  # type: ignore[import-not-found]  # noqa: PLC0415
    from bytewax.run import cli_main  # type: ignore[import-not-found]  # noqa: PLC0415

    environment = Environment()
    predict = open_model(environment.model)

    def score(messages: list[Any]) -> list[Any]:
        records = [json.loads(message.value) for message in messages]
        return [
            KafkaSinkMessage(message.key, json.dumps(answer(record, found)).encode())
            for message, record, found in zip(messages, records, predict(records), strict=True)
        ]

    flow = Dataflow("flights")
    source = KafkaSource([environment.bootstrap], [environment.source], tail=True, batch_size=environment.batch_records)
    read = operators.input("read", flow, source)
    scored = operators.flat_map_batch("score", read, score)
    sink = KafkaSink([environment.bootstrap], environment.target, add_config={"linger.ms": "5"})
    operators.output("write", scored, sink)
    cli_main(flow)


if __name__ == "__main__":
    main()
