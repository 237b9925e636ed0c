"""The page in a real browser, against a real Airflow, broker, MLflow and worker. The tests go on from one another."""

import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import pytest
from itsdangerous import URLSafeTimedSerializer
from playwright.sync_api import Error, Page, Route

from scoring.promotion.entry import LedgerEntry
from tests.integration.page.conftest import LogIn
from tests.support.page_stage import DAG, MODEL, PageStage

pytestmark = pytest.mark.timeout(1_800)

BUTTONS = ("retrain", "approve", "reject", "promote", "roll-back")
RUN_LIMIT_MS = 400_000
# Its heartbeat may be late, and who listens for it begins anew when nobody looked for a while.
LIVE_WORKER = "#stream td[data-label=State]:has-text('live')"

Picture = Callable[[Page, str], None]
Field = str | float | bool


def entries(stage: PageStage) -> list[LedgerEntry]:
    return stage.ledger.entries(MODEL)


def form(stage: PageStage, user: str) -> dict[str, Field]:
    """A form with everything that a button asks for, as the page itself would make it for the user."""
    secret = stage.airflow.secrets.airflow_secret_key
    return {
        "token": str(URLSafeTimedSerializer(secret, salt="baton-page-form").dumps(user)),
        "decision": str(uuid4()),
        "head": str(len(entries(stage))),
        "version": "",
        "run": "any",
        "reason": "a test",
    }


def own_origin(stage: PageStage) -> dict[str, str]:
    """What a browser says of a post that is made on the page."""
    return {"Origin": stage.url.removesuffix("/baton/")}


def open_model(page: Page) -> Page:
    page.click(f"a:text('{MODEL}')")
    page.wait_for_selector("#champion")
    return page


def wait_for_text(page: Page, selector: str, text: str, limit_ms: int = RUN_LIMIT_MS) -> None:
    _wait_for(page, f"{selector}:has-text('{text}')", limit_ms)


def _wait_for(page: Page, selector: str, limit_ms: int = RUN_LIMIT_MS) -> None:
    """What the page says instead is what explains that something never came."""
    try:
        page.wait_for_selector(selector, timeout=limit_ms)
    except Error:
        raise AssertionError(f"no {selector}, but:\n{page.inner_text('main')}") from None


def refreshed(page: Page) -> None:
    """Wait until the page has refreshed itself."""
    with page.expect_response(lambda answer: answer.url == page.url):
        pass


# --- who may do what ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", f"model/{MODEL}", "static/page.css", "static/page.js", f"?dag={DAG}"])
def test_anonymous_gets_the_login_and_nothing_else(stage: PageStage, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.build_opener(_StayHere()).open(stage.url + path)
    assert answer.value.code == 307
    assert "/auth/login" in answer.value.headers["location"]
    assert MODEL not in answer.value.read().decode()


@pytest.mark.parametrize("button", BUTTONS)
def test_anonymous_may_press_nothing(stage: PageStage, button: str) -> None:
    body = urllib.parse.urlencode(form(stage, "admin")).encode()
    asked = urllib.request.Request(  # noqa: S310  our own server
        f"{stage.url}model/{MODEL}/{button}", body, own_origin(stage)
    )
    with pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.urlopen(asked)  # noqa: S310
    assert answer.value.code == 401


def test_a_viewer_sees_everything_and_every_button_and_endpoint_refuses(
    stage: PageStage, log_in: LogIn, picture: Picture
) -> None:
    page = open_model(log_in("viewer"))
    page.wait_for_selector("#candidates .tag.refused")
    _wait_for(page, LIVE_WORKER)
    assert page.locator("main form").count() == 0
    assert page.locator("main .act button:not([disabled])").count() == 0
    assert page.locator("main .act button[disabled]").count() == 3
    assert "ask an administrator" in page.inner_text("#do-retrain")
    picture(page, "viewer-1280")
    before = entries(stage)
    for button in BUTTONS:
        answer = page.request.post(f"{page.url}/{button}", form=form(stage, "viewer"), headers=own_origin(stage))
        assert answer.status == 403, button
        assert "ask an administrator" in answer.text()
    assert entries(stage) == before


def test_a_form_on_another_site_is_refused_although_the_browser_sends_the_cookie(
    stage: PageStage, log_in: LogIn
) -> None:
    page = log_in("admin")
    before = entries(stage)
    # Another port is another origin, but the same site: the cookie's SameSite does not keep it back.
    with elsewhere(f"{stage.url}model/{MODEL}/roll-back", form(stage, "admin")) as address:
        page.goto(address)
        with page.expect_navigation() as arrived:
            page.click("button")
    assert arrived.value is not None
    sent = arrived.value.request.all_headers()
    assert "_token" in sent["cookie"]
    assert arrived.value.status == 403
    assert "was not made on the page itself" in page.inner_text("main")
    assert entries(stage) == before


def test_a_post_without_the_pages_token_is_refused(stage: PageStage, log_in: LogIn) -> None:
    page = open_model(log_in("admin"))
    for token in ("", form(stage, "viewer")["token"]):
        sent = {**form(stage, "admin"), "token": token}
        answer = page.request.post(f"{page.url}/roll-back", form=sent, headers=own_origin(stage))
        assert answer.status == 403
        assert "load the page again" in answer.text()


# --- the look -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_and_needs_nothing_from_elsewhere(
    log_in: LogIn, picture: Picture, stage: PageStage, width: int
) -> None:
    page = log_in("admin", width)
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    picture(page, f"models-{width}")
    assert _fits(page)
    open_model(page)
    page.wait_for_selector("#candidates .tag.refused")
    for opened in ("#open-retrain summary", "#glossary summary"):
        page.click(opened)
    assert _fits(page)
    picture(page, f"model-{width}")
    assert said == []
    assert all(address.startswith(stage.url) for address in asked)


def test_every_control_has_a_name_and_the_page_its_landmarks(log_in: LogIn) -> None:
    page = open_model(log_in("admin"))
    page.click("#open-retrain summary")
    unnamed = page.evaluate(
        "[...document.querySelectorAll('main input:not([type=hidden]), main textarea, main select')]"
        ".filter((each) => !each.labels.length).map((each) => each.name)"
    )
    assert unnamed == []
    assert page.locator("html[lang=en]").count() == 1
    assert page.locator("h1").count() == 1
    assert page.locator("main, header, nav[aria-label]").count() == 3
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((each) => each.id)")
    assert len(ids) == len(set(ids))
    page.keyboard.press("Control+Home")
    described = page.evaluate(
        "[...document.querySelectorAll('[aria-describedby],[aria-labelledby]')].flatMap((each) =>"
        " [each.getAttribute('aria-describedby'), each.getAttribute('aria-labelledby')])"
        ".filter((name) => name && !document.getElementById(name))"
    )
    assert described == []


def test_a_refresh_takes_neither_the_focus_nor_what_was_written(log_in: LogIn) -> None:
    page = open_model(log_in("admin"))
    page.click("#open-retrain summary")
    page.fill("#reason-retrain", "half a sent")
    page.click("#glossary summary")
    page.focus("#reason-retrain")
    for _ in range(2):
        refreshed(page)
    assert page.input_value("#reason-retrain") == "half a sent"
    assert page.evaluate("document.activeElement.id") == "reason-retrain"
    assert page.locator("#glossary[open]").count() == 1


def test_an_answer_that_never_comes_is_not_the_last_that_is_asked_for(log_in: LogIn) -> None:
    page = open_model(log_in("viewer"))
    page.clock.install()
    page.reload()
    hung: list[Route] = []
    page.route(page.url, lambda route: route.continue_() if hung else hung.append(route))
    with page.expect_request(page.url):
        page.clock.fast_forward(6_000)
    page.clock.fast_forward(31_000)
    _wait_for(page, "body.stale", 60_000)
    assert len(hung) == 1
    page.clock.fast_forward(6_000)
    _wait_for(page, "body:not(.stale)", 60_000)


def test_the_page_stands_in_airflows_navigation_and_as_a_tab_of_the_models_dag(
    stage: PageStage, log_in: LogIn, picture: Picture
) -> None:
    page = log_in("viewer")
    airflow = stage.url.removesuffix("/baton/")
    page.goto(f"{airflow}/plugin/baton")
    page.frame_locator("iframe").locator(f"h2:has-text('{MODEL}')").wait_for()
    page.goto(f"{airflow}/dags/{DAG}")
    page.get_by_role("link", name="Model", exact=True).click()
    page.frame_locator("iframe").locator("#champion").wait_for()
    picture(page, "tab-1280")


# --- what a person does -------------------------------------------------------------------------------------------


def test_an_admin_retrains_with_parameters_sees_a_refusal_approves_and_rolls_back(
    stage: PageStage, log_in: LogIn, picture: Picture
) -> None:
    stage.airflow.client().call("PATCH", f"/dags/{DAG}", {"is_paused": False})
    page = open_model(log_in("admin"))
    wait_for_text(page, "#candidates .refused", "minimum-quality")
    page.click("#open-retrain summary")
    page.fill("[name=end]", "2024-05-01T00:00:00Z")
    page.fill("[name=parameter_alpha]", "2.0")
    page.fill("#reason-retrain", "the courier fleet grew")
    page.click("#open-retrain button[type=submit]")
    wait_for_text(page, "#told", "was started")

    _wait_for(page, "#question form")
    page.click("#question summary")
    assert "rmse" in page.inner_text("#question .prose")
    picture(page, "question-1280")
    other = open_model(log_in("olga"))
    wait_for_text(other, "#question", "only admin may answer")
    assert other.locator("#question form").count() == 0
    wait_for_text(other, "#do-promote", "only admin may promote")

    page.fill("#question textarea", "the numbers look right")
    page.click("#question button:text('Approve')")
    wait_for_text(page, "#told", "Approved")  # until the new page is there, what was told before still stands
    wait_for_text(page, "#champion", "version 2")
    wait_for_text(page, "#health", "scores with version 2")
    picture(page, "promoted-1280")
    _roll_back(page, "complaints from the harbour", picture)

    first, promoted, back = entries(stage)
    assert (first.version, promoted.version, promoted.actor) == ("1", "2", "admin")
    assert "the numbers look right" in promoted.reason
    assert "asked for by admin: the courier fleet grew" in promoted.reason
    assert (back.kind.value, back.version, back.actor) == ("rollback", "1", "admin")
    assert back.reason == "complaints from the harbour"


def _roll_back(page: Page, reason: str, picture: Picture) -> None:
    page.click("#open-roll-back summary")
    page.fill("#reason-roll-back", reason)
    page.click("#open-roll-back button[type=submit]")
    wait_for_text(page, "#told", "Decided: rollback of version 1")
    wait_for_text(page, "#health", "scores with version 1")
    wait_for_text(page, "#timeline", reason)
    picture(page, "rolled-back-1280")


def test_what_was_rolled_back_is_not_promoted_again_and_the_page_says_by_which_rule(
    stage: PageStage, log_in: LogIn
) -> None:
    page = open_model(log_in("admin"))
    sent = {**form(stage, "admin"), "version": "2"}
    before = entries(stage)
    page.request.post(f"{page.url}/promote", form=sent, headers=own_origin(stage))
    answer = page.request.post(f"{page.url}/promote", form=sent, headers=own_origin(stage))
    assert "Nothing was decided." in answer.text()
    assert "was rolled back at sequence 3 by admin" in answer.text()
    assert entries(stage) == before


def test_a_decision_on_what_is_no_longer_so_is_refused(stage: PageStage, log_in: LogIn) -> None:
    page = open_model(log_in("admin"))
    sent = {**form(stage, "admin"), "version": "2", "head": "2"}
    answer = page.request.post(f"{page.url}/roll-back", form=sent, headers=own_origin(stage))
    assert "the ledger now has sequence 3" in " ".join(answer.text().split())
    assert len(entries(stage)) == 3


def test_a_candidate_that_was_kept_is_promoted_by_hand_under_the_persons_name_and_only_once(
    stage: PageStage, log_in: LogIn
) -> None:
    version = stage.keep_candidate()
    page = open_model(log_in("admin"))
    page.wait_for_selector("#open-promote summary")
    page.click("#open-promote summary")
    page.select_option("#version-promote", version)
    page.fill("#reason-promote", "approved in the review")
    sent = page.evaluate("Object.fromEntries(new FormData(document.querySelector('#open-promote form')))")
    page.click("#open-promote button[type=submit]")
    wait_for_text(page, "#told", f"Decided: promote of version {version}")
    wait_for_text(page, "#health", f"scores with version {version}")
    again = page.request.post(f"{page.url}/promote", form=sent, headers=own_origin(stage))
    assert f"Decided: promote of version {version}" in again.text()
    assert [(entry.version, entry.actor) for entry in entries(stage)[3:]] == [(version, "admin")]
    assert entries(stage)[-1].reason == "approved in the review"


def test_dead_letters_are_told_by_reason_and_never_with_their_content(
    stage: PageStage, log_in: LogIn, picture: Picture
) -> None:
    stage.feed(200, 7)
    page = open_model(log_in("viewer"))
    wait_for_text(page, "#letters", "wrong-type")
    page.click("#sample summary")
    assert "secret" not in page.content()
    picture(page, "letters-1280")


# --- what is away -------------------------------------------------------------------------------------------------


def test_without_the_registry_the_page_stays_and_says_so(stage: PageStage, log_in: LogIn) -> None:
    page = log_in("viewer")
    with stage.without_registry():
        open_model(page)
        wait_for_text(page, "#blind", "The registry cannot be seen now")
        wait_for_text(page, "#champion", f"version {entries(stage)[-1].version}")
    wait_for_no(page, "#blind .banner.bad")


def test_without_the_ledger_the_page_stays_and_says_so(stage: PageStage, log_in: LogIn) -> None:
    page = log_in("viewer")
    with stage.without_ledger():
        open_model(page)
        wait_for_text(page, "#blind", "The ledger cannot be seen now")
        _wait_for(page, LIVE_WORKER)
    wait_for_no(page, "#blind .banner.bad")


@pytest.mark.faults  # how soon the worker is back behind its broker is a matter of minutes on a busy machine
def test_without_the_broker_the_page_stays_and_says_so(stage: PageStage, log_in: LogIn, picture: Picture) -> None:
    page = open_model(log_in("admin"))
    stage.broker.stop()
    try:
        wait_for_text(page, "#blind", "The workers cannot be seen now", 90_000)
        assert f"version {entries(stage)[-1].version}" in page.inner_text("#champion")
        picture(page, "no-broker-1280")
    finally:
        stage.broker.start()
    wait_for_text(page, "#health", f"scores with version {entries(stage)[-1].version}", 120_000)


# --- helpers ------------------------------------------------------------------------------------------------------


def wait_for_no(page: Page, selector: str) -> None:
    page.wait_for_selector(selector, state="detached", timeout=RUN_LIMIT_MS)


def _fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


class _StayHere(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer like any other."""

    def redirect_request(self, *_: object) -> None:
        return None


@contextmanager
def elsewhere(action: str, fields: dict[str, Field]) -> Iterator[str]:
    """Another site with a button that posts to ``action``; yields its address."""
    inputs = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in fields.items())
    content = f'<form method="post" action="{action}">{inputs}<button>Win a prize</button></form>'.encode()

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
