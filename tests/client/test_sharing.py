"""One client in many threads or tasks: every caller gets its own answer, and no connection is lost or left behind."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import subprocess
import sys
import threading
import uuid
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from prebuilds import AsyncPrebuildClient, ClientClosedError, PrebuildClient
from prebuilds.flows import drivers

from .both import KINDS, TOKEN
from .relay import CALL, DRIPS, DROPPED_BEFORE, HANGS_AFTER, HANGS_BEFORE, PASSED, Fault, Playground, Relay, http
from .scripted import Answer, Request, ScriptedServer, a_prebuild

MOST_CONNECTIONS = 100
"""How many connections a client has at most."""

TCP_TABLE = Path("/proc/net/tcp")

needs_the_table = pytest.mark.skipif(not TCP_TABLE.exists(), reason="only Linux lists its connections there")


def open_connections(port: int) -> int:
    """How many established connections clients of this machine have to a port."""
    rows = (line.split() for line in TCP_TABLE.read_text().splitlines()[1:])
    return sum(row[2].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


@pytest.fixture
def ids() -> list[str]:
    return [str(uuid.UUID(int=number)) for number in range(200)]


def found(body: bytes) -> bytes:
    """The answer of a service that has each prebuild that it is asked for."""
    prebuild = {**a_prebuild(), "id": json.loads(body)["prebuildId"]}
    return http(200, json.dumps({"prebuild": prebuild}).encode(), "content-type: application/json")


@pytest.fixture
def relay():
    with Playground() as playground:
        yield playground.relay(found)


@pytest.mark.campaign(quick=1, full=20)
@needs_the_table
def test_sixteen_threads_share_a_client(ids, relay, size):
    dice = random.Random(1)
    relay.choose = lambda call: DROPPED_BEFORE if dice.random() < 0.05 else PASSED
    most: list[int] = []

    def work(number: int) -> list[tuple[str, str]]:
        begin.wait()
        asking = ids[number::16] * size
        seen = [(asked, client.prebuilds.retrieve(prebuild_id=asked).prebuild.id) for asked in asking]
        most.append(open_connections(relay.port))
        return seen

    begin = threading.Barrier(16)
    with PrebuildClient(TOKEN, base_url=relay.url) as client:
        with ThreadPoolExecutor(16) as pool:
            seen = [pair for pairs in pool.map(work, range(16)) for pair in pairs]
        assert len(seen) == 200 * size
        assert all(asked == got for asked, got in seen)
        assert 1 <= max(most) <= 16
    assert open_connections(relay.port) == 0


def fault_of(call: str) -> Fault:
    """What a call meets is in its name: the relay serves many at once."""
    return {"hangs": HANGS_AFTER, "drips": DRIPS, "drops": DROPPED_BEFORE}.get(call, PASSED)


@pytest.mark.campaign(quick=50, full=200)
@needs_the_table
def test_two_hundred_tasks_share_a_client_though_many_are_cancelled(ids, relay, size):
    relay.choose = fault_of
    dice = random.Random(2)
    complaints: list[Any] = []

    async def work(client: AsyncPrebuildClient, asked: str, faults: list[str]) -> list[tuple[str, str]]:
        seen = []
        for fault in faults:
            answer = await client.prebuilds.retrieve(prebuild_id=asked, headers={CALL: fault}, timeout=30)
            seen.append((asked, answer.prebuild.id))
        return seen

    async def cancel_midway(task: asyncio.Task[Any]) -> None:
        await asyncio.sleep(dice.uniform(0, 0.6))
        task.cancel()

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        async with AsyncPrebuildClient(TOKEN, base_url=relay.url) as client:
            lasting = [asyncio.create_task(work(client, asked, [""] * 2)) for asked in ids[:size:2]]
            doomed = [
                asyncio.create_task(work(client, asked, [*dice.choices(["", "drips", "drops"], k=2), "hangs"]))
                for asked in ids[1:size:2]
            ]
            await asyncio.gather(*map(cancel_midway, doomed))
            assert all(isinstance(end, asyncio.CancelledError) for end in await gathered(doomed))
            seen = [pair for pairs in await asyncio.gather(*lasting) for pair in pairs]
            assert len(seen) == size
            assert all(asked == got for asked, got in seen)
            assert open_connections(relay.port) <= MOST_CONNECTIONS

            # All connections of the pool can be had at once, and after that serve more callers than there are of them.
            relay.choose = lambda call: HANGS_BEFORE
            relay.arrivals.clear()
            hanging = [asyncio.create_task(work(client, each, [""])) for each in ids[:MOST_CONNECTIONS]]
            await until_arrived(relay, MOST_CONNECTIONS)
            assert open_connections(relay.port) == MOST_CONNECTIONS
            for task in hanging:
                task.cancel()
            await gathered(hanging)
            assert open_connections(relay.port) == 0
            relay.choose = fault_of
            answers = await asyncio.gather(*(client.prebuilds.retrieve(prebuild_id=each) for each in ids[:120]))
            assert [answer.prebuild.id for answer in answers] == ids[:120]
            assert 0 < open_connections(relay.port) <= MOST_CONNECTIONS
        assert open_connections(relay.port) == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    gc.collect()
    assert complaints == []


async def until_arrived(relay: Relay, count: int) -> None:
    async with asyncio.timeout(20):
        while len(relay.arrivals) < count:  # noqa: ASYNC110 - they are counted in another thread
            await asyncio.sleep(0.01)


async def gathered(tasks: list[Any]) -> list[Any]:
    return await asyncio.gather(*tasks, return_exceptions=True)


@needs_the_table
@pytest.mark.parametrize("kind", KINDS)
def test_a_call_that_its_caller_interrupts_leaves_no_connection_behind(kind, ids, relay):
    class Interruption(BaseException):
        """As Ctrl-C is one."""

    def interrupt(attempt: Any) -> None:
        raise Interruption

    async def main() -> None:
        async with AsyncPrebuildClient(TOKEN, base_url=relay.url, on_attempt=interrupt) as client:
            for asked in ids[:5]:
                with pytest.raises(Interruption):
                    await client.prebuilds.retrieve(prebuild_id=asked)
            assert open_connections(relay.port) == 1
        assert open_connections(relay.port) == 0

    if kind == "async":
        asyncio.run(main())
        return
    with PrebuildClient(TOKEN, base_url=relay.url, on_attempt=interrupt) as client:
        for asked in ids[:5]:
            with pytest.raises(Interruption):
                client.prebuilds.retrieve(prebuild_id=asked)
        assert open_connections(relay.port) == 1
    assert open_connections(relay.port) == 0


@pytest.fixture
def most(monkeypatch, size) -> int:
    """How many connections a client has at most in this test."""
    monkeypatch.setattr(drivers, "MAX_CONNECTIONS", size)
    return size


@pytest.mark.campaign(quick=10, full=MOST_CONNECTIONS)
@needs_the_table
def test_tasks_cancelled_while_they_wait_for_a_connection_leave_it_to_others(ids, relay, most):
    async def main() -> None:
        async with AsyncPrebuildClient(TOKEN, base_url=relay.url) as client:
            for ticks in range(1, 9):
                relay.arrivals.clear()
                holders = [asyncio.create_task(hang(client, each)) for each in ids[:most]]
                await until_arrived(relay, most)
                waiting = [asyncio.create_task(hang(client, each)) for each in ids[most : 2 * most]]
                await asyncio.sleep(0.05)
                assert len(relay.arrivals) == most
                for task in holders:
                    task.cancel()
                # Each is about to be given a connection that a holder gives up.
                for _ in range(ticks):
                    await asyncio.sleep(0)
                for task in waiting:
                    task.cancel()
                assert all(isinstance(end, asyncio.CancelledError) for end in await gathered(holders + waiting))
            asked = ids[: 2 * most]
            answers = await asyncio.gather(*(client.prebuilds.retrieve(prebuild_id=each, timeout=20) for each in asked))
            assert [answer.prebuild.id for answer in answers] == asked
        assert open_connections(relay.port) == 0

    async def hang(client: AsyncPrebuildClient, asked: str) -> Any:
        return await client.prebuilds.retrieve(prebuild_id=asked, headers={CALL: "hangs"})

    relay.choose = fault_of
    asyncio.run(main())


# One client in several event loops and processes


@pytest.mark.campaign(quick=10, full=MOST_CONNECTIONS)
@pytest.mark.parametrize("option", ["itself", "with_options"])
def test_a_client_outlives_the_event_loop_that_it_was_first_used_in(ids, relay, option, most):
    client = AsyncPrebuildClient(TOKEN, base_url=relay.url, retries=0)
    used = client if option == "itself" else client.with_options(timeout=20)

    async def look(count: int) -> None:
        answers = await asyncio.gather(*(used.prebuilds.retrieve(prebuild_id=each) for each in ids[:count]))
        assert [answer.prebuild.id for answer in answers] == ids[:count]

    async def end() -> None:
        await client.aclose()
        with pytest.raises(ClientClosedError):
            await look(1)

    with warnings.catch_warnings():
        # What an event loop leaves open when it ends is closed by the garbage collection, which says so.
        warnings.simplefilter("ignore", ResourceWarning)
        for count in (1, 3, most + most // 2, 3):
            asyncio.run(look(count))
            gc.collect()
        asyncio.run(end())
        gc.collect()


FORKED = """
import os, sys
from prebuilds import PrebuildClient

client = PrebuildClient("anything", base_url=sys.argv[1], retries=0)
client.prebuilds.retrieve(prebuild_id=sys.argv[2])
for asked in sys.argv[3:]:
    if os.fork() == 0:
        break
else:
    asked = sys.argv[2]
for _ in range(5):
    if client.prebuilds.retrieve(prebuild_id=asked).prebuild.id != asked:
        os.write(1, b"wrong answer\\n")
os.write(1, b"done\\n")
if asked == sys.argv[2]:
    for _ in sys.argv[3:]:
        os.wait()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only Unix forks")
def test_processes_that_are_forked_get_their_own_answers(ids):
    all_ask = threading.Barrier(4, timeout=10)

    def answer(request: Request) -> Answer:
        if len(server.requests) > 1:
            all_ask.wait()
        return Answer(200, {"prebuild": {**a_prebuild(), "id": request.body["prebuildId"]}})

    with ScriptedServer(answer) as server:
        arguments = [sys.executable, "-c", FORKED, server.url, *ids[:4]]
        output = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert (output.stdout, output.stderr) == (4 * "done\n", "")
