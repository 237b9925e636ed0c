"""The command line in this process: as ``baton`` is called, without the second that a start takes."""

from collections.abc import Mapping

from click.testing import CliRunner

from scoring.cli import EXIT_FAILED, EXIT_USAGE, group
from scoring.contract.errors import BatonError, ConfigurationError


def baton(environment: Mapping[str, str], *arguments: str) -> tuple[int, str, str]:
    """Call it; the exit status, and what it wrote to standard output and standard error."""
    done = CliRunner().invoke(group, arguments, env=environment, prog_name="baton")
    if isinstance(done.exception, BatonError):  # as ``scoring.cli.main`` tells of it
        status = EXIT_USAGE if isinstance(done.exception, ConfigurationError) else EXIT_FAILED
        return status, done.stdout, f"{done.stderr}baton: {done.exception}\n"
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr
