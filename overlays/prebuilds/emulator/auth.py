"""Who may call: bearer tokens, and what each of them opens."""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping

from .errors import ConnectCode, ConnectError
from .ids import derived_id
from .lifecycle import SubjectRecord

# What an Authorization header can carry behind `Bearer `.
_TOKEN = re.compile(rb"[\x21-\x7e\x80-\xff]+")


_CONTROL_TOKEN = re.compile(r"[!-~]+")


class Tokens:
    """The API tokens that an emulator takes.

    Args:
        full: tokens that open every method. Without any, every token does that is not one of `read_only`.
        read_only: tokens that open the methods without side effects.

    Raises:
        ValueError: a token is empty or has a blank in it, or stands in both lists. The message does not quote it.
    """

    __slots__ = ("_full", "_read_only")

    def __init__(self, full: Iterable[str] = (), read_only: Iterable[str] = ()) -> None:
        self._full = tuple(_encoded(token) for token in full)
        self._read_only = tuple(_encoded(token) for token in read_only)
        if not set(self._full).isdisjoint(self._read_only):
            raise ValueError("a token cannot be one that may write and a read-only one at once")

    @property
    def any_will_do(self) -> bool:
        """Whether a token need not be one of those given."""
        return not self._full

    def check(self, token: bytes, *, writes: bool) -> None:
        """Check that a token opens a method; `writes` says whether the method has side effects.

        Raises:
            ConnectError: `unauthenticated`, it is none of the tokens; `permission_denied`, it may only read.
        """
        if _contains(self._read_only, token):
            if writes:
                raise ConnectError(
                    ConnectCode.PERMISSION_DENIED, "this token is read-only, and the method makes changes"
                )
        elif self._full and not _contains(self._full, token):
            raise unauthenticated("the bearer token is none that this emulator was told to take")


def bearer_token(headers: Mapping[bytes, bytes]) -> bytes:
    """The token of the Authorization header, out of headers with names in lower case.

    Raises:
        ConnectError: `unauthenticated`, there is none.
    """
    scheme, _, token = headers.get(b"authorization", b"").strip().partition(b" ")
    token = token.strip()
    if scheme.lower() != b"bearer" or not token:
        raise unauthenticated("a bearer token is needed: Authorization: Bearer <token>")
    return token


def check_control_token(token: str) -> None:
    """Check that a header can carry the token of the control plane.

    Raises:
        ValueError: none can. The message does not quote it.
    """
    if not _CONTROL_TOKEN.fullmatch(token):
        raise ValueError("the control token has to be of visible ASCII characters, and not empty")


def caller_of(token: bytes) -> SubjectRecord:
    """The user that a token belongs to.

    ASSUMPTION: every token is that of a user of its own. The real service knows whose it is.
    """
    return _user(hashlib.sha256(token).digest())


def unauthenticated(reason: str) -> ConnectError:
    """The answer to a caller without a token that is good for this."""
    return ConnectError(ConnectCode.UNAUTHENTICATED, reason, headers={"WWW-Authenticate": "Bearer"})


@functools.lru_cache(maxsize=1024)
def _user(digest: bytes) -> SubjectRecord:
    return SubjectRecord(derived_id("user", digest.hex()))


def _contains(tokens: tuple[bytes, ...], token: bytes) -> bool:
    # All are compared, each in constant time, so that the time taken tells nothing about any of them.
    found = False
    for known in tokens:
        found |= hmac.compare_digest(known, token)
    return found


def _encoded(token: str) -> bytes:
    data = token.encode(errors="surrogateescape")  # as the command line decodes what is no UTF-8
    if not _TOKEN.fullmatch(data):
        raise ValueError("a token is at least one character long, and has neither blanks nor control characters")
    return data
