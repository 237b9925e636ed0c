"""Produces records that the Python client cannot make: with header names that are not UTF-8, as other clients may."""

import ctypes
from pathlib import Path
from typing import Any

import confluent_kafka

# From rdkafka.h: rd_kafka_type_t and rd_kafka_vtype_t.
_PRODUCER = 0
_END, _TOPIC, _PARTITION, _VALUE, _HEADERS = 0, 1, 3, 4, 10


def _library() -> Any:
    folder = Path(confluent_kafka.__file__).parent.with_name("confluent_kafka.libs")
    (path,) = folder.glob("librdkafka*.so*")
    library = ctypes.CDLL(str(path))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_headers_new"):
        getattr(library, name).restype = ctypes.c_void_p
    return library


def produce(bootstrap: str, topic: str, partition: int, value: bytes, header_name: bytes) -> None:
    """Produce one record with one header of this name."""
    library, error = _library(), ctypes.create_string_buffer(512)
    settings = ctypes.c_void_p(library.rd_kafka_conf_new())
    library.rd_kafka_conf_set(settings, b"bootstrap.servers", bootstrap.encode(), error, 512)
    client = ctypes.c_void_p(library.rd_kafka_new(_PRODUCER, settings, error, 512))
    headers = ctypes.c_void_p(library.rd_kafka_headers_new(1))
    size = ctypes.c_ssize_t(len(header_name))
    library.rd_kafka_header_add(headers, header_name, size, b"v", ctypes.c_ssize_t(1))
    number = ctypes.c_int
    refused = library.rd_kafka_producev(
        client,
        *(number(_TOPIC), topic.encode()),
        *(number(_PARTITION), number(partition)),
        *(number(_VALUE), value, ctypes.c_size_t(len(value))),
        *(number(_HEADERS), headers),
        number(_END),
    )
    left = library.rd_kafka_flush(client, 20_000)
    library.rd_kafka_destroy(client)
    assert (refused, left) == (0, 0), f"the record was not delivered: {refused}, {left}"
