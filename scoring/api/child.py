"""One of a supervisor's processes of the API: ``python -m scoring.api.child <post as JSON>``."""

import sys

import click
import msgspec

from scoring.api.life import ApiPost, live
from scoring.contract.errors import BatonError, ConfigurationError
from scoring.service.ending import EXIT_CONFIGURATION, leave
from scoring.settings import read_settings
from scoring.worker.child import EXIT_FAILED
from scoring.worker.lifeline import Lifeline, end_with
from scoring.worker.surrounding import Surrounding


def main(arguments: list[str]) -> None:
    """Take up the post, and never return."""
    post = msgspec.json.decode(arguments[0], type=ApiPost)
    end_with(post.supervisor)
    lifeline = Lifeline(post.lifeline)
    try:
        settings = read_settings(
            deployment=post.deployment,
            slot=post.slot,
            models=post.models,
            api_address=post.address,
            api_port=post.port,
        )
        live(settings, Surrounding(say=lifeline.say, restarts=post.restarts))
    except BatonError as error:
        click.echo(f"baton: {error}", err=True)
        leave(EXIT_CONFIGURATION if isinstance(error, ConfigurationError) else EXIT_FAILED)


if __name__ == "__main__":
    main(sys.argv[1:])
