"""The meaning of the exceptions of httpx, and of libraries with the same interface."""

from __future__ import annotations

import ssl
from types import ModuleType
from typing import Any

import httpx

from prebuilds.engines.exchange import (
    CERTIFICATE_ADVICE,
    NO_TLS_ADVICE,
    NO_TLS_REASONS,
    ExchangeError,
    proxy_error,
)

_NOT_SENT = (
    "ConnectError",
    "ConnectTimeout",
    "PoolTimeout",
    "ProxyError",
    "UnsupportedProtocol",
    "LocalProtocolError",
)
"""The exceptions that come before the request has been sent."""

_LASTING = ("UnsupportedProtocol", "LocalProtocolError")
"""Exceptions about the request or the set-up, so that another attempt is useless."""


def failure(error: Exception, library: ModuleType = httpx, *, trusted: bool = True) -> ExchangeError:
    """The error of an exchange that ended with an exception of `library`.

    Args:
        error: the exception.
        library: the module that it comes from.
        trusted: True if the library itself has sent the request, so that it knows what was not sent.
    """
    said = str(error) or type(error).__name__
    if isinstance(error, library.ProxyError) and trusted:
        # The message begins with the status that the proxy responded with.
        status = said[:3]
        return proxy_error(int(status) if status.isascii() and status.isdigit() else None, said)
    advice = _tls_advice(error)
    return ExchangeError(
        said,
        maybe_executed=not trusted or not isinstance(error, _named(library, _NOT_SENT)),
        timed_out=isinstance(error, library.TimeoutException),
        lasting=isinstance(error, _named(library, _LASTING)) or bool(advice),
        advice=advice,
    )


def _named(library: Any, names: tuple[str, ...]) -> tuple[type[Exception], ...]:
    return tuple(getattr(library, name) for name in names)


def _tls_advice(error: BaseException | None) -> str:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return CERTIFICATE_ADVICE
        if isinstance(error, ssl.SSLError) and error.reason in NO_TLS_REASONS:
            return NO_TLS_ADVICE
        error = error.__cause__ or error.__context__
    return ""
