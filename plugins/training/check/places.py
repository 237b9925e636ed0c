"""Where in the file a mistake of the definition is made, and what to do about it."""

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches

from scoring.contract.manifest import Task
from training.check.outline import Outline
from training.limits import METRICS

# The keyword that a sentence of ``training.mistakes`` speaks of, by how it begins.
_KEYWORDS: Sequence[tuple[str, str]] = (
    (r"feature '|the feature '|there is no feature", "features"),
    (r"lookup '|the lookup '", "lookups"),
    (r"the field '|column '", "fields"),
    (r"the key '", "key"),
    (r"the event time '", "event_time"),
    (r"'[^']*' is the key or the event time", "fields"),
    (r"history and holdout", "holdout"),
    (r"schema: .*\$\.features", "features"),
    (r"schema: .*\$\.lookups", "lookups"),
    (r"schema: ", "fields"),
    (r"(name|estimator|threshold|label|gates|slices|pass_through|partitions|approval|records)\b", r"\1"),
)
_QUOTED = re.compile(r"'([^']+)'")
_WORD = re.compile(r"\b([a-z0-9_]+)\b")


def placed(outline: Outline, sentence: str) -> tuple[int | None, str]:
    """The line that a sentence speaks of, and a remedy; an empty one where the sentence has it."""
    keyword = _keyword(sentence)
    quoted = _QUOTED.findall(sentence)
    words = _WORD.findall(sentence.partition(": ")[2]) if keyword in {"gates", "label", "approval"} else []
    if keyword == "holdout" and "holdout" not in outline.keywords():
        keyword = "history"
    line = None if keyword is None else outline.line_of(keyword, *_parts(outline, keyword, quoted), *words)
    return line or outline.line_of("name"), _remedy(outline, sentence, quoted)


def _keyword(sentence: str) -> str | None:
    for pattern, keyword in _KEYWORDS:
        found = re.match(pattern, sentence)
        if found:
            return found.expand(keyword)
    return None


def _parts(outline: Outline, keyword: str, quoted: Sequence[str]) -> list[str]:
    """What to look for inside: the quoted names, and of a derived name the text that it was made from."""
    texts = [text for name in quoted for text in outline.texts_in(keyword) if text and text in name]
    return [*quoted, *sorted(texts, key=len, reverse=True)]


def _remedy(outline: Outline, sentence: str, quoted: Sequence[str]) -> str:
    for pattern, remedy in _REMEDIES:
        if re.search(pattern, sentence):
            return remedy(outline, quoted)
    return ""


def _known(outline: Outline, unknown: str) -> str:
    """The closest name of a field or looked-up value."""
    lookups = outline.texts_in("lookups")
    names = [*outline.texts_in("fields"), *(f"{first}.{name}" for first in lookups for name in lookups)]
    near = get_close_matches(unknown, names, 1, 0.5)
    return f"did you mean {near[0]!r}?" if near else "declare it under fields, or bring it by a lookup"


def _leak(outline: Outline, quoted: Sequence[str]) -> str:  # noqa: ARG001  as all remedies
    column = quoted[1] if len(quoted) > 1 else quoted[0]
    return f"take the feature out; where {column!r} is known at the event after all, take its known_after away"


_Remedy = Callable[[Outline, Sequence[str]], str]
_REMEDIES: Sequence[tuple[str, _Remedy]] = (
    (r"is a leak: ", _leak),
    (r"is neither a field nor", lambda outline, quoted: _known(outline, quoted[-1])),
    (r"^the (key|event time) .* is not a field", lambda outline, quoted: _known(outline, quoted[0])),
    (r"is no field that is known|is not a field", lambda outline, quoted: _known(outline, quoted[-1])),
    (r"must be a required field of type time", lambda _, quoted: f"write field.time({quoted[0]!r}, required=True)"),
    (r" is needed$", lambda _, quoted: f"declare {quoted[-1]!r} with that type, or use another transform"),
    (r"is there twice", lambda *_: "take one of them out, or give it another name (name=...)"),
    (r"there is no feature", lambda *_: "name at least one, such as features=[number(...)]"),
    (r"must be known at the event", lambda *_: "take its known_after away, or choose another field"),
    (r"another known_after each", lambda *_: "give them the same known_after, or keep one of the fields"),
    (r"nothing is left to predict", lambda *_: "take the field out, or give it the label's known_after"),
    (r"history and holdout must", lambda *_: "such as history=months(12), holdout=months(1)"),
    (r"must be lower-case letters", lambda *_: "give the model another name"),
    (r"is not the dotted path", lambda *_: "such as sklearn.ensemble.HistGradientBoostingClassifier"),
    (r"is no metric of a regression", lambda _, quoted: _metric(quoted[0], Task.REGRESSION)),
    (r"is no metric of a multiclass", lambda _, quoted: _metric(quoted[0], Task.MULTICLASS)),
    (r"is no metric of", lambda _, quoted: _metric(quoted[0], Task.BINARY)),
)


def _metric(name: str, task: Task) -> str:
    near = get_close_matches(name.lower(), [each for each, metric in METRICS.items() if task in metric.tasks], 1)
    return f"did you mean {near[0]!r}?" if near else ""
