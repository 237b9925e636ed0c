"""What a post must show before it is believed, and what a user may do."""

import warnings
from typing import Any

import pytest

# What Airflow's API imports warns of things that nobody here can mend.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from airflow.api_fastapi import app as airflow_app
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from fastapi import HTTPException, Request

    from baton_airflow.page import auth
    from baton_airflow.page.buttons import Button, why_not
    from baton_airflow.page.rights import Rights

ADA = SimpleAuthManagerUser(username="ada", role="user")
EVE = SimpleAuthManagerUser(username="eve", role="user")
OWN = {"origin": "http://airflow.example", "sec-fetch-site": "same-origin"}


@pytest.fixture(autouse=True)
def manager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__SECRET_KEY", "a secret of this test")
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://outside.example/airflow")
    monkeypatch.setattr(airflow_app._AuthManagerState, "instance", SimpleAuthManager())  # type: ignore[no-untyped-call]
    monkeypatch.setattr("airflow.models.dag.DagModel.get_team_name", lambda _: None)


def post(**headers: str) -> Request:
    named = {"host": "airflow.example", **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope: dict[str, Any] = {
        "type": "http",
        "headers": [(name.encode(), text.encode()) for name, text in named.items()],
    }
    return Request(scope)


@pytest.mark.parametrize(
    "headers",
    [
        OWN,
        {"origin": "http://airflow.example"},
        {"origin": "https://outside.example"},  # the address that users see, before a proxy
        {"sec-fetch-site": "same-origin"},
    ],
)
def test_a_post_of_the_page_itself_is_believed(headers: dict[str, str]) -> None:
    auth.require_own_post(post(**headers), ADA, auth.form_token(ADA))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "null"},
        {"origin": "http://evil.example"},
        {"origin": "http://evil.example", "sec-fetch-site": "same-origin"},
        {"origin": "http://airflow.example", "sec-fetch-site": "cross-site"},
        {"origin": "http://airflow.example", "sec-fetch-site": "same-site"},
        {"origin": "http://airflow.example", "sec-fetch-site": "none"},
        {"origin": "http://airflow.example.evil.example"},
    ],
)
def test_a_post_from_elsewhere_is_refused_whatever_token_it_carries(headers: dict[str, str]) -> None:
    with pytest.raises(HTTPException, match="403"):
        auth.require_own_post(post(**headers), ADA, auth.form_token(ADA))


@pytest.mark.parametrize("token", ["", "made up"])
def test_a_post_without_the_users_own_token_is_refused(token: str) -> None:
    for found in (token, auth.form_token(EVE), auth.tell("ada", good=True)):
        with pytest.raises(HTTPException, match="403"):
            auth.require_own_post(post(**OWN), ADA, found)


def test_an_old_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    token = auth.form_token(ADA)
    monkeypatch.setattr(auth, "TOKEN_SECONDS", -1)
    with pytest.raises(HTTPException, match="403"):
        auth.require_own_post(post(**OWN), ADA, token)


def test_nobody_else_can_make_the_page_say_something() -> None:
    assert auth.told(auth.tell("Decided.", good=True)) == ("Decided.", True)
    for made_up in (None, "", "Decided.", auth.form_token(ADA)):
        assert auth.told(made_up) is None


@pytest.mark.parametrize(
    ("role", "allowed"),
    [("viewer", set()), ("user", set(Button)), ("op", set(Button)), ("admin", set(Button))],
)
def test_a_viewer_may_read_and_press_nothing(role: str, allowed: set[Button]) -> None:
    rights = auth.rights_of(SimpleAuthManagerUser(username="somebody", role=role), "train_small")
    assert rights.read is None
    assert {button for button in Button if why_not(button, rights) is None} == allowed
    assert all("ask an administrator" in str(why_not(button, rights)) for button in set(Button) - allowed)


def test_who_may_not_read_a_model_may_press_nothing_either() -> None:
    rights = Rights(read="you may not read it", retrain=None, answer=None, decide=None)
    assert {why_not(button, rights) for button in Button} == {"you may not read it"}


def test_the_ledger_gets_the_users_name() -> None:
    assert auth.person(ADA) == "ada"


def test_airflow_loads_the_plugin_without_an_error_and_no_other_file_of_the_folder() -> None:
    from airflow import plugins_manager

    plugins, errors = plugins_manager._get_plugins()
    assert errors == {}
    assert [plugin.name for plugin in plugins if plugin.external_views] == ["baton"]
    views, _ = plugins_manager._get_ui_plugins()
    assert {view["url_route"] for view in views} == {"baton", "baton-model"}
