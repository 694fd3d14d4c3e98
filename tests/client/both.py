"""One line that makes a call with either client."""

from __future__ import annotations

import asyncio
from typing import Any

from prebuilds import AsyncPrebuildClient, PrebuildClient

KINDS = ("sync", "async")
ID = "07e03a28-65a5-4d98-b532-8ea67b188048"
TOKEN = "secret-token-0123456789"


def call(kind: str, url: str, method: str = "retrieve", /, **arguments: Any) -> Any:
    """Make one call, and return its result."""
    arguments = arguments or {"prebuild_id": ID}
    if kind == "sync":
        with PrebuildClient(TOKEN, base_url=url) as client:
            return getattr(client.prebuilds, method)(**arguments)

    async def main() -> Any:
        async with AsyncPrebuildClient(TOKEN, base_url=url) as client:
            return await getattr(client.prebuilds, method)(**arguments)

    return asyncio.run(main())
