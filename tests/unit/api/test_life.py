"""Starting a process of the API: what is missing is told at once, and tokens are made by the command."""

import json
import socket
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from click.testing import CliRunner, Result

from scoring import cli
from scoring.api.life import ApiPost, check
from scoring.api.openapi import document
from scoring.api.parts import process_id
from scoring.api.server import certificate_of, listening
from scoring.api.tokens import Scope, TokenFile, make_token, read_tokens
from scoring.contract.errors import ConfigurationError
from scoring.settings import Settings
from scoring.worker.cache import Cache, Memory
from scoring.worker.clients import worker_id


def run(*arguments: str, tokens: Path) -> Result:
    return CliRunner().invoke(cli.group, ["api", *arguments], env={"BATON_API_TOKENS_FILE": str(tokens)})


def test_everything_that_is_missing_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        check(Settings())
    for name in ("MODELS", "KAFKA_BOOTSTRAP", "SIGNING_KEYS_FILE", "REGISTRY_URI", "CACHE_DIR", "API_TOKENS_FILE"):
        assert f"BATON_{name}" in str(caught.value)


def test_the_tokens_are_read_before_it_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read"):
        check(Settings(api_tokens_file=tmp_path / "none.json"))


def test_a_certificate_takes_its_key_and_both_have_to_be_there(tmp_path: Path) -> None:
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    cases: list[tuple[dict[str, Any], str]] = [
        ({"api_certificate": certificate}, "BATON_API_KEY is not set, but the other one is; BATON_API_CERTIFICATE: th"),
        ({"api_key": key}, "BATON_API_CERTIFICATE is not set, but the other one is; BATON_API_KEY: there is no file"),
        ({"api_key": key, "api_certificate": certificate}, "BATON_API_KEY: there is no file"),
    ]
    for given, words in cases:
        with pytest.raises(ConfigurationError) as caught:
            certificate_of(Settings(**given))
        assert words in str(caught.value)
    assert certificate_of(Settings()) is None
    certificate.touch()
    key.touch()
    assert certificate_of(Settings(api_key=key, api_certificate=certificate)) == (certificate, key)


def test_processes_of_a_host_share_a_port_and_strangers_do_not() -> None:
    with listening("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        listening("127.0.0.1", port).close()
        with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
            stranger.bind(("127.0.0.1", port))


def test_no_process_of_the_api_has_the_memory_of_a_worker(tmp_path: Path) -> None:
    """Deployments ``flights`` and ``flights-api`` may share a cache directory."""
    own = Cache(tmp_path, process_id(Settings(deployment="flights", slot=0)))
    other = Cache(tmp_path, worker_id(Settings(deployment="flights-api", slot=0)))
    own.remember(Memory(ledger=UUID(int=1)))
    assert other.recall() == Memory()
    assert own.recall() == Memory(ledger=UUID(int=1))


def test_a_post_carries_where_to_serve() -> None:
    post = ApiPost(deployment="d", slot=1, models=("small",), supervisor=1, lifeline=3, address="127.0.0.1", port=9_580)
    assert msgspec.json.decode(msgspec.json.encode(post), type=ApiPost) == post


def test_the_command_makes_a_token_that_is_known(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    made = run("token", "checkout", "--scope", "score", tokens=path)
    assert made.exit_code == 0, made.output
    holder = TokenFile(path).holder(f"Bearer {made.stdout.strip()}")
    assert holder is not None
    assert (holder.name, holder.scopes) == ("checkout", (Scope.SCORE,))
    told = json.loads(run("token", "both", "--scope", "read", "--scope", "score", "--json", tokens=path).stdout)
    assert TokenFile(path).holder(f"Bearer {told['token']}") == read_tokens(path)[1]


@pytest.mark.parametrize("arguments", [["checkout"], ["checkout", "--scope", "all"], []])
def test_a_token_needs_a_name_and_a_scope(tmp_path: Path, arguments: list[str]) -> None:
    assert run("token", *arguments, tokens=tmp_path / "tokens.json").exit_code == 2


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    make_token(tmp_path / "tokens.json", "checkout", [Scope.READ])
    found = run("token", "checkout", "--scope", "read", tokens=tmp_path / "tokens.json")
    assert isinstance(found.exception, ConfigurationError)


def test_the_command_writes_the_description(tmp_path: Path) -> None:
    assert json.loads(run("openapi", tokens=tmp_path).stdout) == json.loads(json.dumps(document()))
