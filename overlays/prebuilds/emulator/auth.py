"""Authentication and authorization: bearer tokens and the methods that they permit."""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping

from .errors import ConnectCode, ConnectError
from .ids import derived_id
from .lifecycle import SubjectRecord

# The characters that an Authorization header can carry after `Bearer `.
_TOKEN = re.compile(rb"[\x21-\x7e\x80-\xff]+")


_CONTROL_TOKEN = re.compile(r"[!-~]+")


class Tokens:
    """The API tokens that an emulator accepts.

    Args:
        full: tokens that permit every method. Without any, every token that is not in `read_only` does.
        read_only: tokens that permit only the methods without side effects.

    Raises:
        ValueError: a token is empty, contains a space, or is in both lists. The message does not quote the token.
    """

    __slots__ = ("_full", "_read_only")

    def __init__(self, full: Iterable[str] = (), read_only: Iterable[str] = ()) -> None:
        self._full = tuple(_encoded(token) for token in full)
        self._read_only = tuple(_encoded(token) for token in read_only)
        if not set(self._full).isdisjoint(self._read_only):
            raise ValueError("a token cannot be one that may write and a read-only one at once")

    @property
    def any_will_do(self) -> bool:
        """Whether any token is accepted."""
        return not self._full

    def check(self, token: bytes, *, writes: bool) -> None:
        """Check that a token permits a method. `writes` is true for a method with side effects.

        Raises:
            ConnectError: `unauthenticated`, the token is unknown; `permission_denied`, the token is read-only.
        """
        if _contains(self._read_only, token):
            if writes:
                raise ConnectError(
                    ConnectCode.PERMISSION_DENIED, "this token is read-only, and the method makes changes"
                )
        elif self._full and not _contains(self._full, token):
            raise unauthenticated("the bearer token is none that this emulator was told to take")


def bearer_token(headers: Mapping[bytes, bytes]) -> bytes:
    """Return the token of the Authorization header. The headers have lower-case names.

    Raises:
        ConnectError: `unauthenticated`, there is no token.
    """
    scheme, _, token = headers.get(b"authorization", b"").strip().partition(b" ")
    token = token.strip()
    if scheme.lower() != b"bearer" or not token:
        raise unauthenticated("a bearer token is needed: Authorization: Bearer <token>")
    return token


def check_control_token(token: str) -> None:
    """Check that a header can carry the token of the control plane.

    Raises:
        ValueError: no header can carry it. The message does not quote the token.
    """
    if not _CONTROL_TOKEN.fullmatch(token):
        raise ValueError("the control token has to be of visible ASCII characters, and not empty")


def caller_of(token: bytes) -> SubjectRecord:
    """Return the user of a token.

    ASSUMPTION: every token belongs to a user of its own. The real service knows the user.
    """
    return _user(hashlib.sha256(token).digest())


def unauthenticated(reason: str) -> ConnectError:
    """Return the error for a missing or invalid token."""
    return ConnectError(ConnectCode.UNAUTHENTICATED, reason, headers={"WWW-Authenticate": "Bearer"})


@functools.lru_cache(maxsize=1024)
def _user(digest: bytes) -> SubjectRecord:
    return SubjectRecord(derived_id("user", digest.hex()))


def _contains(tokens: tuple[bytes, ...], token: bytes) -> bool:
    # All tokens are compared, each in constant time, so that the duration does not reveal anything about them.
    found = False
    for known in tokens:
        found |= hmac.compare_digest(known, token)
    return found


def _encoded(token: str) -> bytes:
    data = token.encode(errors="surrogateescape")  # as the command line decodes bytes that are not UTF-8
    if not _TOKEN.fullmatch(data):
        raise ValueError("a token is at least one character long, and has neither blanks nor control characters")
    return data
