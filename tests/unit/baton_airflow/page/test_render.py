"""The templates, filled with views of all kinds: nothing is undefined, and what people wrote stays text."""

from html.parser import HTMLParser
from typing import Any
from uuid import UUID

import pytest

from baton_airflow.page.letters import Letter
from baton_airflow.page.listening import Crew
from baton_airflow.page.reading import Kept, Letters
from baton_airflow.page.render import render
from baton_airflow.page.rights import Rights
from baton_airflow.page.source import Seen
from baton_airflow.page.view import Read, card, model_view
from scoring.contract.acknowledgement import Position
from scoring.contract.dead_letter import DeadLetter, Reason
from scoring.promotion.observer import Presence
from tests.unit.baton_airflow.page import test_view as made

EVIL = '"><script>alert(1)</script>'
ALL = Rights(read=None, retrain=None, answer=None, decide=None)
NONE = Rights(read=None, retrain="you may not", answer="you may not", decide="you may not")
BARE = {"root": "/baton", "airflow": "", "user": "ada", "token": "t", "now": made.NOW}


class Balanced(HTMLParser):
    """Fails where a tag is closed that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self.scripts += tag == "script"
        if tag not in {"meta", "link", "input", "br", "rect", "line", "circle", "polyline"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Neither opens nor closes anything."""


def checked(text: str) -> str:
    found = Balanced()
    found.feed(text)
    assert (found.open, found.scripts) == ([], 1)
    return text


def full(text: str) -> Read:
    """Everything at once, with ``text`` wherever somebody else's words come in."""
    origin = Position(topic="small.input", topic_id="id", partition=1, offset=7)
    letter = DeadLetter(
        reason=Reason.WRONG_TYPE, detail=text, origin=origin, at=made.NOW, model="small", version="2", sequence=2
    )
    runs = (made.run(3, "refused", **{"baton.gate.data": f"fail: {text}", "baton.sentence": text}), made.run(2))
    question = {
        "task_instance": {"dag_run_id": text, "dag_id": "train_small"},
        "subject": text,
        "body": text,
        "created_at": "2026-01-04T00:00:00Z",
        "assigned_users": [{"id": text, "name": text}],
    }
    run = {
        "dag_run_id": text,
        "state": "running",
        "run_type": "manual",
        "triggering_user_name": text,
        "run_after": text,
    }
    rows = (made.row(reason=text, pending=3, paused={"held": 1}), made.row("gone/0", presence=Presence.SILENT))
    return made.read(
        "promote 1",
        "promote 2",
        "rollback 1",
        registry=Seen(Kept((made.version(2, 2), made.version(9)), runs), made.NOW),
        crew=Seen(Crew(rows, {}), made.NOW, text),
        letters=Seen(Letters(12, (Letter(letter, 395),), {"wrong-type": 1}), made.NOW),
        dag={**made.DAG, "description": text, "is_paused": True, "params": {"end": {"description": text}}},
        runs=[run],
        questions=[question],
    )


def page_of(read: Read, rights: Rights, **more: Any) -> str:
    values = {**BARE, "rights": rights, "told": None, "decision": UUID(int=1), "not_mine": False, **more}
    return checked(render("model.html", view=model_view(read), **values))


@pytest.mark.parametrize("rights", [ALL, NONE])
@pytest.mark.parametrize("steps", [(), ("promote 1",), ("promote 1", "retire 1")])
def test_a_model_of_any_standing_has_a_page(rights: Rights, steps: tuple[str, ...]) -> None:
    assert "<h1>small</h1>" in page_of(made.read(*steps), rights)


@pytest.mark.parametrize("rights", [ALL, NONE])
def test_what_people_and_systems_say_stays_text(rights: Rights) -> None:
    text = page_of(full(EVIL), rights, told=(EVIL, False))
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert") > 10


def test_a_topic_that_is_not_there_is_told_apart_from_one_that_is_empty() -> None:
    none, nowhere = Letters(0, (), {}, "t"), Letters(0, (), {}, "t", present=False)
    assert "There are none." in page_of(made.read(letters=Seen(none, made.NOW)), ALL)
    text = page_of(made.read(letters=Seen(nowhere, made.NOW)), ALL)
    assert "There is no topic <code>t</code>" in text
    assert "There are none." not in text


def test_forms_are_there_for_who_may_and_reasons_for_who_may_not() -> None:
    assert page_of(full("x"), ALL).count("<form") == 4
    shut = page_of(full("x"), NONE)
    assert "<form" not in shut
    assert shut.count("you may not") == 4


def test_who_is_no_approver_can_neither_answer_nor_promote() -> None:
    tasks = {"approve": {"params": {"reason": {"schema": {"approvers": ["ada"]}}}}}
    read = full("x")
    text = page_of(made.read("promote 1", questions=read.questions, tasks=tasks), ALL, not_mine=True)
    assert "only ada may answer" in text
    assert "only ada may promote this model" in text


def test_all_models_have_a_page_also_when_there_is_none() -> None:
    shown = card(EVIL, {**made.DAG, "description": EVIL}, Seen({}), Seen(Crew((), {})), [])
    assert "<script>alert" not in checked(render("overview.html", cards=[shown], problems=[EVIL], **BARE))
    assert "There is no model" in checked(render("overview.html", cards=[], problems=[], **BARE))


def test_an_error_is_a_page_without_a_user() -> None:
    assert EVIL not in checked(render("message.html", title="Refused", sentence=EVIL, **{**BARE, "user": None}))
