import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.support.airflow_home import PROJECT
from tests.support.page_stage import PageStage, page_stage

# Airflow and what it imports warn of things that nobody here can mend; our own warnings stay errors.
_WARNINGS = ("ignore", r"error::Warning:(baton_airflow|training|scoring)(\..*)?")
# Kept after the tests, for people to look at.
PICTURES = PROJECT / "var" / "pictures" / "page"
INSTALL = "apt-get install -y chromium"
PATIENCE_MS = 60_000

LogIn = Callable[..., Page]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.integration)
            item.add_marker(pytest.mark.filterwarnings(*_WARNINGS))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageStage]:
    with page_stage(tmp_path_factory.mktemp("page")) as opened:
        yield opened


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Ends with its module: while Playwright runs, no other test may run an event loop of its own."""
    found = shutil.which("chromium")
    if found is None:
        pytest.fail(f"no Chromium; install it with `{INSTALL}`")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])  # tests may run as root
        yield started
        started.close()


@pytest.fixture
def log_in(stage: PageStage, browser: Browser) -> Iterator[LogIn]:
    """Logs in as one of the stage's users, in a browser of its own; the page of all models is open then."""
    opened: list[BrowserContext] = []

    def enter(user: str, width: int = 1280) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900})
        opened.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(stage.url)
        page.fill("input[name=username]", user)
        page.fill("input[name=password]", stage.password(user))
        page.click("button[type=submit]")
        page.wait_for_selector("h1:text('Models')")
        return page

    yield enter
    for context in opened:
        context.close()


@pytest.fixture(scope="session")
def picture() -> Callable[[Page, str], None]:
    """Keeps a picture of the whole page."""
    PICTURES.mkdir(parents=True, exist_ok=True)

    def take(page: Page, name: str) -> None:
        page.screenshot(path=PICTURES / f"{name}.png", full_page=True)

    return take
