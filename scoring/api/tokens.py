"""Who may ask for what: bearer tokens, of which the file keeps the digests alone."""

import hmac
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import structlog

from scoring.contract.decoding import decodable
from scoring.contract.digest import Digest, digest_of
from scoring.contract.errors import ConfigurationError

LOOK_AGAIN_S = 1.0
_TOKEN_BYTES = 32
_SCHEME = "bearer "
log = structlog.get_logger()


class Scope(StrEnum):
    """What a token allows."""

    READ = "read"
    SCORE = "score"


class Token(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One token, as the file keeps it.

    Attributes:
        name: who has it; the log names requests by it.
        sha256: of the token.
    """

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}\Z")]
    sha256: Digest
    scopes: tuple[Scope, ...]


decodable(tuple[Token, ...])


def read_tokens(path: Path) -> tuple[Token, ...]:
    """The tokens of a file.

    Raises:
        ConfigurationError: it cannot be read, or lists what is wrong with it.
    """
    try:
        tokens = msgspec.json.decode(path.read_bytes(), type=tuple[Token, ...])
    except OSError as error:
        raise ConfigurationError(f"BATON_API_TOKENS_FILE: cannot read {path}: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"BATON_API_TOKENS_FILE: {path} is no list of tokens: {error}") from error
    mistakes = list(_mistakes(tokens))
    if mistakes:
        raise ConfigurationError(f"BATON_API_TOKENS_FILE: {path}: {'; '.join(mistakes)}")
    return tokens


def make_token(path: Path, name: str, scopes: Sequence[Scope]) -> str:
    """Add a token to a file, which is made where there is none; returns the token, which nobody can read again.

    Raises:
        ConfigurationError: the name is taken or cannot be one, or the file cannot be used.
    """
    tokens = read_tokens(path) if path.exists() else ()
    if any(token.name == name for token in tokens):
        raise ConfigurationError(f"{path} has a token of {name!r}; take it out first, or choose another name")
    value = secrets.token_urlsafe(_TOKEN_BYTES)
    added = {"name": name, "sha256": digest_of(value.encode()), "scopes": sorted(set(scopes))}
    try:
        token = msgspec.convert(added, Token)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{name!r} cannot be a token's name: {error}") from error
    _write(path, (*tokens, token))
    return value


class TokenFile:
    """The tokens of a file, which is read again when it changes: a token is taken away without a restart.

    Raises:
        ConfigurationError: the file cannot be used now. Later on, the tokens of before go on to count.
    """

    def __init__(self, path: Path, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock_s = clock_s
        self._looked_at_s = clock_s()
        self._stamp = _stamp(path)
        self._tokens = read_tokens(path)

    def holder(self, authorization: str) -> Token | None:
        """The token that a request's ``Authorization`` header presents; None where it is none of ours.

        Every token is compared with, and each comparison takes the same time.
        """
        self._look()
        if authorization[: len(_SCHEME)].lower() != _SCHEME:
            return None
        found = None
        digest = digest_of(authorization[len(_SCHEME) :].strip().encode("utf-8", "replace"))
        for token in self._tokens:
            if hmac.compare_digest(token.sha256, digest):
                found = token
        return found

    def _look(self) -> None:
        now_s = self._clock_s()
        if now_s - self._looked_at_s < LOOK_AGAIN_S:
            return
        self._looked_at_s, stamp = now_s, _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._tokens = read_tokens(self._path)
        except ConfigurationError as error:
            log.error("tokens.unreadable", error=str(error))  # noqa: TRY400 - its sentence says it all
        else:
            log.info("tokens.read", tokens=[token.name for token in self._tokens])


def _mistakes(tokens: Sequence[Token]) -> Iterator[str]:
    if not tokens:
        yield "there is no token; make one with: baton api token NAME --scope score"
    for what, found in (("name", [t.name for t in tokens]), ("digest", [t.sha256 for t in tokens])):
        for each in sorted({value for value in found if found.count(value) > 1}):
            yield f"the {what} {each} is there twice"
    yield from (f"{token.name} has no scope" for token in tokens if not token.scopes)


def _write(path: Path, tokens: Sequence[Token]) -> None:
    written = path.with_name(f"{path.name}.new")
    try:
        descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(tokens), indent=2) + b"\n")
        written.replace(path)
    except OSError as error:
        raise ConfigurationError(f"BATON_API_TOKENS_FILE: cannot write {path}: {error.strerror}") from error


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return found.st_mtime_ns, found.st_ino
