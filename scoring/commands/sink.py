"""``baton sink``: the service that keeps predictions in SQL."""

import click

from scoring.settings import read_settings


@click.command(
    epilog="""Examples:

\b
  baton sink --models flight_delay
  baton sink --slot 1 --models upsell_eu,upsell_us     # a second sink of the same tables: the two share the partitions
"""
)
@click.option("--slot", type=int, help="This sink's place among those of the same tables (BATON_SLOT).")
@click.option("--models", help="Comma-separated names of the models whose topics are kept (BATON_MODELS).")
def command(slot: int | None, models: str | None) -> None:
    """Write predictions and dead letters of the models into the tables of BATON_PREDICTIONS_URL until told to stop.

    Each record of their topics is in the tables exactly once, whatever is killed. While the database is away nothing
    is read; the sink catches up by itself. `baton predictions migrate` makes the tables. SIGTERM finishes the batch in
    hand. Exit status 70 asks for a restart; 2 is a wrong configuration, or tables that are not there.
    """
    from scoring.sink.process import live  # noqa: PLC0415 - it loads the client

    live(read_settings(slot=slot, models=models))
