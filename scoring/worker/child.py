"""One of a supervisor's workers: ``python -m scoring.worker.child <post as JSON>``; see ``supervisor``."""

import sys

import click

from scoring.contract.errors import BatonError, ConfigurationError
from scoring.service.ending import EXIT_CONFIGURATION, leave
from scoring.settings import read_settings
from scoring.worker.life import live
from scoring.worker.lifeline import Lifeline, end_with, read_post
from scoring.worker.surrounding import Surrounding

EXIT_FAILED = 1


def main(arguments: list[str]) -> None:
    """Take up the post, and never return."""
    post = read_post(arguments[0])
    end_with(post.supervisor)
    lifeline = Lifeline(post.lifeline)
    try:
        settings = read_settings(deployment=post.deployment, slot=post.slot, models=post.models)
        live(settings, Surrounding(say=lifeline.say, restarts=post.restarts, pinned=post.pinned))
    except BatonError as error:
        click.echo(f"baton: {error}", err=True)
        leave(EXIT_CONFIGURATION if isinstance(error, ConfigurationError) else EXIT_FAILED)


if __name__ == "__main__":
    main(sys.argv[1:])
