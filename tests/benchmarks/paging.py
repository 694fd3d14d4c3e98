"""What it saves that the next page is fetched while the caller is busy with this one."""

import asyncio
import time

from prebuilds import AsyncPrebuildClient, PrebuildClient
from tests.client.scripted import Answer, Request, ScriptedServer, a_prebuild

from .measure import Row, medians, timed

PAGES = 20
LATENCY = WORK = 0.05
"""Seconds that the server takes for a page, and the caller."""


def _slow(request: Request) -> Answer:
    time.sleep(LATENCY)
    number = int(request.body.get("pagination", {}).get("token") or 0)
    following = {"nextToken": str(number + 1)} if number + 1 < PAGES else {}
    return Answer(200, {"prebuilds": [a_prebuild(number=number)], "pagination": following})


def paging() -> list[Row]:
    """Walking over the pages of a list, against asking for each when the one before is done with."""
    with ScriptedServer(_slow) as server:

        def ahead() -> None:
            with PrebuildClient("benchmark", base_url=server.url) as client:
                for _ in client.prebuilds.list().iter_pages():
                    time.sleep(WORK)

        def one_by_one() -> None:
            with PrebuildClient("benchmark", base_url=server.url) as client:
                page = client.prebuilds.list()
                time.sleep(WORK)
                while page.has_next_page():
                    page = page.get_next_page()
                    time.sleep(WORK)

        async def async_ahead() -> None:
            async with AsyncPrebuildClient("benchmark", base_url=server.url) as client:
                async for _ in client.prebuilds.list().iter_pages():
                    await asyncio.sleep(WORK)

        sync, other, sequential = medians(
            timed(ahead), timed(lambda: asyncio.run(async_ahead())), timed(one_by_one), rounds=3, warm_up=1
        )
    what = f"{PAGES} pages of 50 ms, 50 ms of work each"
    return [
        Row(what, sync, "one after the other", sequential, target=0.65),
        Row(f"{what}, async", other, "one after the other", sequential, target=0.65),
    ]
