"""Keeps secrets out of printed or stored text, and keeps a server's text from controlling a terminal."""

from __future__ import annotations

import base64
import binascii
import re

from prebuild_api.http import Headers, RawResponse

_MIN_SECRET = 12
"""A token of fewer characters is not a secret, and would be found in ordinary words."""

_MARK = "[token]"


def redacted(text: str, *tokens: object) -> str:
    """`text` without the tokens, which a server or a library may have repeated."""
    for token in tokens:
        if isinstance(token, str) and len(token) >= _MIN_SECRET:
            text = text.replace(token, _MARK)
    return text


def redacted_response(response: RawResponse, token: str) -> RawResponse:
    """`response` without the token that its request carried."""
    if len(token) < _MIN_SECRET:
        return response
    secret = token.encode()
    headers = response.headers
    if any(token in value for value in headers.values()):
        headers = Headers((name, redacted(value, token)) for name, value in headers.items())
    content = response.content
    if secret in content:
        content = content.replace(secret, _MARK.encode())
    if headers is response.headers and content is response.content:
        return response
    return RawResponse(response.status_code, headers, content)


def redacted_base64(value: str, token: str) -> str:
    """A base64 value without the token in the bytes that it stands for."""
    try:
        content = base64.b64decode(value + "=" * (-len(value) % 4))
    except (binascii.Error, ValueError):
        return value
    if len(token) < _MIN_SECRET or token.encode() not in content:
        return value
    # A mark of the same length keeps the lengths that a protobuf message has in it.
    return base64.b64encode(content.replace(token.encode(), b"*" * len(token))).decode().rstrip("=")


def readable(text: str) -> str:
    """`text` with a mark for each character that would command a terminal, or cannot be written anywhere."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


_CONTROLS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters except tab and line feed, characters that change the direction of text, and surrogates."""
