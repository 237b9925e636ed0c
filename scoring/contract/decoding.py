"""Types made ready for decoding when their module is imported."""

import threading

import msgspec

_lock = threading.Lock()


def decodable(*types: object) -> None:
    """Work out how these types are decoded: called where they are defined, before there is more than one thread.

    msgspec does this by itself at a type's first decoding, and shows other threads the half of it that is done: two
    threads whose first decodings of a type meet end the process with a segmentation fault (msgspec 0.22).
    """
    with _lock:
        for kind in types:
            msgspec.json.Decoder(kind)
