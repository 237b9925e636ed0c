"""Types of columns that give back exactly what they were given."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import UserDefinedType


class _ExactReal(UserDefinedType[float]):
    """A column of SQLite's without affinity: as ``REAL``, SQLite would make 0.0 of -0.0."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The name of the type, which only may not sound like another."""
        return "BLOB"


def document() -> sa.types.TypeEngine[Any]:
    """JSON as text. Not PostgreSQL's ``jsonb``, which makes 0.0 of -0.0, and has no NUL."""
    return sa.Text().with_variant(postgresql.JSON(), "postgresql")


def number() -> sa.types.TypeEngine[Any]:
    """A float, every bit of it."""
    return sa.Double().with_variant(_ExactReal(), "sqlite")


def name() -> sa.types.TypeEngine[Any]:
    """Text that is compared byte for byte, whatever language the database speaks."""
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
