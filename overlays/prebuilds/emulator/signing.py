"""Tokens that only the emulator itself can create: page tokens and logs tokens."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import Any

_DIGEST_SIZE = 16

_compact = json.JSONEncoder(separators=(",", ":")).encode


class Signer:
    """Creates opaque tokens from JSON values, and opens them. A token is valid only for its own `kind`."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, kind: str, value: Any) -> str:
        """Return a token that contains `value`, in characters that need no escaping in a URL."""
        body = _compact(value).encode()
        return base64.urlsafe_b64encode(self._digest(kind, body) + body).decode().rstrip("=")

    def open(self, kind: str, token: str) -> Any:
        """Return the value in the token.

        Raises:
            ValueError: the token has another kind, or is not from this signer.
        """
        try:
            data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error) as error:
            raise ValueError(f"not a {kind} token") from error
        digest, body = data[:_DIGEST_SIZE], data[_DIGEST_SIZE:]
        if not hmac.compare_digest(digest, self._digest(kind, body)):
            raise ValueError(f"not a {kind} token")
        return json.loads(body)

    def _digest(self, kind: str, body: bytes) -> bytes:
        return hmac.digest(self._secret, kind.encode() + b"\0" + body, hashlib.sha256)[:_DIGEST_SIZE]
