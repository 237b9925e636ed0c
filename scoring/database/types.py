"""Types of columns that SQLite and PostgreSQL keep alike."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, String
from sqlalchemy.types import TypeDecorator, TypeEngine

_SQLITE_WIDTH = len("2013-04-01T00:00:00.000000Z")


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes, in and out in UTC, to the microsecond.

    PostgreSQL keeps them as ``timestamptz``; SQLite, which has no time type, as RFC 3339 of a fixed width, whose order
    as text is their order in time.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text on SQLite, ``timestamptz`` elsewhere."""
        kept_as: TypeEngine[Any] = String(_SQLITE_WIDTH) if dialect.name == "sqlite" else DateTime(timezone=True)
        return dialect.type_descriptor(kept_as)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """The value for the database; a naive one is a mistake of the caller."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value.isoformat()} has no time zone; only aware datetimes are kept")
        return sqlite_text(value) if dialect.name == "sqlite" else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """The aware datetime in UTC."""
        if value is None:
            return None
        found = datetime.fromisoformat(value) if isinstance(value, str) else value
        return found.astimezone(UTC)


def sqlite_text(moment: datetime) -> str:
    """An aware datetime as SQLite keeps it."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
