"""Explain one record in a short-lived process: ``python -m scoring.explain.process``, the question on standard input.

The process of the API that scores loads neither the registry's client nor bundles of other versions, and reads no
topics: it starts this one. Exit status 0: standard output is the explanation as JSON. 3: it says why there is none.
"""

import os
import sys
import traceback

import msgspec

from scoring.contract.errors import BatonError, sentence
from scoring.explain.answering import DONE, UNEXPLAINED, Because, Question, Unexplained
from scoring.explain.asking import explained
from scoring.explain.collecting import NoOutcome, NothingThere
from scoring.explain.explanation import Explanation
from scoring.log import configure_logging
from scoring.settings import read_settings

# Whoever scores comes first.
NICE = 10


def main(asked: bytes) -> int:
    """Answer a question on standard output; returns the exit status."""
    answer = _answer(msgspec.json.decode(asked, type=Question))
    sys.stdout.buffer.write(msgspec.json.encode(answer))
    return UNEXPLAINED if isinstance(answer, Unexplained) else DONE


def _answer(question: Question) -> Explanation | Unexplained:
    try:
        settings = read_settings()
        configure_logging(settings.log_format)  # on standard error: what stands on standard output is the answer
        found = explained(settings, question)
    except NothingThere as error:
        return _unexplained(Because.NOTHING_THERE, error)
    except NoOutcome as error:
        return _unexplained(Because.NO_OUTCOME, error)
    except BatonError as error:
        return _unexplained(Because.UNAVAILABLE, error)
    except Exception:  # the caller learns that it failed, the log why: what others raise may name anything
        traceback.print_exc()
        return Unexplained(because=Because.UNAVAILABLE, detail="it cannot be explained here; the log says why")
    if found.prediction is None and found.letter is None:
        return _unexplained(Because.NO_OUTCOME, "; ".join(found.missing))
    return found


def _unexplained(because: Because, reason: object) -> Unexplained:
    return Unexplained(because=because, detail=sentence(reason))


if __name__ == "__main__":
    os.nice(NICE)
    sys.exit(main(sys.stdin.buffer.read()))
