import pytest

from scoring.contract.errors import ConfigurationError
from scoring.sources.address import ApiAddress, api_address, storage_options


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://api.example.org/v1", ApiAddress("https://api.example.org/v1")),
        ("https://t%40ken@api.example.org:8443/v1", ApiAddress("https://api.example.org:8443/v1", token="t@ken")),
        ("http://ada:p%3Aw@api.example.org", ApiAddress("http://api.example.org", user="ada", password="p:w")),
    ],
)
def test_an_address_holds_a_token_or_a_user_with_a_password(url: str, address: ApiAddress) -> None:
    assert api_address("crm", url) == address


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://ada:geheim@db/crm", "must begin with https:// and name a host"),
        ("https://geheim@api.example.org/?token=geheim", "must end with the path"),
        ("https://geheim%0A@api.example.org/", "its token holds characters that no header can carry"),
        ("geheim", "what it is set to is no URL"),
        ("https://geheim@api.example.org:port/", "what it is set to is no URL"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_repeating_it(url: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=f"connection 'crm': .*{told}") as caught:
        api_address("crm", url)
    assert "geheim" not in str(caught.value)


def test_an_address_does_not_show_its_secrets() -> None:
    assert "geheim" not in repr(api_address("crm", "https://ada:geheim@api.example.org/"))


def test_a_store_has_credentials_and_options_of_every_type() -> None:
    found = storage_options(
        "lake", "s3://AKIA:a%2Fb@?anon=false&endpoint_url=http%3A%2F%2Fminio%3A9000&retries=3", "s3://b/*"
    )
    expected = {"key": "AKIA", "secret": "a/b", "anon": False, "endpoint_url": "http://minio:9000", "retries": 3}
    assert found == expected


def test_a_web_server_gets_the_credentials_for_its_own_files_only() -> None:
    found = storage_options("web", "https://ada:pw@files.example.org/", "https://files.example.org/a.csv")
    assert found == {"client_kwargs": {"headers": {"authorization": "Basic YWRhOnB3"}}}
    for place in ("https://evil.example.org/a.csv", "http://files.example.org/a.csv", "s3://files.example.org/a.csv"):
        with pytest.raises(ConfigurationError, match="it leads to another host than the files are on"):
            storage_options("web", "https://ada:pw@files.example.org/", place)
