"""Who may ask: tokens by digest, from a file that is read again when it changes."""

import json
import os
from pathlib import Path

import pytest

from scoring.api.tokens import LOOK_AGAIN_S, Scope, Token, TokenFile, make_token, read_tokens
from scoring.contract.digest import digest_of
from scoring.contract.errors import ConfigurationError


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def later(self) -> None:
        self.now_s += LOOK_AGAIN_S


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def test_a_token_is_told_once_and_only_its_digest_is_kept(path: Path) -> None:
    value = make_token(path, "checkout", [Scope.SCORE])
    assert value not in path.read_text()
    assert read_tokens(path) == (Token(name="checkout", sha256=digest_of(value.encode()), scopes=(Scope.SCORE,)),)
    assert path.stat().st_mode & 0o777 == 0o600
    assert make_token(path, "reports", [Scope.READ]) != value
    assert [token.name for token in read_tokens(path)] == ["checkout", "reports"]


def test_a_name_is_given_once(path: Path) -> None:
    make_token(path, "checkout", [Scope.SCORE])
    with pytest.raises(ConfigurationError, match="has a token of 'checkout'; take it out first"):
        make_token(path, "checkout", [Scope.READ])
    with pytest.raises(ConfigurationError, match="cannot be a token's name"):
        make_token(path, "check out", [Scope.READ])


def test_the_holder_of_a_token_is_found_by_it_alone(path: Path) -> None:
    first, second = make_token(path, "first", [Scope.SCORE]), make_token(path, "second", [Scope.READ, Scope.SCORE])
    tokens = TokenFile(path)
    for value, name in ((first, "first"), (second, "second")):
        for scheme in ("Bearer ", "bearer ", "BEARER  "):
            found = tokens.holder(scheme + value)
            assert found is not None
            assert found.name == name
    for wrong in ("", "Bearer", "Bearer ", f"Basic {first}", first, f"Bearer {first}x", f"Bearer {digest_of(b'x')}"):
        assert tokens.holder(wrong) is None


def test_a_token_that_is_taken_out_of_the_file_is_no_longer_known(path: Path) -> None:
    clock = Clock()
    first, second = make_token(path, "first", [Scope.SCORE]), make_token(path, "second", [Scope.SCORE])
    tokens = TokenFile(path, clock)
    path.write_text(json.dumps(json.loads(path.read_text())[1:]))
    os.utime(path, (1, 1))
    assert tokens.holder(f"Bearer {first}") is not None  # it is not looked at with every request
    clock.later()
    assert tokens.holder(f"Bearer {first}") is None
    assert tokens.holder(f"Bearer {second}") is not None


def test_a_file_that_is_damaged_later_on_changes_nothing(path: Path) -> None:
    clock = Clock()
    value = make_token(path, "first", [Scope.SCORE])
    tokens = TokenFile(path, clock)
    for damage in ("[", "[]", None):
        if damage is None:
            path.unlink()
        else:
            path.write_text(damage)
        clock.later()
        assert tokens.holder(f"Bearer {value}") is not None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[", "is no list of tokens"),
        ("{}", "is no list of tokens"),
        ("[]", "there is no token; make one with: baton api token"),
        ('[{"name": "a", "sha256": "00", "scopes": ["read"]}]', "is no list of tokens"),
        ('[{"name": "a", "sha256": "%s", "scopes": ["all"]}]' % ("0" * 64), "is no list of tokens"),
        ('[{"name": "a", "sha256": "%s", "scopes": []}]' % ("0" * 64), "a has no scope"),
    ],
)
def test_a_file_that_holds_something_else_is_told(path: Path, content: str, words: str) -> None:
    path.write_text(content)
    with pytest.raises(ConfigurationError, match="BATON_API_TOKENS_FILE") as caught:
        TokenFile(path)
    assert words in str(caught.value)


def test_all_mistakes_are_told_at_once(path: Path) -> None:
    entry = {"name": "a", "sha256": "0" * 64, "scopes": []}
    path.write_text(json.dumps([entry, entry]))
    with pytest.raises(ConfigurationError, match=r"the name a is there twice; the digest 0+ is there twice; a has no"):
        read_tokens(path)


def test_a_file_that_is_not_there_is_told(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read"):
        TokenFile(path)
    with pytest.raises(ConfigurationError, match="cannot write"):
        make_token(path / "in" / "none", "a", [Scope.READ])
