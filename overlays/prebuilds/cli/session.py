"""The session of a command: the client, the output, and messages on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from functools import wraps
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from prebuilds.cli.exit_codes import DENIED, CommandError, code_of
from prebuilds.cli.invocation import invocation
from prebuilds.cli.options import connection_options
from prebuilds.cli.output import Format, Output
from prebuilds.cli.terminal import has_colour, is_terminal, one_line

if TYPE_CHECKING:
    from prebuilds import AsyncPrebuildClient, PrebuildClient
    from prebuilds.flows.effects import Runtime
    from prebuilds.options import EngineName

_CLIENT_ARGUMENT = "the argument bearer_token"

_MIN_COUNTED = 20
"""The number of items from which on a command shows its progress."""

_PROXY_STATUSES = (403, 407, 502, 503, 504)
"""The statuses that a proxy may respond with in place of the service."""


class Session:
    """The settings of one command, with the client and the output that they describe.

    Args:
        output_format: how to print.
        base_url: the service; by default the client's environment variables name it.
        token_env: the environment variable with the token; by default the client's.
        no_color: whether colours are unwanted.
        quiet: whether progress and hints are unwanted.
        runtime: time and chance; by default the real ones.
    """

    def __init__(
        self,
        *,
        output_format: Format = "table",
        base_url: str | None = None,
        token_env: str | None = None,
        no_color: bool = False,
        quiet: bool = False,
        runtime: Runtime | None = None,
    ) -> None:
        self.output = Output(output_format, no_color=no_color)
        self.no_color = no_color
        self.quiet = quiet
        self._base_url = base_url
        self._token_env = token_env
        self._runtime = runtime
        self._client: PrebuildClient | None = None

    @property
    def client(self) -> PrebuildClient:
        """The client, which is made when it is first needed.

        Raises:
            CommandError: the token is missing.
            ConfigurationError: a setting is invalid.
        """
        if self._client is None:
            from prebuilds import PrebuildClient

            _silence_log()
            self._client = PrebuildClient(
                self._given_token(), base_url=self.base_url, engine=self._engine(), _runtime=self._runtime
            )
        return self._client

    def new_async_client(self) -> AsyncPrebuildClient:
        """A new asynchronous client for `async with`.

        Raises:
            CommandError: the token is missing.
            ConfigurationError: a setting is invalid.
        """
        from prebuilds import AsyncPrebuildClient

        _silence_log()
        return AsyncPrebuildClient(
            self._given_token(), base_url=self.base_url, engine=self._engine(), _runtime=self._runtime
        )

    @property
    def runtime(self) -> Runtime:
        """Time and chance."""
        if self._runtime is None:
            from prebuilds.flows.effects import Runtime

            self._runtime = Runtime()
        return self._runtime

    @property
    def now(self) -> datetime:
        """The time, in UTC."""
        return datetime.fromtimestamp(self.runtime.now(), UTC)

    @property
    def base_url(self) -> str:
        """The service."""
        from prebuilds.options import BASE_URL_VARIABLES, DEFAULT_BASE_URL

        return self._base_url or first_set(BASE_URL_VARIABLES) or DEFAULT_BASE_URL

    @property
    def token(self) -> str:
        """The token for the service.

        Raises:
            CommandError: the token is missing.
        """
        from prebuilds.options import TOKEN_VARIABLES

        names = (self._token_env,) if self._token_env else TOKEN_VARIABLES
        token = first_set(names)
        if token is None:
            raise CommandError(
                f"there is no token for {one_line(self.base_url)}",
                hint=f"set {' or '.join(names)}"
                + ("" if self._token_env else ", or name another variable with --token-env"),
                code=DENIED,
            )
        return token

    def info(self, text: str) -> None:
        """Print a hint or some progress, unless the person wants none."""
        if not self.quiet:
            self._say(text)

    def warn(self, text: str) -> None:
        """Print a warning of the service."""
        self._say(f"warning: {text}", "yellow")

    def counted(self, ids: Sequence[str]) -> AbstractContextManager[Iterable[str]]:
        """A `with` block that gives the ids one by one, and shows a person how far a long command is."""
        if not self.is_watched or len(ids) < _MIN_COUNTED:
            return nullcontext(ids)
        return click.progressbar(ids, file=sys.stderr, show_pos=True)

    def report(self, error: Exception, about: str = "") -> int:
        """Print an error as one line and a hint. Returns the exit code.

        Args:
            error: the error.
            about: an id that is printed first, unless the error names it.
        """
        from prebuilds.errors import WaitManyError

        if isinstance(error, WaitManyError):
            for each in error.errors:
                self.report(each)
        else:
            text, hint = explained(error, self.base_url)
            if self._token_env is not None:
                # The client receives the token of --token-env as its argument.
                text, hint = (each.replace(_CLIENT_ARGUMENT, f"${self._token_env}") for each in (text, hint))
            named = not about or about in text
            print_error(text if named else f"{about}: {text}", hint, no_color=self.no_color)
        return code_of(error)

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()

    def _say(self, text: str, style: str | None = None) -> None:
        text = one_line(text)
        coloured = style is not None and has_colour(sys.stderr, no_color=self.no_color)
        print(click.style(text, fg=style) if coloured else text, file=sys.stderr, flush=True)

    @property
    def is_watched(self) -> bool:
        """True if a person sees progress on standard error."""
        return is_terminal(sys.stderr) and not self.quiet

    def _given_token(self) -> str | None:
        """The token for the client; None for the client's own environment variables, which its errors name."""
        token = self.token
        return None if self._token_env is None else token

    def _engine(self) -> EngineName:
        """The fast engine where its extra is installed. It cannot use a proxy that speaks TLS or SOCKS."""
        proxy = proxy_of(self.base_url)
        fast = find_spec("aiohttp") is not None and (proxy is None or proxy.startswith("http:"))
        return "fast" if fast else "httpx"


def with_session(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """Give a command the options of the connection and the output, and pass it a `Session` with their values."""

    @connection_options
    @wraps(command)
    def run(
        output_format: Format | None,
        as_json: bool,
        base_url: str | None,
        token_env: str | None,
        no_color: bool,
        quiet: bool,
        **options: Any,
    ) -> int | None:
        if as_json and output_format not in (None, "json"):
            raise click.UsageError(f"--json and -o {output_format} exclude one another")
        session = Session(
            output_format="json" if as_json else output_format or "table",
            base_url=base_url,
            token_env=token_env,
            no_color=no_color,
            quiet=quiet,
            runtime=invocation().runtime,
        )
        from prebuilds.errors import PrebuildsError

        try:
            return command(session, **options)
        except PrebuildsError as error:
            return session.report(error)
        finally:
            session.close()

    return run


def first_set(variables: tuple[str, ...]) -> str | None:
    """The value of the first environment variable that is set and not blank."""
    return next((value.strip() for name in variables if (value := os.environ.get(name, "")).strip()), None)


def print_error(text: str, hint: str = "", *, no_color: bool = False) -> None:
    """Print an error as one line, and a hint as another."""
    label = "prebuilds:"
    if has_colour(sys.stderr, no_color=no_color):
        label = click.style(label, fg="red", bold=True)
    print(f"{label} {one_line(text)}", file=sys.stderr)
    if hint:
        print(f"hint: {one_line(hint)}", file=sys.stderr)


def explained(error: Exception, base_url: str) -> tuple[str, str]:
    """An error in one line, and advice for the person."""
    from prebuilds.errors import APIError, CallError, ConnectionFailedError

    if isinstance(error, CommandError):
        return str(error), error.hint
    text, hint = _without_advice(str(error))
    if isinstance(error, CallError):
        text = text.removeprefix(f"prebuilds.{error.operation} failed: ")
    via = proxy_of(base_url) if isinstance(error, CallError) else None
    if via is not None and (
        isinstance(error, ConnectionFailedError) or (isinstance(error, APIError) and error.status in _PROXY_STATUSES)
    ):
        where = urlsplit(via)
        named = f"{where.hostname}:{where.port}" if where.port else f"{where.hostname}"
        through = f"The request went through the proxy {named} ($HTTPS_PROXY, $HTTP_PROXY or $ALL_PROXY)."
        hint = f"{hint} {through}".strip()
    notes = " ".join(getattr(error, "__notes__", ()))
    return text, f"{hint} {notes}".strip()


def proxy_of(base_url: str) -> str | None:
    """The proxy for a service; None if the environment names no valid proxy."""
    from prebuilds.engines.environment import proxy_for
    from prebuilds.errors import ConfigurationError

    try:
        parts = urlsplit(base_url)
        return proxy_for(parts.scheme, parts.hostname or "", parts.port)
    except (ConfigurationError, ValueError):
        return None  # the client raises an error about it


def _without_advice(text: str) -> tuple[str, str]:
    """The text of an error of the client, and the advice that it ends with in brackets."""
    summary, opened, advice = text.partition(" [")
    if not opened or not text.endswith("]"):
        return text, ""
    return summary, advice[:-1].replace("] [", " ")


def _silence_log() -> None:
    """The client logs warnings that commands print themselves. Python would print them a second time."""
    import logging

    from prebuilds.logging import VARIABLE

    logger = logging.getLogger("prebuilds")
    if not os.environ.get(VARIABLE) and not logger.hasHandlers():
        logger.addHandler(logging.NullHandler())
