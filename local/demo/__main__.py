"""``python -m local.demo``: a model is trained, promoted and replaced under a running stream of flights."""

import os
import sys
import traceback
from pathlib import Path

from local.demo import ending
from local.demo.errors import DemoFailed
from local.demo.stage import Stage
from local.demo.story import Story
from local.demo.terminal import Terminal
from local.errors import StackError
from local.replay import NotDelivered
from local.settings import StackSettings, read_settings
from scoring.contract.errors import BatonError

EXPECTED = (BatonError, DemoFailed, NotDelivered, StackError)


def play(stage: Stage, terminal: Terminal, folder: Path) -> None:
    """The whole demonstration; its results go into ``folder``. Raises one of ``EXPECTED`` where it fails."""
    story = Story(stage, terminal)
    try:
        with terminal.step(1, "The stack starts", _STACK):
            story.start()
        with terminal.step(2, "A first model is trained, judged and promoted", _FIRST):
            story.train_first()
        with terminal.step(3, "The relay: the model is replaced under the running stream", _RELAY):
            story.replay_april()
            story.begin_may()
            story.hand_over()
        with terminal.step(4, "A retrain on damaged data", _DAMAGED):
            story.refuse_damaged()
        with terminal.step(5, "Records that cannot be scored", _MALFORMED):
            story.send_malformed()
            story.end_may()
        with terminal.step(6, "The check of the whole stream", _CHECK):
            checked = ending.check_stream(stage, story.seen, terminal)
        with terminal.step(7, "The predictions in use: table, request, explanation, backfill", _USES):
            story.use_predictions(checked.summary.predictions, checked.summary.dead_letters)
        with terminal.step(8, "The summary", _SUMMARY):
            ending.write(checked, folder, terminal)
        ending.tell(checked, stage, folder, terminal)
    finally:
        story.close()


_STACK = (
    "Apache Kafka, Airflow, the MLflow registry and the scoring daemon, on this machine and reachable from it alone. "
    "What an earlier demonstration left is cleared away first: runs, topics, ledger, versions, snapshots."
)
_FIRST = (
    "Airflow pulls January to March from the warehouse, checks the data, trains on two months and judges on the third. "
    "Ten gates must pass before the ledger names version 1. The daemon then fetches it, checks it and goes live."
)
_RELAY = (
    "April's flights go into Kafka as if they happened now, and version 1 scores them. While May's go through, Airflow "
    "retrains with April in the data. Version 2 is held against version 1 on the same flights before it may score."
)
_DAMAGED = (
    "A vendor delivers a week of flights in kilometres instead of miles. Nobody watches, so a gate has to. "
    "The stream goes on meanwhile."
)
_MALFORMED = (
    "Broken JSON, words for numbers, missing fields, infinity: each goes aside with its reason, none stops the rest."
)
_CHECK = (
    "A program that knows nothing of the daemon reads all topics from beginning to end: does every record that went in "
    "have exactly one outcome, its own, in order?"
)
_USES = (
    "A sink kept every prediction in a table, an API scores on request, any score can be explained and computed again, "
    "and the past can be scored with the version that was champion then. All of them must say what the stream said."
)
_SUMMARY = "What it all came to."


def _fail(reason: str, local: StackSettings) -> int:
    sys.stdout.flush()
    sys.stderr.write(
        f"\nThe demonstration failed: {reason}\n\n"
        f"Logs: {local.log_dir} (make logs). The stack may still be running: make status, make down.\n"
    )
    return 1


def main() -> int:
    """Run the demonstration: exit 0 shown, 1 failed, 130 interrupted."""
    try:
        local = read_settings(os.environ)
    except StackError as error:
        sys.stderr.write(f"demo: {error}\n")
        return 1
    terminal = Terminal()
    stage = Stage(local, terminal.say)
    try:
        stage.enter()
        play(stage, terminal, local.state_dir / "demo")
    except EXPECTED as error:
        return _fail(str(error), local)
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; the stack is still running: make down\n")
        return 130
    except Exception:  # a mistake of ours: show all of it
        return _fail(traceback.format_exc(), local)
    return 0


if __name__ == "__main__":
    sys.exit(main())
