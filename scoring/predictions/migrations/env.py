"""Alembic's entry: runs the migrations on the connection, and in the transaction, of the caller."""

from alembic import context

from scoring.predictions.tables import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    # SQLite changes a table by copying it.
    render_as_batch=True,
)
context.run_migrations()
