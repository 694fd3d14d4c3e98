"""The options of a client, from its arguments and the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from numbers import Real
from typing import Any, Literal, Self, TypedDict, cast
from urllib.parse import urlsplit

from attrs import define, evolve, field

from prebuild_api.operations import Attempt
from prebuilds.engines.body import ACCEPT_ENCODING
from prebuilds.errors import ConfigurationError
from prebuilds.version import __version__

TOKEN_VARIABLES = ("GITPOD_API_KEY", "ONA_API_KEY", "ONA_TOKEN")
"""The environment variables for the token, in order of precedence; the first non-empty value applies."""

BASE_URL_VARIABLES = ("GITPOD_BASE_URL", "ONA_BASE_URL")
"""The environment variables for the base URL, in order of precedence; the first non-empty value applies."""

USER_AGENT = f"prebuilds-python/{__version__}"

DEFAULT_BASE_URL = "https://app.gitpod.io/api"
DEFAULT_TIMEOUT = 60.0
"""Seconds for a call with all its attempts."""
DEFAULT_MAX_RESPONSE_BYTES = 64 * 2**20
"""A page of 100 prebuilds has about 0.1 MB."""
DEFAULT_WAIT = 7500.0
"""Seconds. The service ends a prebuild after at most 7200 s; the rest is for the time before and after."""

DEFAULT_POOL_WAIT = 900.0
"""Seconds for a warm pool that has a snapshot to start from."""

DEFAULT_POLL_INTERVAL = 12.0
"""The longest pause between two polls, in seconds."""

DEFAULT_RETRIES = 8
"""With full jitter the pauses add up to 12 seconds on average, and 30% of failing attempts leave 2 of 100,000 calls."""

Token = str | Callable[[], str | Awaitable[str]]
"""A token, or a function that is called for each request. The asynchronous client awaits its result if necessary."""

Seconds = float | timedelta
"""A duration, in seconds or as a `timedelta`."""

EngineName = Literal["httpx", "fast"]
"""The engines that a client can choose."""


class ClientOptions(TypedDict, total=False):
    """The options of `with_options`; they have the meaning of the client's arguments."""

    bearer_token: Token
    timeout: Seconds | None
    retries: int
    headers: Mapping[str, str]
    on_attempt: Callable[[Attempt], object] | None
    max_response_bytes: int


FIXED_HEADERS = {"Content-Type": "application/json", "Connect-Protocol-Version": "1"}
"""The headers that mark a request as Connect. No option replaces these."""


@define(frozen=True, kw_only=True)
class Options:
    """The address, the token and the limits of a client's calls."""

    token: Token = field(repr=False)
    token_source: str
    """The source of the token, for error messages."""
    base_url: str
    """Without a slash at the end."""
    timeout: float | None
    retries: int
    headers: Mapping[str, str] = field(repr=False)
    """All headers of a call, but for the credentials and the deadline."""
    on_attempt: Callable[[Attempt], object] | None = None
    max_response_bytes: int = DEFAULT_MAX_RESPONSE_BYTES

    @classmethod
    def read(
        cls,
        *,
        bearer_token: Token | None,
        base_url: str | None,
        timeout: Seconds | None,
        retries: int,
        headers: Mapping[str, str] | None,
        on_attempt: Callable[[Attempt], object] | None,
        max_response_bytes: int,
    ) -> Self:
        """Complete the arguments of a client from the environment.

        Raises:
            ConfigurationError: the token is missing, or an address is invalid.
            TypeError: a value is of the wrong kind.
            ValueError: another value cannot be right.
        """
        _expect("base_url", base_url, str, type(None))
        url, url_source = _first(base_url, "the argument base_url", BASE_URL_VARIABLES)
        token, token_source = _given_token(bearer_token)
        return cls(
            token=token,
            token_source=token_source,
            base_url=_checked_url(url, url_source) if url else DEFAULT_BASE_URL,
            timeout=checked_seconds("timeout", timeout),
            retries=checked_retries(retries),
            headers=merged_headers(
                {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": ACCEPT_ENCODING},
                checked_headers(headers),
                FIXED_HEADERS,
            ),
            on_attempt=checked_callback(on_attempt),
            max_response_bytes=checked_size(max_response_bytes),
        )

    def replace(self, options: ClientOptions) -> Self:
        """Return the same settings with the given changes; `headers` are added to the existing headers.

        Raises:
            ConfigurationError: the token cannot be one.
            TypeError: an option does not exist, or a value has the wrong type.
            ValueError: another value cannot be right.
        """
        unknown = set(options) - ClientOptions.__optional_keys__
        if unknown:
            known = ", ".join(ClientOptions.__annotations__)
            raise TypeError(f"with_options() got {', '.join(sorted(unknown))}, and takes {known}")
        token, token_source = self.token, self.token_source
        if "bearer_token" in options:
            token, token_source = _given_token(options["bearer_token"])
        return evolve(
            self,
            token=token,
            token_source=token_source,
            timeout=checked_seconds("timeout", options.get("timeout", self.timeout)),
            retries=checked_retries(options.get("retries", self.retries)),
            headers=merged_headers(self.headers, checked_headers(options.get("headers")), FIXED_HEADERS),
            on_attempt=checked_callback(options.get("on_attempt", self.on_attempt)),
            max_response_bytes=checked_size(options.get("max_response_bytes", self.max_response_bytes)),
        )


def merged_headers(*layers: Mapping[str, str]) -> dict[str, str]:
    """The headers of all layers; a later header replaces an earlier header of the same name, ignoring case."""
    found: dict[str, tuple[str, str]] = {}
    for layer in layers:
        found.update({name.lower(): (name, value) for name, value in layer.items()})
    return dict(found.values())


def checked_seconds(name: str, value: Seconds | None) -> float | None:
    """A duration in seconds, or None.

    Raises:
        TypeError: `value` is not a number, a `timedelta` or None.
        ValueError: it is not more than 0 seconds.
    """
    if value is None:
        return None
    _expect(name, value, Real, timedelta, type(None))
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(value, bool) or not seconds > 0:
        raise ValueError(f"{name}: expected more than 0 seconds, or None, got {value!r}")
    return seconds


def checked_size(size: int) -> int:
    """`size`, if it is a valid limit in bytes.

    Raises:
        TypeError: it is not a whole number.
        ValueError: it is not more than 0.
    """
    _expect("max_response_bytes", size, int)
    if size <= 0:
        raise ValueError(f"max_response_bytes: expected more than 0, got {size!r}")
    return size


def checked_retries(retries: int) -> int:
    """`retries`, if it can be a number of retries.

    Raises:
        TypeError: the value is not an integer.
        ValueError: it is negative.
    """
    _expect("retries", retries, int)
    if retries < 0:
        raise ValueError(f"retries: expected 0 or more, got {retries!r}")
    return retries


def checked_headers(headers: Mapping[str, str] | None) -> Mapping[str, str]:
    """`headers`, if they can be sent. Their values may be secret, so the message omits them.

    Raises:
        TypeError: `headers` is not a mapping of strings.
        ValueError: one has characters that cannot be sent, or is about the length of the request.
    """
    _expect("headers", headers, Mapping, type(None))
    given = cast("Mapping[object, object]", headers or {})
    for name, value in given.items():
        if not (isinstance(name, str) and isinstance(value, str)):
            raise TypeError(f"headers: expected strings, got {type(value).__name__} for {name!r}")
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _FRAMING:
            raise ValueError(f"headers: {name!r} cannot be given")
        if not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"headers: {name} has a value with characters that cannot be sent: only ASCII can")
    return headers or {}


_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t -~]*")
_FRAMING = ("content-length", "transfer-encoding")


def checked_callback(callback: Callable[[Attempt], object] | None) -> Callable[[Attempt], object] | None:
    """`on_attempt`, if it is callable: a wrong value must not surface only after the call has taken effect.

    Raises:
        TypeError: it cannot.
    """
    _expect("on_attempt", callback, Callable, type(None))
    return callback


def _expect(name: str, value: object, *kinds: Any) -> None:
    """Reject a value of another type. It is not shown, since it may be secret."""
    if not isinstance(value, kinds):
        said = ", ".join(_KINDS[kind] for kind in kinds)
        raise TypeError(f"{name}: expected {said}, got {type(value).__name__}")


_KINDS: dict[Any, str] = {
    Callable: "a function",
    Mapping: "a mapping of names to strings",
    Real: "a number of seconds",
    timedelta: "a timedelta",
    int: "a whole number",
    str: "a string",
    type(None): "or None",
}


def _given_token(argument: Token | None) -> tuple[Token, str]:
    """The token, and where it came from."""
    _expect("bearer_token", argument, str, Callable, type(None))
    if callable(argument):
        return argument, "the callable bearer_token"
    token, source = _first(argument, "the argument bearer_token", TOKEN_VARIABLES)
    return _checked_token(token, source), source


def _first(argument: str | None, name: str, variables: tuple[str, ...]) -> tuple[str, str]:
    """The first value that is not empty, and where it came from. Both are empty if no value is set."""
    candidates = [(argument, name)]
    candidates += [(os.environ.get(variable), f"${variable}") for variable in variables]
    for value, source in candidates:
        if value and value.strip():
            return value.strip(), source
    return "", ""


def can_be_token(text: str) -> bool:
    """Return True if `text` is valid as a token in a header."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def _checked_token(token: str, source: str) -> str:
    """`token`, if it can be one.

    Raises:
        ConfigurationError: it is empty, or has characters that cannot stand in a header.
    """
    if not token:
        *most, last = TOKEN_VARIABLES
        raise ConfigurationError(
            f"there is no token for the service: pass bearer_token=..., or set {', '.join(most)} or {last}"
        )
    if not can_be_token(token):
        raise ConfigurationError(f"the token in {source} has characters that no token can have")
    return token


def _checked_url(text: str, source: str) -> str:
    """`text` without a slash at the end, if it is a base URL.

    Raises:
        ConfigurationError: it is not.
    """
    problem = _url_problem(text)
    if problem:
        raise ConfigurationError(f"the base URL in {source} is not valid: {problem}")
    return text.rstrip("/")


def _url_problem(text: str) -> str:
    """The problem of a base URL; empty if the URL is valid. Credentials in it are not shown."""
    try:
        parts = urlsplit(text)
        host, port, user = parts.hostname, parts.port, parts.username
    except ValueError as error:
        return str(error)
    if user is not None or parts.password is not None:
        return "it has credentials: pass a bearer_token instead"
    if parts.scheme not in ("http", "https") or not host:
        return f"expected https:// or http:// and a host, as in {DEFAULT_BASE_URL}, got {text!r}"
    if parts.query or parts.fragment or "?" in text or "#" in text:
        return f"it has a query or a fragment: {text!r}"
    if not is_host(host) or not text.isprintable() or " " in text or port == 0:
        return f"it has an invalid host, port or character: {text!r}"
    return ""


def is_host(host: str) -> bool:
    """Return True if `host` can be resolved: a name, or an address."""
    try:
        ascii_host = host.encode("idna").decode()
    except UnicodeError:
        return False
    return re.fullmatch(r"[0-9A-Za-z_.:-]+(%[0-9A-Za-z_.-]+)?", ascii_host) is not None
