"""What Schemathesis needs to know beyond the description (``SCHEMATHESIS_HOOKS``)."""

from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(_context: schemathesis.SerializationContext, value: Any) -> Any:
    return str(value).encode("utf-8", "replace")
