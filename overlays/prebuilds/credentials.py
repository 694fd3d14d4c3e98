"""How the token gets into a request: at the last moment, so that nothing else carries it about."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Any

import httpx

from prebuilds.errors import PrebuildsError, TokenError
from prebuilds.settings import Token, can_be_token


class BearerAuth(httpx.Auth):
    """Adds the token to each request; one that is to be asked for is asked for each time."""

    def __init__(self, token: Token) -> None:
        self._token = token

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the token.

        Raises:
            TokenError: there is none to be had.
        """
        token = self._asked()
        if not isinstance(token, str):
            if hasattr(token, "close"):
                token.close()
            raise TokenError(
                f"the callable bearer_token answered {type(token).__name__}, not a string: only an AsyncPrebuildClient "
                "takes an asynchronous one"
            )
        yield _bearing(request, token)

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """As `sync_auth_flow`; an answer that has to be awaited is awaited."""
        token = self._asked()
        if hasattr(token, "__await__"):
            try:
                token = await token
            except PrebuildsError:
                raise
            except Exception as error:
                raise _no_token(error) from error
        yield _bearing(request, token)

    def _asked(self) -> Any:
        if isinstance(self._token, str):
            return self._token
        try:
            return self._token()
        except Exception as error:
            raise _no_token(error) from error


def _no_token(error: Exception) -> TokenError:
    return TokenError(f"the callable bearer_token failed, and nothing was sent: {type(error).__name__}: {error}")


def _bearing(request: httpx.Request, token: object) -> httpx.Request:
    if not isinstance(token, str):
        raise TokenError(f"the callable bearer_token answered {type(token).__name__}, not a string")
    token = token.strip()
    if not can_be_token(token):
        what = "a string with characters that no token can have" if token else "an empty string"
        raise TokenError(f"the callable bearer_token answered {what}")
    request.headers["Authorization"] = f"Bearer {token}"
    return request
