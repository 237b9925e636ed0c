"""The page of the API is what its description says."""

from scoring.api.operations import OPERATIONS
from scoring.api.problems import Kind
from tests.support.api_page import PAGE, page


def test_the_page_is_what_the_description_says_now() -> None:
    assert PAGE.read_text() == page(), "run: python -m tests.support.api_page"


def test_every_operation_and_every_problem_stands_on_the_page() -> None:
    text = PAGE.read_text()
    assert all(f"## `{operation.method} {operation.path}`" in text for operation in OPERATIONS)
    assert all(f"| `{kind.code}` | {int(kind.status)} |" in text for kind in Kind if kind is not Kind.WRONG_METHOD)
