"""The next page is fetched while the caller is busy with this one."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import pytest

from prebuild_api.models import ListPrebuildsResponse
from prebuilds import AsyncPrebuildClient, Attempt, InvalidArgumentError, PrebuildClient
from prebuilds.emulator import ManualClock
from prebuilds.emulator.lifecycle import SubjectRecord
from prebuilds.emulator.service import Call, PrebuildService
from prebuilds.emulator.store import Store

from .both import ID, KINDS, TOKEN
from .scripted import Answer, Request, ScriptedServer, a_prebuild, an_error

each_kind = pytest.mark.parametrize("kind", KINDS)
PATIENCE = 10
"""Seconds after which something that should happen counts as not happening."""


def page(token: str | None, next_token: str | None, items: int = 2) -> Answer:
    first = 1 if token is None else 1 + items * int(token)
    body = {"prebuilds": [a_prebuild(number=number) for number in range(first, first + items)]}
    return Answer(200, body | ({"pagination": {"nextToken": next_token}} if next_token else {}))


class Pages:
    """A list of many pages, whose tokens are numbers, and which tells when a page is asked for."""

    def __init__(self, count: int = 5) -> None:
        self.count = count
        self.asked = [threading.Event() for _ in range(count)]

    def __call__(self, request: Request) -> Answer:
        token = request.body.get("pagination", {}).get("token")
        number = int(token or 0)
        self.asked[number].set()
        return page(token, str(number + 1) if number + 1 < self.count else None)


def number_of(prebuild) -> int:
    return int(prebuild.id[-12:])


@each_kind
@pytest.mark.parametrize("by", ["items", "pages"])
def test_the_next_page_is_asked_for_while_this_one_is_worked_on(kind, by):
    pages = Pages()
    worked_on: list[int] = []

    def work(found: list[int]) -> None:
        if by == "items" and worked_on == []:
            worked_on.extend(found)  # nobody knows yet whether more than one item is wanted
            return
        worked_on.extend(found)
        following = 1 if by == "items" and len(worked_on) == 2 else (worked_on[-1] + 1) // 2
        if following < pages.count:
            assert pages.asked[following].wait(PATIENCE), "the next page was not asked for"

    with ScriptedServer(pages) as server:
        if kind == "sync":
            with PrebuildClient(TOKEN, base_url=server.url) as client:
                listing = client.prebuilds.list()
                for each in listing if by == "items" else listing.iter_pages():
                    work([number_of(each)] if by == "items" else [number_of(item) for item in each.items])
        else:

            async def main() -> None:
                async with AsyncPrebuildClient(TOKEN, base_url=server.url) as client:
                    listing = client.prebuilds.list()
                    async for each in listing if by == "items" else listing.iter_pages():
                        found = [number_of(each)] if by == "items" else [number_of(item) for item in each.items]
                        await asyncio.to_thread(work, found)

            asyncio.run(main())
    assert worked_on == list(range(1, 11))
    assert len(server.requests) == 5


def walk(kind: str, url: str, found: list[int]) -> None:
    """Put the number of each item into `found` as it comes."""
    if kind == "sync":
        with PrebuildClient(TOKEN, base_url=url) as client:
            found += (number_of(each) for each in client.prebuilds.list())
        return

    async def main() -> None:
        async with AsyncPrebuildClient(TOKEN, base_url=url) as client:
            async for each in client.prebuilds.list():
                found.append(number_of(each))

    asyncio.run(main())


def background() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "prebuilds"]


def gone(found) -> bool:
    """Whether what is found is gone within 0.5 s: a thread notices after 0.1 s that nobody waits for it."""
    end = time.monotonic() + 0.5
    while found():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@each_kind
def test_who_wants_one_item_does_not_fetch_a_second_page(kind):
    with ScriptedServer(Pages()) as server:
        if kind == "sync":
            with PrebuildClient(TOKEN, base_url=server.url) as client:
                for _ in client.prebuilds.list():
                    break
                assert gone(background)
        else:

            async def main() -> None:
                async with AsyncPrebuildClient(TOKEN, base_url=server.url) as client:
                    async for _ in client.prebuilds.list():
                        break
                    assert len(asyncio.all_tasks()) <= 2  # this one, and maybe the closing of the generator

            asyncio.run(main())
    assert len(server.requests) == 1


@each_kind
def test_breaking_out_leaves_nothing_running(kind):
    pages = Pages()
    with ScriptedServer(pages) as server:
        if kind == "sync":
            with PrebuildClient(TOKEN, base_url=server.url) as client:
                for each in client.prebuilds.list().iter_pages():
                    assert pages.asked[1].wait(PATIENCE)
                    assert each.next_token == "1"
                    break
                assert gone(background)
        else:

            async def main() -> None:
                async with AsyncPrebuildClient(TOKEN, base_url=server.url) as client:
                    async for each in await client.prebuilds.list():
                        if number_of(each) == 2:
                            break
                    for _ in range(10):
                        await asyncio.sleep(0)
                    assert asyncio.all_tasks() == {asyncio.current_task()}

            asyncio.run(main())
    assert len(server.requests) <= 2


def test_a_list_that_is_collected_as_garbage_in_its_own_background_ends_there():
    lists: list[object] = []
    ready = threading.Event()

    def forget(attempt: Attempt) -> None:
        if threading.current_thread() is not threading.main_thread():
            assert ready.wait(PATIENCE)
            lists.clear()

    with ScriptedServer(Pages()) as server, PrebuildClient(TOKEN, base_url=server.url) as client:
        found = iter(client.prebuilds.list(on_attempt=forget))
        assert [number_of(next(found)), number_of(next(found))] == [1, 2]
        (thread,) = (each for each in threading.enumerate() if each.name == "prebuilds")
        lists.append(found)
        del found
        ready.set()
        thread.join(PATIENCE)
        assert (lists, background()) == ([], [])


def test_breaking_out_does_not_wait_for_pauses_between_attempts():
    later = {"Retry-After": "30"}  # seconds, and real ones
    refused = threading.Event()

    def answer(request: Request) -> Answer:
        if request.body.get("pagination", {}).get("token") is None:
            return page(None, "1")
        refused.set()
        return an_error("resource_exhausted", 429, headers=later)

    with ScriptedServer(answer) as server, PrebuildClient(TOKEN, base_url=server.url) as client:
        for _ in client.prebuilds.list().iter_pages():
            assert refused.wait(PATIENCE)
            break
        assert gone(background)
    assert len(server.requests) == 2


@each_kind
def test_what_is_wrong_with_the_next_page_is_told_when_its_turn_comes(kind):
    def answer(request: Request) -> Answer:
        if request.body.get("pagination", {}).get("token") is None:
            return page(None, "1", items=4)
        return an_error("invalid_argument", 400, "that token is none")

    found: list[int] = []
    with ScriptedServer(answer) as server, pytest.raises(InvalidArgumentError, match="that token is none"):
        walk(kind, server.url, found)
    assert found == [1, 2, 3, 4]


@each_kind
def test_a_list_resumes_from_a_token(kind):
    with ScriptedServer(Pages()) as server:
        if kind == "sync":
            with PrebuildClient(TOKEN, base_url=server.url) as client:
                stopped_at = client.prebuilds.list().get_next_page().next_token
                found = [number_of(each) for each in client.prebuilds.list(token=stopped_at)]
        else:

            async def main() -> list[int]:
                async with AsyncPrebuildClient(TOKEN, base_url=server.url) as client:
                    stopped_at = (await (await client.prebuilds.list()).get_next_page()).next_token
                    return [number_of(each) async for each in client.prebuilds.list(token=stopped_at)]

            found = asyncio.run(main())
    assert found == [5, 6, 7, 8, 9, 10]


# -- Long lists


def pages_alive() -> int:
    gc.collect()
    return sum(type(each) is ListPrebuildsResponse for each in gc.get_objects())


def walk_through(kind: str, url: str, expected: list[str]) -> None:
    """Read a list of many pages of a hundred items, and see what that takes."""
    calls: list[int] = []
    seen = 0
    alive: list[int] = []
    memory: list[int] = []

    def see(prebuild) -> None:
        nonlocal seen
        assert prebuild.id == expected[seen]
        seen += 1
        if seen % 500 == 450:
            alive.append(pages_alive())
            memory.append(tracemalloc.get_traced_memory()[0])

    def count(attempt) -> None:
        calls.append(attempt.number)

    tracemalloc.start()
    try:
        if kind == "sync":
            with PrebuildClient(TOKEN, base_url=url, on_attempt=count) as client:
                for prebuild in client.prebuilds.list(page_size=100):
                    see(prebuild)
        else:

            async def main() -> None:
                async with AsyncPrebuildClient(TOKEN, base_url=url, on_attempt=count) as client:
                    async for prebuild in client.prebuilds.list(page_size=100):
                        see(prebuild)

            asyncio.run(main())
    finally:
        tracemalloc.stop()
    assert seen == len(expected)
    assert len(calls) == len(expected) / 100
    assert max(alive) <= 3
    # A page takes half a megabyte; what grows is one token for each.
    assert memory[-1] - memory[1] < 100_000


@each_kind
def test_a_long_list_takes_a_call_for_each_page_and_three_pages_of_memory(kind):
    pages = [page(str(number), str(number + 1) if number < 19 else None, items=100) for number in range(20)]
    bodies = [json.dumps(each.body).encode() for each in pages]

    def answer(request: Request) -> Answer:
        return Answer(200, bodies[int(request.body["pagination"].get("token", 0))])

    with ScriptedServer(answer) as server:
        walk_through(kind, server.url, [a_prebuild(number=1 + number)["id"] for number in range(2000)])


MANY = 10_000


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory):
    """The address of an emulator with many prebuilds, and their ids, newest first."""
    data: Path = tmp_path_factory.mktemp("emulator") / "data"
    store = Store(data)
    service = PrebuildService(store, ManualClock())
    request = {"projectId": ID, "spec": {}}
    call = Call(SubjectRecord(ID), "http://127.0.0.1")
    ids = [service.answer("CreatePrebuild", request, call)["prebuild"]["id"] for _ in range(MANY)]
    store.close()
    # In a process of its own: the memory of this one is the client's.
    command = [sys.executable, "-m", "prebuilds", "emulator", "--data", str(data), "--port", "0", "--speed", "0.001"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as emulator:
        try:
            assert emulator.stdout is not None
            said = next(line for line in emulator.stdout if "http://" in line)
            yield re.findall(r"http://[^\s]+", said)[0], ids[::-1]
        finally:
            emulator.terminate()


@pytest.mark.campaign
@each_kind
def test_ten_thousand_prebuilds_take_a_hundred_calls_and_three_pages_of_memory(kind, crowded):
    walk_through(kind, *crowded)
