"""The objects that the fixtures give to a test: an emulator, with clients that are ready to use."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import httpx

from prebuilds import AsyncPrebuildClient, PrebuildClient
from prebuilds.emulator import EmulatorControl, EmulatorServer, FaultState, ManualClock, Options, Plan
from prebuilds.emulator.in_process import InProcessEmulator
from prebuilds.flows.effects import Runtime

TOKEN = "a-token"  # noqa: S105  any will do
"""The API token of the clients."""

_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)


class Emulator:
    """An emulator for one test, whose time stands still until it is moved.

    Its clients use that time: `client.prebuilds.wait(...)`, pauses between retries and deadlines let it pass at once,
    without a real wait. Calls to `advance` move it as well.

    Attributes:
        url: the base URL for clients.
        clock: the time, which can be moved, and made to run.
        control: arranges outcomes, projects and faults, and reports the calls.
    """

    def __init__(self, url: str, clock: ManualClock, control: EmulatorControl) -> None:
        self.url = url
        self.clock = clock
        self.control = control
        self._client: PrebuildClient | None = None
        self._made: list[PrebuildClient | httpx.Client] = []

    @property
    def client(self) -> PrebuildClient:
        """A client of the emulator, the same at each look; closed when the test ends."""
        if self._client is None:
            self._client = self.new_client()
        return self._client

    def new_client(self, bearer_token: str = TOKEN, **settings: Any) -> PrebuildClient:
        """Another client, closed when the test ends.

        Args:
            bearer_token: the API token that it sends.
            settings: more arguments of `PrebuildClient`, `retries=0` for instance.
        """
        settings.setdefault("http_client", self.http_client())
        client = PrebuildClient(bearer_token, base_url=self.url, _runtime=self._runtime(), **settings)
        self._made.append(client)
        return client

    def async_client(self, bearer_token: str = TOKEN, **settings: Any) -> AsyncPrebuildClient:
        """A new client for asynchronous code, to be used with `async with`.

        Args:
            bearer_token: the API token that it sends.
            settings: more arguments of `AsyncPrebuildClient`.
        """
        return AsyncPrebuildClient(bearer_token, base_url=self.url, _runtime=self._runtime(), **settings)

    def http_client(self, **settings: Any) -> httpx.Client:
        """A new HTTP client that reaches the emulator at its `url`, without a token; closed when the test ends.

        Args:
            settings: arguments of `httpx.Client`.
        """
        client = httpx.Client(**settings)
        self._made.append(client)
        return client

    @property
    def now(self) -> datetime:
        """The time in the emulator."""
        return self.clock.now()

    def advance(self, seconds: float) -> None:
        """Move the time on by so many seconds."""
        self.clock.advance(seconds)

    def pending_faults(self) -> list[FaultState]:
        """The planned faults that not as many calls have met as were meant to."""
        return [fault for fault in self.control.faults() if fault.pending]

    def close(self) -> None:
        """Close the clients."""
        for client in self._made:
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _runtime(self) -> Runtime:
        return Runtime(
            clock=self._seconds,
            now=self._seconds,
            uniform=random.Random(0).uniform,  # noqa: S311  jitter, the same in each run
            sleep=self.clock.sleep,
            async_sleep=self.clock.async_sleep,
        )

    def _seconds(self) -> float:
        return (self.clock.now() - _BEGIN).total_seconds()


class PrebuildEmulator(Emulator):
    """An emulator within the process of the test, without a socket.

    There, connections that break off, bodies that trickle and late responses occur as well, without a cost in time.

    Args:
        plan: the durations of the emulator's operations.
        options: further options of the emulator.
    """

    def __init__(self, *, plan: Plan | None = None, options: Options | None = None) -> None:
        clock = ManualClock()
        self._emulator = InProcessEmulator(clock=clock, plan=plan, options=options)
        super().__init__(self._emulator.url, clock, self._emulator.control)

    def http_client(self, **settings: Any) -> httpx.Client:
        """A new HTTP client that reaches the emulator at its `url`, without a token; closed when the test ends.

        Args:
            settings: arguments of `httpx.Client`.
        """
        return super().http_client(transport=self._emulator.transport(), **settings)

    def async_client(self, bearer_token: str = TOKEN, **settings: Any) -> AsyncPrebuildClient:
        """A new client for asynchronous code under asyncio, to be used with `async with`.

        Args:
            bearer_token: the API token that it sends.
            settings: more arguments of `AsyncPrebuildClient`.
        """
        settings.setdefault("http_client", self.async_http_client())
        return super().async_client(bearer_token, **settings)

    def async_http_client(self, **settings: Any) -> httpx.AsyncClient:
        """A new HTTP client for asyncio that reaches the emulator at its `url`, without a token.

        Args:
            settings: arguments of `httpx.AsyncClient`.
        """
        return httpx.AsyncClient(transport=self._emulator.async_transport(), **settings)

    def close(self) -> None:
        """End the emulator, and close the clients."""
        super().close()
        self._emulator.close()


class PrebuildEmulatorServer(Emulator):
    """An emulator on a socket, for programs that need only an address.

    Args:
        server: the server, which runs; it stays so when this is closed.
        clock: its time.
    """

    def __init__(self, server: EmulatorServer, clock: ManualClock) -> None:
        super().__init__(server.url, clock, EmulatorControl(server.url))

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables with which a program finds the emulator, and a token that it takes."""
        return {
            "GITPOD_BASE_URL": self.url,
            "GITPOD_API_KEY": TOKEN,
            "ONA_BASE_URL": self.url,
            "ONA_API_KEY": TOKEN,
        }

    def async_http_client(self, **settings: Any) -> httpx.AsyncClient:
        """A new HTTP client for asynchronous code, without a token.

        Args:
            settings: arguments of `httpx.AsyncClient`.
        """
        return httpx.AsyncClient(**settings)

    def close(self) -> None:
        """Close the clients."""
        super().close()
        self.control.close()
