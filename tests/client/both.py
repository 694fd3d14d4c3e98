"""One line that makes a call with either client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import trio

from prebuilds import AsyncPrebuildClient, PrebuildClient

KINDS = ("sync", "async")
"""The kinds of client; the asynchronous one under asyncio."""
LOOPS = (*KINDS, "trio")
"""The kinds of client, the asynchronous one under either event loop."""
ID = "07e03a28-65a5-4d98-b532-8ea67b188048"
TOKEN = "secret-token-0123456789"


def call(kind: str, url: str, method: str = "retrieve", /, **arguments: Any) -> Any:
    """Make one call, and return its result."""
    arguments = arguments or {"prebuild_id": ID}
    return using(kind, lambda client: getattr(client.prebuilds, method)(**arguments), base_url=url)


def using(kind: str, work: Callable[[Any], Any], /, **options: Any) -> Any:
    """Do some work with a client that is made for it; what can be awaited then is awaited."""
    options = {"bearer_token": TOKEN, **options}
    if kind == "sync":
        with PrebuildClient(**options) as client:
            return work(client)

    async def main() -> Any:
        async with AsyncPrebuildClient(**options) as client:
            outcome = work(client)
            return await outcome if hasattr(outcome, "__await__") else outcome

    return trio.run(main) if kind == "trio" else asyncio.run(main())
