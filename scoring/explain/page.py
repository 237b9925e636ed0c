"""An explanation as one HTML page that needs no network."""

from collections.abc import Iterable, Iterator
from html import escape

from scoring.explain.explanation import Contributions, Explanation, Verdict
from scoring.explain.telling import (
    entry_text,
    field_lines,
    gate_text,
    input_lines,
    judged_text,
    lag_lines,
    letter_lines,
    outcome_lines,
    rescored_lines,
    shown,
    swap_text,
)

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5a6474; --line: #d6dbe3; --back: #fbfbfc; --good: #1f7a4d;
  --bad: #b3261e; --bar: #3565b8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #9aa4b4; --line: #363d49; --back: #14181f;
  --good: #5fc38f; --bad: #ff8a80; --bar: #7aa5f0; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.25rem; overflow-wrap: anywhere; } h2 { font-size: 1rem; margin: 1.75rem 0 .5rem; }
p, li { margin: .25rem 0; overflow-wrap: anywhere; } ul { padding-left: 1.1rem; }
.good { color: var(--good); font-weight: 600; } .bad { color: var(--bad); font-weight: 600; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid var(--line); border-radius: 6px;
  padding: .75rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 500; } td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
.bar { display: block; height: .8rem; background: var(--bar); border-radius: 2px; min-width: 1px; }
.bar.down { background: var(--bad); }
"""


def page(found: Explanation) -> str:
    """The page."""
    parts = [
        f"<h1>{escape(found.headline)}</h1>",
        _list([*outcome_lines(found), *lag_lines(found.lag)]),
        *_rescored(found),
        *_letter(found),
        *_why(found),
        *_contributions(found.contributions),
        *_features(found),
        *_enrichment(found),
        *_section("Fields as they were read", field_lines(found)),
        *_input(found),
        *_section("What could not be had", found.missing),
    ]
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(found.headline)}</title><style>{_STYLE}</style></head><body><main>
{"".join(parts)}
</main></body></html>
"""


def _rescored(found: Explanation) -> Iterator[str]:
    if found.rescored is None:
        return
    first, *causes = rescored_lines(found.rescored)
    css = "good" if found.rescored.verdict is Verdict.IDENTICAL else "bad"
    yield f'<h2>Scored again</h2><p class="{css}">{escape(first)}</p>{_list(causes)}'


def _letter(found: Explanation) -> Iterator[str]:
    if found.letter is None:
        return
    first, *rest = letter_lines(found.letter)
    today = found.letter.today
    yield f"<h2>Why it was not scored</h2><p>{escape(first.partition(': ')[2])}</p>{_list(rest)}"
    if today is not None:
        yield f'<p class="{"good" if today.scored else "bad"}">Today: {escape(judged_text(today))}</p>'


def _why(found: Explanation) -> Iterator[str]:
    why = found.why
    if why is None:
        return
    yield "<h2>Why that version was live</h2>"
    if why.entry is not None:
        yield f"<p>{escape(entry_text(why.entry))}</p>{_list(map(gate_text, why.entry.evidence))}"
    yield _list(swap_text(swap) for swap in (why.swap, why.next_swap) if swap is not None)
    if why.replaced_by is not None:
        yield f"<p>Followed by {escape(entry_text(why.replaced_by))}</p>"
    for problem in why.problems:
        yield f'<p class="bad">Does not fit: {escape(problem)}</p>'


def _contributions(found: Contributions | None) -> Iterator[str]:
    if found is None:
        return
    largest = max((abs(part.value) for part in found.parts), default=0.0) or 1.0
    of, rows = (f" of {escape(found.label)}" if found.label is not None else ""), []
    for part in sorted(found.parts, key=lambda each: abs(each.value), reverse=True):
        width, css = 100 * abs(part.value) / largest, "bar" if part.value >= 0 else "bar down"
        bar = f'<span class="{css}" style="width:{width:.1f}%"></span>'
        rows.append(
            f'<tr><td>{escape(part.feature)}</td><td class="number">{part.value:+.6f}</td>'
            f'<td style="width:50%">{bar}</td></tr>'
        )
    yield (
        f"<h2>What moved the score</h2><p>Raw score{of} {found.raw!r} (link {escape(found.link)}), counted from "
        f"{found.base:.6g}, the mean of the bundle's golden rows.</p>"
        f'<div class="wide"><table><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _features(found: Explanation) -> Iterator[str]:
    if found.features:
        rows = [
            (each.name, each.exact, each.how, ", ".join(f"{name} = {shown(v)}" for name, v in each.of.items()))
            for each in found.features
        ]
        yield "<h2>Features as the model saw them</h2>" + _table(("feature", "value", "how", "from"), rows)


def _enrichment(found: Explanation) -> Iterator[str]:
    if found.enrichment:
        rows = [(f"{each.lookup}.{each.field}", shown(each.value), each.source) for each in found.enrichment]
        yield "<h2>Looked up</h2>" + _table(("value of", "value", "from"), rows)


def _input(found: Explanation) -> Iterator[str]:
    if found.input is not None:
        text = "\n".join(line.strip() for line in list(input_lines(found.input))[1:])
        yield f"<h2>The record</h2><pre>{escape(text)}</pre>"


def _section(title: str, sentences: Iterable[str]) -> Iterator[str]:
    listed = _list(sentences)
    if listed:
        yield f"<h2>{escape(title)}</h2>{listed}"


def _list(sentences: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(sentence.strip())}</li>" for sentence in sentences)
    return f"<ul>{items}</ul>" if items else ""


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
