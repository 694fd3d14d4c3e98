"""The bearer token of a request. A function that gives tokens is called for each request, at the last moment."""

from __future__ import annotations

from prebuilds.errors import PrebuildsError, TokenError
from prebuilds.flows.effects import Callback, Steps
from prebuilds.options import Token, can_be_token


def bearer_token(token: Token) -> Steps[str]:
    """The token for one request.

    Raises:
        TokenError: the function failed, or returned something that is not a token. Nothing was sent.
    """
    if isinstance(token, str):
        return token
    try:
        given = yield Callback(token)
    except PrebuildsError:
        raise
    except Exception as error:
        raise TokenError(
            f"the bearer_token function failed, and nothing was sent: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(given, str):
        raise TokenError(f"the bearer_token function returned {type(given).__name__}, expected a string")
    given = given.strip()
    if not can_be_token(given):
        what = "a string with characters that a token cannot have" if given else "an empty string"
        raise TokenError(f"the bearer_token function returned {what}")
    return given
