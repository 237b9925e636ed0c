import logging
import traceback
from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest

from scoring.contract.clock import rfc3339
from scoring.contract.errors import BatonError, ConfigurationError, Unavailable
from scoring.contract.source import Api, ApiLimits, Cursor, NextLink, Offset, PageNumber, Paging, Source
from scoring.sources.api import ApiReader
from tests.support.http_api import NOW, Fault, HttpApi, body, cut, dawdle, hang_up, stall, status
from tests.support.trips import COLUMNS, END, START, Trip, by_id, expected, pull_of, trips

WAYS: dict[str, Paging | None] = {
    "none": None,
    "next": NextLink(path="paging.next"),
    "link": NextLink(),
    "cursor": Cursor(path="after", parameter="after"),
    "page": PageNumber(parameter="page"),
    "offset": Offset(limit=1000),
}


def as_item(row: Trip) -> dict[str, Any]:
    """A ride as the API has it."""
    return {
        "id": row["id"],
        "pickup": rfc3339(row["pickup"]),
        "way": {"distance": row["distance"]},
        "shared": row["shared"],
        **({} if row["city"] is None else {"city": row["city"]}),
    }


@pytest.fixture
def served() -> Iterator[HttpApi]:
    with HttpApi([as_item(row) for row in trips()]).served() as api:
        yield api


def source(paging: Paging | None = None, **changes: Any) -> Source:
    limits = ApiLimits(**changes.pop("limits", {}))
    parameters = changes.pop("parameters", ())
    api = Api(
        path="v1/trips", items=changes.pop("items", "data.items"), paging=paging, limits=limits, parameters=parameters
    )
    columns = tuple((field, "way.distance" if field == "miles" else column) for field, column in COLUMNS)
    values: dict[str, Any] = {"connection": "crm", "table": "", "name": "rides", "columns": columns, "origin": api}
    return Source(**{**values, **changes})


def read(api: HttpApi, described: Source, user: str = "") -> list[tuple[Any, ...]]:
    url = api.url.replace("://", f"://{user}@") if user else api.url
    reader = ApiReader({"crm": url}.__getitem__, api.clock.clock)
    return by_id(reader.read(pull_of(described)))


def refused(api: HttpApi, described: Source, kind: type[BatonError] = ConfigurationError, user: str = "") -> str:
    with pytest.raises(kind) as caught:
        read(api, described, user)
    return str(caught.value)


@pytest.mark.parametrize("way", WAYS)
def test_all_pages_of_the_interval_come_back_whatever_the_way_of_paging(way: str) -> None:
    with HttpApi([as_item(row) for row in trips()], way).served() as api:
        assert read(api, source(WAYS[way])) == expected(trips())
        pages = {"none": 1, "page": 8, "offset": 8}
        assert len(api.asked) == pages.get(way, 7)


def test_the_interval_is_told_in_the_parameters(served: HttpApi) -> None:
    read(served, source(parameters=(("from", "{start}"), ("till", "{end}"), ("kind", "{all}"))))
    query = httpx.QueryParams(served.asked[0].partition("?")[2])
    assert dict(query) == {"from": rfc3339(START), "till": rfc3339(END), "kind": "{all}"}


def test_the_parameters_are_sent_with_every_page_that_is_counted() -> None:
    with HttpApi([as_item(row) for row in trips()], "cursor").served() as api:
        read(api, source(WAYS["cursor"], parameters=(("from", "{start}"),)))
        assert all("from=2024-01-01" in path for path in api.asked)
        assert "after=30" in api.asked[1]


@pytest.mark.parametrize(("user", "sent"), [("t0ken", "Bearer t0ken"), ("ada:p%40w", "Basic YWRhOnBAdw==")])
def test_a_token_or_a_password_lets_us_in(served: HttpApi, user: str, sent: str) -> None:
    served.authorization = sent
    assert read(served, source(), user) == expected(trips())


def test_wrong_credentials_are_told_without_repeating_them(served: HttpApi) -> None:
    served.authorization = "Bearer other"
    told = refused(served, source(), user="geheim")
    assert told == (
        "source 'rides': the API answers 401 at '/v1/trips': it does not let us in; check the credentials in its "
        "connection's URL"
    )


@pytest.mark.parametrize("fault", [status(401), status(302), cut, hang_up, body(b"<html>", "text/html"), status(500)])
@pytest.mark.parametrize("user", ["geheim", "ada:geheim"])
def test_no_error_and_no_log_repeats_the_credentials(
    served: HttpApi, fault: Fault, user: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    served.faults = dict.fromkeys(range(1, 9), fault)
    with pytest.raises(BatonError) as caught:
        read(served, source(), user)
    told = "".join(traceback.format_exception(caught.value)) + caplog.text
    basic = b64encode(b"ada:geheim").decode()
    assert "source 'rides'" in told
    assert "geheim" not in told
    assert basic not in told


def test_failures_that_pass_are_passed_over() -> None:
    with HttpApi([as_item(row) for row in trips()], "next").served() as api:
        api.faults = {1: hang_up, 2: status(500), 4: cut, 5: cut, 7: status(503), 8: body(b'{"data": '), 9: status(408)}
        assert read(api, source(WAYS["next"], limits={"requests_per_s": 1e9})) == expected(trips())
        assert len(api.asked) == 7 + len(api.faults)
        assert [pause for pause in api.clock.slept if pause > 1e-6] == [0.5, 1.0, 0.5, 1.0, 0.5, 1.0, 2.0]


def test_an_api_that_keeps_failing_may_be_there_later(served: HttpApi) -> None:
    served.faults = dict.fromkeys(range(1, 100), status(500))
    assert "source 'rides': the API answers 500, asked 3 times; retry later" in refused(
        served, source(limits={"attempts": 3}), Unavailable
    )
    served.faults = dict.fromkeys(range(1, 100), cut)
    assert "the connection failed (RemoteProtocolError), asked 3 times" in refused(
        served, source(limits={"attempts": 3}), Unavailable
    )


def test_an_api_that_says_nothing_is_not_waited_for(served: HttpApi) -> None:
    served.faults = {1: stall, 2: stall}
    told = refused(served, source(limits={"attempts": 2, "request_timeout_s": 0.05}), Unavailable)
    assert "the connection failed (ReadTimeout), asked 2 times; retry later" in told


def test_an_api_that_is_not_there_may_be_there_later() -> None:
    reader = ApiReader({"crm": "http://127.0.0.1:9"}.__getitem__, HttpApi([]).clock.clock)
    with pytest.raises(Unavailable, match=r"the connection failed \(ConnectError\), asked 6 times; retry later"):
        reader.read(pull_of(source()))


def test_requests_keep_the_rate_and_an_api_with_a_lower_one_is_obeyed() -> None:
    with HttpApi([as_item(row) for row in trips()], "link").served() as api:
        api.rate_per_s = 10.0
        read(api, source(WAYS["link"], limits={"requests_per_s": 10.0}))
        assert len(api.asked) == 7
        assert api.clock.s == pytest.approx(0.6)
    with HttpApi([as_item(row) for row in trips()], "link").served() as api:
        api.rate_per_s = 0.2
        assert read(api, source(WAYS["link"])) == expected(trips())
        assert 30.0 <= api.clock.s < 31.0
        assert len(api.asked) == 13


@pytest.mark.parametrize("asked_for", ["20", (NOW + timedelta(seconds=20)).strftime("%a, %d %b %Y %H:%M:%S GMT")])
def test_the_pause_that_an_api_asks_for_is_kept(served: HttpApi, asked_for: str) -> None:
    served.faults = {1: status(429, ("Retry-After", asked_for))}
    assert read(served, source()) == expected(trips())
    assert served.clock.slept[0] == pytest.approx(20.0)


def test_an_api_that_asks_for_a_very_long_pause_is_left_alone(served: HttpApi) -> None:
    served.faults = {1: status(503, ("Retry-After", "86400"))}
    assert "answers 503 and asks us to wait 86400 s; retry then" in refused(served, source(), Unavailable)
    assert served.clock.slept == []


def test_a_pause_that_would_outlast_the_timeout_is_not_begun(served: HttpApi) -> None:
    served.faults = {1: status(429, ("Retry-After", "200"))}
    told = refused(served, source(timeout_s=100.0), Unavailable)
    assert told == "source 'rides': the next request would have to wait 200 s; retry later"


def test_the_whole_read_ends_with_its_timeout() -> None:
    with HttpApi([as_item(row) for row in trips()], "link").served() as api:
        refused(api, source(WAYS["link"], timeout_s=2.0, limits={"requests_per_s": 1.0}), Unavailable)
        assert len(api.asked) == 2


def test_an_answer_that_does_not_end_within_the_timeout_is_not_waited_for(served: HttpApi) -> None:
    served.faults = {1: dawdle}
    assert "not read within its 3600 s; retry later" in refused(served, source(), Unavailable)


@pytest.mark.parametrize(("status_code", "told"), [(404, "check path and parameters"), (302, "give its connection")])
def test_what_the_api_refuses_for_good_is_not_asked_again(served: HttpApi, status_code: int, told: str) -> None:
    served.faults = {1: status(status_code, ("Location", "http://127.0.0.1:1/elsewhere"))}
    assert f"the API answers {status_code} at '/v1/trips': " in (said := refused(served, source()))
    assert told in said
    assert len(served.asked) == 1


@pytest.mark.parametrize("way", ["next", "link"])
def test_a_next_page_on_another_host_is_refused_before_anything_is_sent_there(way: str) -> None:
    with HttpApi([]).served() as hostile, HttpApi([as_item(row) for row in trips()], way).served() as api:
        for host in (hostile.url, "//evil.example.org", "https://127.0.0.1", api.url.replace("://", "://eve@")):
            api.next_host = host
            told = refused(api, source(WAYS[way]), user="geheim")
            assert "source 'rides', page 1: its next page would be at " in told
            assert "geheim" not in told
        assert hostile.asked == []


def test_a_next_page_may_be_named_by_its_whole_address_on_the_same_host() -> None:
    with HttpApi([as_item(row) for row in trips()], "next").served() as api:
        api.next_host = api.url
        assert read(api, source(WAYS["next"])) == expected(trips())


def test_an_api_that_leads_in_a_circle_is_told(served: HttpApi) -> None:
    served.faults = dict.fromkeys(range(1, 9), body(b'{"data": {"items": []}, "next": "/v1/trips?a=1", "after": "x"}'))
    assert "page 2: its next page would be the same one again" in refused(served, source(NextLink(path="next")))
    assert "page 2: its next page would be the same one again" in refused(
        served, source(Cursor(path="after", parameter="after"))
    )


def test_an_api_that_does_not_know_the_parameter_is_told_instead_of_its_first_page_for_ever(served: HttpApi) -> None:
    told = refused(served, source(PageNumber(parameter="seite")))
    assert "page 2: its items are those of the page before; check that its parameter is 'seite'" in told


def test_an_api_with_more_pages_than_the_source_knows_of_is_told() -> None:
    with HttpApi([as_item(row) for row in trips()], "link").served() as api:
        assert "page 1: its Link header names a next page; state the paging, NextLink()" in refused(api, source())


def test_an_answer_without_end_is_cut_off_by_pages_and_by_bytes() -> None:
    with HttpApi([as_item(row) for row in trips()], "page").served() as api:
        told = refused(api, source(WAYS["page"], limits={"maximum_pages": 3}))
        assert "it has more than 3 pages; pull a shorter interval, or raise maximum_pages" in told
        told = refused(api, source(WAYS["page"], limits={"maximum_bytes": 5_000}))
        assert "its answers are longer than 5,000 bytes in all" in told


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"data": {"rows": []}}', "the answer has nothing at 'data.items', where the list of items should be"),
        (b'{"data": {"items": {}}}', "the answer has an object at 'data.items'"),
        (b'{"data": {"items": [7]}}', "item 1: it is a number, not an object"),
        (b'{"data": {"items": [{"id": "a"}]}}', "item 1: it has no 'pickup', the event time"),
    ],
)
def test_an_answer_of_another_form_is_told(served: HttpApi, content: bytes, told: str) -> None:
    served.faults = {1: body(content)}
    assert told in refused(served, source())


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"way": {"distance": "12"}}, "item 2: field 'miles' holds a text, where a number is declared"),
        ({"way": {"distance": True}}, "item 2: field 'miles' holds a boolean, where a number is declared"),
        ({"id": 12}, "item 2: field 'trip_id' holds a number, where a text is declared"),
        ({"shared": 1}, "item 2: field 'shared' holds a number, where true or false is declared"),
        ({"pickup": "2024-01-01 00:00"}, "item 2: field 'pickup' holds a text, where a time (2024-01-31T12:00:00Z"),
        ({"pickup": "2024-01-01T00:00:00"}, "item 2: field 'pickup' holds a text, where a time"),
        ({"city": ["Zürich"]}, "item 2: field 'city' holds a list, where a text is declared"),
    ],
)
def test_a_value_of_another_type_is_told_with_its_item_and_field(changed: dict[str, Any], told: str) -> None:
    items = [as_item(row) for row in trips(3)]
    items[1].update(changed)
    with HttpApi(items).served() as api:
        assert f"source 'rides', page 1, {told}" in refused(api, source())


def test_times_may_be_seconds_and_rows_without_a_time_are_in_no_interval() -> None:
    items = [{**as_item(row), "pickup": row["pickup"].timestamp()} for row in trips()]
    with HttpApi([*items, {**items[0], "pickup": None}]).served() as api:
        assert read(api, source()) == expected(trips())


def test_an_answer_that_is_no_json_is_told_at_once(served: HttpApi) -> None:
    served.faults = dict.fromkeys(range(1, 9), body(b"<html>log in</html>", "text/html"))
    assert "the API does not answer in JSON; check its path" in refused(served, source())
    assert len(served.asked) == 1


def test_the_whole_answer_may_be_the_list() -> None:
    with HttpApi([]).served() as api:
        api.faults = {1: body(msgspec.json.encode([as_item(row) for row in trips()]))}
        assert read(api, source(items="")) == expected(trips())


def test_an_empty_answer_is_empty_columns(served: HttpApi) -> None:
    served.items = []
    assert read(served, source()) == []
