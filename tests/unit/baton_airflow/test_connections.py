"""Connections of Airflow become the URLs that Baton reads."""

from typing import Any

import pytest
import sqlalchemy as sa
from airflow.sdk import Connection

from baton_airflow.connections import from_airflow, url_of
from scoring.contract.errors import ConfigurationError
from scoring.sources.address import api_address, storage_options


def kept(**parts: Any) -> Connection:
    return Connection(conn_id="there", **parts)


def test_a_login_or_a_token_lets_us_into_an_api() -> None:
    basic = api_address(
        "there", url_of("there", kept(conn_type="http", host="https://api.test/v1/", login="ad@", password="a/b"))
    )
    assert (basic.base, basic.user, basic.password) == ("https://api.test/v1", "ad@", "a/b")
    schema = url_of(
        "there", kept(conn_type="http", host="api.test", schema="https", port=8443, extra='{"token": "t:0"}')
    )
    token = api_address("there", schema)
    assert (token.base, token.token, token.user) == ("https://api.test:8443", "t:0", None)
    assert url_of("there", kept(conn_type="http", host="api.test")) == "http://api.test"


def test_a_database_is_read_with_the_driver_that_is_there_or_that_is_named() -> None:
    parts = {"host": "db.test", "login": "ada", "password": "p@ss/w", "port": 5432, "schema": "sales"}
    url = sa.make_url(url_of("there", kept(conn_type="postgres", extra='{"sslmode": "require"}', **parts)))
    assert (url.drivername, url.password, url.database) == ("postgresql+psycopg", "p@ss/w", "sales")
    assert url.query == {"sslmode": "require"}
    named = url_of("there", kept(conn_type="mysql", host="db.test", schema="sales", extra='{"driver": "pymysql"}'))
    assert named == "mysql+pymysql://db.test/sales"
    assert url_of("there", kept(conn_type="sqlite", host="/data/a.db")) == "sqlite:////data/a.db"


def test_an_object_store_gets_its_key_and_its_endpoint() -> None:
    url = url_of(
        "there", kept(conn_type="aws", login="key", password="s/cret", extra='{"endpoint_url": "https://minio"}')
    )
    assert storage_options("there", url, "s3://lake/a.csv") == {
        "key": "key",
        "secret": "s/cret",
        "endpoint_url": "https://minio",
    }


def test_an_extra_may_hold_the_whole_url() -> None:
    assert url_of("there", kept(conn_type="generic", extra='{"url": "duckdb:////data/a"}')) == "duckdb:////data/a"


def test_a_connection_without_a_host_says_so() -> None:
    with pytest.raises(ConfigurationError, match="connection 'there': Airflow's connection has no host; give it one"):
        url_of("there", kept(conn_type="http"))


def test_what_airflow_keeps_is_found_by_its_name_and_what_it_does_not_keep_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WEATHER", "http://ada:geheim@api.test/https")
    assert from_airflow("weather") == "https://ada:geheim@api.test"
